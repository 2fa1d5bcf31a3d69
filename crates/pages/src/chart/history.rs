//! Prices over time: the mean as a line in the band from lowest to highest, the last price as a finer line, and how many jobs
//! as bars.

use super::scale::Scale;
use super::{BOX, Plot, Shape, Spot, Volume, line, middle, moment, percent, runs};

/// One step of time.
#[derive(Clone, Debug)]
pub struct Moment {
    /// A word for the axis, where there shall be one: `14:30`.
    pub tick: Option<String>,
    /// What is said of it: `22 Nov, 14:30: mean 2.11, …`.
    pub text: String,
    /// Prices, if anything was traded, in millionths.
    pub prices: Option<Prices>,
    /// How many jobs.
    pub jobs: i64,
}

/// Prices of one step, in millionths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prices {
    /// Weighted by units.
    pub mean: i64,
    /// The last.
    pub last: i64,
    /// The lowest.
    pub low: i64,
    /// The highest.
    pub high: i64,
}

/// The chart; nothing if nothing was traded.
#[must_use]
pub fn history(id: &'static str, label: String, summary: String, moments: &[Moment]) -> Option<Plot> {
    let prices = || moments.iter().filter_map(|moment| moment.prices);
    let low = prices().map(|prices| prices.low).min()?;
    let high = prices().map(|prices| prices.high).max()?;
    let scale = Scale::around(low, high, 4);
    let count = moments.len();
    let place = |index: usize, value: i64| (middle(index, count), scale.down_to(value));
    let half = (BOX / i64::try_from(2 * count.max(1)).unwrap_or(BOX)).max(1);
    let (mut band, mut mean, mut last) = (String::new(), String::new(), String::new());
    for run in runs(moments.iter().map(|moment| moment.prices)) {
        let along = |value: fn(&Prices) -> i64| -> Vec<(i64, i64)> {
            run.iter().map(|(index, prices)| place(*index, value(prices))).collect()
        };
        mean.push_str(&line(&along(|prices| prices.mean)));
        last.push_str(&line(&along(|prices| prices.last)));
        let (mut top, mut bottom) = (along(|prices| prices.high), along(|prices| prices.low));
        if let ([(x, high)], [(_, low)]) = (&top[..], &bottom[..]) {
            // A lonely step is as wide as it is.
            let (left, right) = (x - half, x + half);
            (top, bottom) = (vec![(left, *high), (right, *high)], vec![(left, *low), (right, *low)]);
        }
        bottom.reverse();
        top.append(&mut bottom);
        band.push_str(&line(&top));
        band.push('Z');
    }
    let spots = moments.iter().enumerate().map(|(index, one)| Spot {
        x: percent(middle(index, count)),
        y: one.prices.map(|prices| percent(scale.down_to(prices.mean))),
        text: one.text.clone(),
    });
    let words = moments.iter().enumerate();
    let shape = |class, path| Shape { class, path };
    Some(Plot {
        id,
        label,
        summary,
        keys: vec![("mean", "Mean"), ("last", "Last"), ("band", "Lowest to highest"), ("volume", "Jobs")],
        levels: scale.amounts(),
        moments: words
            .filter_map(|(index, one)| Some(moment(middle(index, count), one.tick.clone()?)))
            .collect(),
        shapes: vec![shape("band", band), shape("last", last), shape("mean", mean)],
        volume: volume(moments),
        spots: spots.collect(),
    })
}

fn volume(moments: &[Moment]) -> Option<Volume> {
    let most = moments.iter().map(|moment| moment.jobs).max().filter(|&most| most > 0)?;
    let count = moments.len();
    let half = (BOX * 2 / i64::try_from(5 * count).unwrap_or(BOX)).max(1);
    let mut path = String::new();
    for (index, jobs) in moments.iter().map(|moment| moment.jobs).enumerate().filter(|(_, jobs)| *jobs > 0) {
        let (x, height) = (middle(index, count), (jobs.saturating_mul(BOX) / most).max(30));
        path.push_str(&format!("M{} {BOX}v-{height}h{}v{height}Z", x - half, 2 * half));
    }
    Some(Volume { path, most: if most == 1 { "1 job".to_owned() } else { format!("{most} jobs") } })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn traded(low: i64, mean: i64, high: i64) -> Moment {
        let prices = Some(Prices { mean, last: high, low, high });
        Moment { tick: None, text: "then".into(), prices, jobs: 3 }
    }

    fn nothing() -> Moment {
        Moment { tick: Some("12:00".into()), text: "no trades".into(), prices: None, jobs: 0 }
    }

    #[test]
    fn nothing_traded_is_no_chart() {
        assert!(history("h", String::new(), String::new(), &[nothing(), nothing()]).is_none());
        assert!(history("h", String::new(), String::new(), &[]).is_none());
    }

    #[test]
    fn a_gap_is_not_bridged() {
        let moments = [traded(2, 2, 4), traded(2, 3, 4), nothing(), traded(2, 2, 2)];
        let plot = history("h", String::new(), String::new(), &moments).unwrap();
        let path = |class| &plot.shapes.iter().find(|shape| shape.class == class).unwrap().path;
        assert_eq!(path("mean"), "M125 1000L375 500M875 1000h0");
        assert_eq!(path("band").matches('Z').count(), 2);
        assert_eq!(plot.spots.iter().filter(|spot| spot.y.is_some()).count(), 3);
        assert_eq!(plot.moments.len(), 1);
        assert_eq!(plot.volume.unwrap().path.matches('M').count(), 3);
    }
}
