//! Karma: one number for people, from 0 to 100. Nothing is decided by it.

/// Attempts that an Island is thought to have made before its first one, so that a single failure does not ruin it.
const IMAGINED: u64 = 10;
/// How many percent of those succeeded.
const IMAGINED_PERCENT: u64 = 70;
/// A first output within this is as good as any, in milliseconds.
const FAST_MS: u64 = 500;
/// One after this is worth nothing, in milliseconds.
const SLOW_MS: u64 = 10_000;
/// What a latency that is not known is worth.
const UNKNOWN: u64 = 50;
/// How much the parts count, in percent.
const WEIGHTS: (u64, u64, u64) = (60, 15, 25);

/// The number and what it is made of, each from 0 to 100.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Karma {
    /// The whole.
    pub karma: u8,
    /// How many of the last attempts succeeded.
    pub success: u8,
    /// How soon it begins to answer.
    pub latency: u8,
    /// How much of the last week it was online.
    pub uptime: u8,
}

/// Karma, from the successes among the last attempts, the average time to a first output, and the seconds online out of
/// those that could have been.
///
/// `karma = 60 % success + 15 % latency + 25 % uptime`, each in percent, rounded to the nearest:
/// * success: `(succeeded + 7) / (attempts + 10)`;
/// * latency: 100 up to 0.5 s, 0 from 10 s on, a straight line between; 50 when it is not known;
/// * uptime: seconds online / seconds since it was made, of the last seven days.
#[must_use]
pub fn karma(
    (succeeded, attempts): (usize, usize),
    latency_ms: Option<u32>,
    (online_secs, possible_secs): (i64, i64),
) -> Karma {
    let number = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    let imagined = IMAGINED * IMAGINED_PERCENT / 100;
    let success = percent(number(succeeded) + imagined, number(attempts) + IMAGINED);
    let latency = latency_ms.map_or(UNKNOWN, |ms| {
        let late = u64::from(ms).clamp(FAST_MS, SLOW_MS) - FAST_MS;
        100 - percent(late, SLOW_MS - FAST_MS)
    });
    let uptime = percent(online_secs.max(0).unsigned_abs(), possible_secs.max(1).unsigned_abs());
    let whole = (success * WEIGHTS.0 + latency * WEIGHTS.1 + uptime * WEIGHTS.2 + 50) / 100;
    let small = |part: u64| u8::try_from(part.min(100)).unwrap_or(100);
    Karma { karma: small(whole), success: small(success), latency: small(latency), uptime: small(uptime) }
}

/// Rounded to the nearest, at most 100.
fn percent(part: u64, whole: u64) -> u64 {
    ((part * 200 + whole) / (whole * 2)).min(100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn karma_is_made_of_its_parts() {
        let day = 86_400;
        let parts = |karma: Karma| (karma.karma, karma.success, karma.latency, karma.uptime);
        assert_eq!(parts(karma((0, 0), None, (0, 0))), (50, 70, 50, 0), "a new Island");
        assert_eq!(parts(karma((100, 100), Some(300), (7 * day, 7 * day))), (98, 97, 100, 100));
        assert_eq!(parts(karma((0, 100), Some(60_000), (0, day))), (4, 6, 0, 0));
        assert_eq!(parts(karma((90, 100), Some(5250), (day, 2 * day))), (73, 88, 50, 50));
        // More online than possible, at the edge of an hour, is all of it.
        assert_eq!(karma((0, 0), None, (3700, 3600)).uptime, 100);
    }
}
