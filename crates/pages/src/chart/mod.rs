//! Charts, drawn on the server as SVG: readable without scripts, in both colour schemes, at any width.
//!
//! Shapes are drawn in a box of 1000 by 1000 that the page stretches to the place there is, so lines keep their width
//! (`non-scaling-stroke`); words stand beside it at percentages, so they keep their size. `plot.js` adds the pointer and the
//! keyboard. All arithmetic is in whole numbers; amounts are in millionths. Where there is no value there is a gap.

mod bars;
mod depth;
mod history;
mod scale;
mod spark;

pub use bars::{Bar, bars};
pub use depth::{Ask, Bid, depth};
pub use history::{Moment, Prices, history};
pub use spark::{Spark, spark};

/// A chart, ready to be placed by `components/plot.html`.
#[derive(Clone, Debug)]
pub struct Plot {
    /// Tells the charts of a page apart.
    pub id: &'static str,
    /// What it shows.
    pub label: String,
    /// What is to be seen in it, in words: shown under it until a point is chosen.
    pub summary: String,
    /// What the lines and areas are: class and words.
    pub keys: Vec<(&'static str, &'static str)>,
    /// Horizontal lines and their values.
    pub levels: Vec<Tick>,
    /// Words along the bottom.
    pub moments: Vec<Tick>,
    /// Lines and areas.
    pub shapes: Vec<Shape>,
    /// Bars under the chart.
    pub volume: Option<Volume>,
    /// What can be chosen, left to right.
    pub spots: Vec<Spot>,
}

/// A word beside the chart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tick {
    /// Where, from the left or from the top: `37.5%`.
    pub at: String,
    /// The word.
    pub text: String,
    /// `start`, `middle` or `end`: so that no word leaves the chart.
    pub anchor: &'static str,
}

/// A line or an area.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Its style.
    pub class: &'static str,
    /// Its path, in the box of 1000 by 1000.
    pub path: String,
}

/// Bars under the chart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Volume {
    /// Their path, in the box of 1000 by 1000.
    pub path: String,
    /// What the highest stands for: `14 jobs`.
    pub most: String,
}

/// Something that can be chosen in a chart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spot {
    /// From the left: `37.5%`.
    pub x: String,
    /// From the top, if there is a value.
    pub y: Option<String>,
    /// What it says.
    pub text: String,
}

/// The width and height of the box.
const BOX: i64 = 1000;

/// A place in the box as a percentage.
fn percent(place: i64) -> String {
    format!("{}.{}%", place / 10, place % 10)
}

/// The middle of a step, of so many.
fn middle(index: usize, count: usize) -> i64 {
    let whole = |number: usize| i64::try_from(number).unwrap_or(i64::MAX / BOX / 4);
    (2 * whole(index) + 1) * BOX / (2 * whole(count).max(1))
}

/// A word at a place along the bottom.
fn moment(place: i64, text: String) -> Tick {
    let anchor = match place {
        ..60 => "start",
        941.. => "end",
        _ => "middle",
    };
    Tick { at: percent(place), text, anchor }
}

/// Splits into runs without gaps: index and value.
fn runs<T: Copy>(values: impl Iterator<Item = Option<T>>) -> Vec<Vec<(usize, T)>> {
    let mut runs: Vec<Vec<(usize, T)>> = Vec::new();
    let mut open = false;
    for (index, value) in values.enumerate() {
        match value {
            Some(value) if open => {
                if let Some(run) = runs.last_mut() {
                    run.push((index, value));
                }
            }
            Some(value) => runs.push(vec![(index, value)]),
            None => {}
        }
        open = value.is_some();
    }
    runs
}

/// A line through places; a dot when there is only one.
fn line(places: &[(i64, i64)]) -> String {
    let mut path = String::new();
    for (index, (x, y)) in places.iter().enumerate() {
        path.push_str(&format!("{}{x} {y}", if index == 0 { 'M' } else { 'L' }));
    }
    if places.len() == 1 {
        path.push_str("h0");
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_ends_a_run() {
        let found = runs([None, Some(1), Some(2), None, None, Some(3)].into_iter());
        assert_eq!(found, [vec![(1, 1), (2, 2)], vec![(5, 3)]]);
        assert!(runs([None::<i64>].into_iter()).is_empty());
    }

    #[test]
    fn a_lonely_value_is_a_dot() {
        assert_eq!(line(&[(5, 7)]), "M5 7h0");
        assert_eq!(line(&[(5, 7), (6, 8)]), "M5 7L6 8");
    }

    #[test]
    fn words_stay_inside() {
        assert_eq!(middle(0, 2), 250);
        assert_eq!(percent(middle(1, 2)), "75.0%");
        assert_eq!(moment(3, String::new()).anchor, "start");
        assert_eq!(moment(500, String::new()).anchor, "middle");
        assert_eq!(moment(999, String::new()).anchor, "end");
    }
}
