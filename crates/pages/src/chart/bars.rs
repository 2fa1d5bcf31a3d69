//! Amounts by time, as bars from nothing up.

use super::scale::Scale;
use super::{BOX, Plot, Shape, Spot, middle, moment, percent};

/// One bar.
#[derive(Clone, Debug)]
pub struct Bar {
    /// A word for the axis, where there shall be one.
    pub tick: Option<String>,
    /// What is said of it.
    pub text: String,
    /// In millionths.
    pub amount: i64,
}

/// The chart; nothing if all amounts are nothing.
#[must_use]
pub fn bars(
    id: &'static str,
    label: String,
    summary: String,
    key: &'static str,
    values: &[Bar],
) -> Option<Plot> {
    let most = values.iter().map(|bar| bar.amount).max().filter(|&most| most > 0)?;
    let (scale, count) = (Scale::around(0, most, 3), values.len());
    let half = (BOX * 2 / i64::try_from(5 * count).unwrap_or(BOX)).max(1);
    let mut path = String::new();
    for (index, bar) in values.iter().enumerate().filter(|(_, bar)| bar.amount > 0) {
        // Something is never drawn as nothing.
        let (x, height) = (middle(index, count), scale.place(bar.amount).max(8));
        path.push_str(&format!("M{} {BOX}v-{height}h{}v{height}Z", x - half, 2 * half));
    }
    let spots = values.iter().enumerate().map(|(index, bar)| Spot {
        x: percent(middle(index, count)),
        y: Some(percent(scale.down_to(bar.amount))),
        text: bar.text.clone(),
    });
    let words = values.iter().enumerate();
    Some(Plot {
        id,
        label,
        summary,
        keys: vec![("bars", key)],
        levels: scale.amounts(),
        moments: words
            .filter_map(|(index, bar)| Some(moment(middle(index, count), bar.tick.clone()?)))
            .collect(),
        shapes: vec![Shape { class: "bars", path }],
        volume: None,
        spots: spots.collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_earned_is_no_chart_and_something_is_never_nothing() {
        let bar = |amount| Bar { tick: None, text: String::new(), amount };
        assert!(bars("b", String::new(), String::new(), "Earned", &[bar(0)]).is_none());
        let plot =
            bars("b", String::new(), String::new(), "Earned", &[bar(0), bar(1), bar(9_000_000)]).unwrap();
        assert_eq!(plot.shapes[0].path.matches('M').count(), 2);
        assert!(plot.shapes[0].path.contains("v-8h"));
    }
}
