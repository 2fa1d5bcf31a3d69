//! How things stand, in one line for the owner.

use std::fmt::Write as _;
use std::time::Duration;

use tokio::time::Instant;

use crate::tally::Snapshot;

/// One line, without colours and without an end of line.
pub(crate) fn line(now: &Snapshot, at: Instant) -> String {
    let mut line = match &now.connected {
        Some((since, name)) => {
            let session = if now.session { "" } else { " (old coordinator: a break loses work)" };
            format!("Connected as {name} for {}{session}", duration(at.saturating_duration_since(*since)))
        }
        None if now.trouble.is_empty() => "Connecting".to_owned(),
        None => format!("Not connected: {}", now.trouble),
    };
    let count = |number: u64, what: &str| format!("{number} {what}");
    let mut parts = vec![
        format!("{} {}", now.offers, if now.offers == 1 { "offer" } else { "offers" }),
        count(now.running, "running"),
        count(now.done, "done"),
        count(now.failed, "failed"),
    ];
    parts.extend((now.cancelled > 0).then(|| count(now.cancelled, "cancelled")));
    parts.extend((now.rejected > 0).then(|| count(now.rejected, "rejected")));
    if now.running > 0 {
        parts.push(format!("about {} tokens/s", now.tokens_per_second));
    }
    parts.push(match now.today {
        Some(today) => format!("today {} jobs paid, {} credits", today.jobs, today.earned.display_grouped()),
        None => format!("since the start at most {} credits (estimate)", now.estimate.display_grouped()),
    });
    let _ = write!(line, " · {}", parts.join(" · "));
    line
}

fn duration(long: Duration) -> String {
    let minutes = long.as_secs() / 60;
    match (minutes / 60 / 24, minutes / 60 % 24, minutes % 60) {
        (0, 0, 0) => format!("{} s", long.as_secs()),
        (0, 0, minutes) => format!("{minutes} min"),
        (0, hours, minutes) => format!("{hours} h {minutes} min"),
        (days, hours, _) => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    use types::island_protocol::Today;
    use types::money::MicroCredits;

    use super::*;

    #[test]
    fn the_line_says_how_things_stand() {
        let at = Instant::now();
        let mut now = Snapshot { trouble: "no answer".to_owned(), ..Snapshot::default() };
        assert_eq!(
            line(&now, at),
            "Not connected: no answer · 0 offers · 0 running · 0 done · 0 failed · \
             since the start at most 0.00 credits (estimate)"
        );
        now.connected = Some((at, "Palma".to_owned()));
        (now.session, now.offers, now.running, now.done, now.rejected) = (true, 1, 2, 3, 4);
        now.tokens_per_second = 42;
        now.today = Some(Today { jobs: 9, earned: MicroCredits::new(1_234_500_000) });
        assert_eq!(
            line(&now, at + Duration::from_secs(11_100)),
            "Connected as Palma for 3 h 5 min · 1 offer · 2 running · 3 done · 0 failed · 4 rejected · \
             about 42 tokens/s · today 9 jobs paid, 1,234.50 credits"
        );
    }

    #[test]
    fn durations_are_short() {
        for (seconds, expected) in [(59, "59 s"), (60, "1 min"), (3600, "1 h 0 min"), (90_000, "1 d 1 h")] {
            assert_eq!(duration(Duration::from_secs(seconds)), expected);
        }
    }
}
