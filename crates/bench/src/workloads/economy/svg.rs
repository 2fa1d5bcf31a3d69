//! Charts as SVG files, drawn for light and for dark pages alike: colours are named by classes, and the file says what they
//! are in either.

use std::fmt::Write as _;

/// Space around a plot, in pixels: left, top, right, bottom.
const MARGIN: [f64; 4] = [62.0, 44.0, 16.0, 44.0];
/// Roughly how many lines a scale gets.
const LINES: f64 = 5.0;

const STYLE: &str = "
svg { font: 12px system-ui, -apple-system, 'Segoe UI', sans-serif; }
.page { fill: #ffffff; } text { fill: #1f2328; } .faint { fill: #59636e; }
.grid { stroke: #d1d9e0; } .axis { stroke: #59636e; }
.title { font-size: 14px; font-weight: 600; }
.line { fill: none; stroke-width: 2; stroke-linejoin: round; } .band { opacity: 0.22; } .dot { opacity: 0.75; }
.dash { stroke-dasharray: 4 4; stroke-width: 1.5; }
.s0 { stroke: #0969da; } .f0 { fill: #0969da; } .s1 { stroke: #bc4c00; } .f1 { fill: #bc4c00; }
.s2 { stroke: #1a7f37; } .f2 { fill: #1a7f37; } .s3 { stroke: #59636e; } .f3 { fill: #8c959f; }
@media (prefers-color-scheme: dark) {
.page { fill: #0d1117; } text { fill: #e6edf3; } .faint { fill: #9198a1; }
.grid { stroke: #30363d; } .axis { stroke: #9198a1; }
.s0 { stroke: #58a6ff; } .f0 { fill: #58a6ff; } .s1 { stroke: #f0883e; } .f1 { fill: #f0883e; }
.s2 { stroke: #3fb950; } .f2 { fill: #3fb950; } .s3 { stroke: #9198a1; } .f3 { fill: #6e7681; }
}";

/// A picture of some plots, one below the other or side by side.
#[derive(Debug)]
pub struct Picture {
    width: f64,
    height: f64,
    body: String,
    title: String,
}

/// What is plotted in a picture: where it lies and how far its scales reach.
#[derive(Debug)]
pub struct Plot {
    /// Where: left, top, width, height, with its margins.
    pub place: [f64; 4],
    /// The scale to the right: from, to.
    pub x: [f64; 2],
    /// The scale upwards: from, to.
    pub y: [f64; 2],
    /// What is above it.
    pub title: String,
    /// What the scales say.
    pub labels: [&'static str; 2],
}

impl Picture {
    /// An empty one. The title is for those who hear it.
    pub fn new(width: f64, height: f64, title: &str) -> Self {
        Self { width, height, body: String::new(), title: escaped(title) }
    }

    /// The file.
    pub fn svg(&self) -> String {
        let Self { width, height, body, title } = self;
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" width=\"{width:.0}\" \
             height=\"{height:.0}\" role=\"img\" aria-label=\"{title}\">\n<title>{title}</title>\n<style>{STYLE}\n</style>\n\
             <rect class=\"page\" width=\"100%\" height=\"100%\"/>\n{body}</svg>\n"
        )
    }

    /// The title, scales and lines of a plot; then what is in it can be drawn.
    pub fn frame(&mut self, plot: &Plot) {
        let [left, top, width, height] = plot.inside();
        let middle = left + width / 2.0;
        let [_, above, ..] = plot.place;
        self.text(left, above + 20.0, "start", "title", &plot.title);
        for value in ticks(plot.y) {
            let y = plot.up(value);
            self.stroke("grid", [left, y, left + width, y]);
            self.text(left - 6.0, y + 4.0, "end", "faint", &number(value));
        }
        for value in ticks(plot.x) {
            let x = plot.right(value);
            self.stroke("axis", [x, top + height, x, top + height + 4.0]);
            self.text(x, top + height + 17.0, "middle", "faint", &number(value));
        }
        self.stroke("axis", [left, top + height, left + width, top + height]);
        self.text(middle, top + height + 35.0, "middle", "faint", plot.labels[0]);
        self.text(left, above + 37.0, "start", "faint", plot.labels[1]);
    }

    /// A line through points.
    pub fn line(&mut self, plot: &Plot, class: &str, points: &[(f64, f64)]) {
        if let Some(path) = path(plot, points.iter().copied()) {
            self.add(&format!("<path class=\"line {class}\" d=\"{path}\"/>"));
        }
    }

    /// What lies between two lines: (x, low, high).
    pub fn band(&mut self, plot: &Plot, class: &str, points: &[(f64, f64, f64)]) {
        let there = points.iter().map(|&(x, low, _)| (x, low));
        let back = points.iter().rev().map(|&(x, _, high)| (x, high));
        if let Some(path) = path(plot, there.chain(back)) {
            self.add(&format!("<path class=\"band {class}\" d=\"{path}Z\"/>"));
        }
    }

    /// A bar between two heights.
    pub fn bar(&mut self, plot: &Plot, class: &str, [from, to]: [f64; 2], [low, high]: [f64; 2]) {
        let (x, y) = (plot.right(from), plot.up(high));
        let (width, height) = (plot.right(to) - x, plot.up(low) - y);
        self.add(&format!(
            "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\"/>"
        ));
    }

    /// A point.
    pub fn dot(&mut self, plot: &Plot, class: &str, (x, y): (f64, f64), radius: f64) {
        let (x, y) = (plot.right(x), plot.up(y));
        self.add(&format!("<circle class=\"dot {class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius:.1}\"/>"));
    }

    /// What the colours mean: (class, words), in the line of the title, to the right.
    pub fn legend(&mut self, plot: &Plot, entries: &[(&str, &str)]) {
        let [left, _, width, _] = plot.inside();
        // As wide as most letters are; nobody says here how wide they will be.
        let wide =
            |words: &str| f64::from(u16::try_from(words.chars().count()).unwrap_or(u16::MAX)) * 6.3 + 34.0;
        let mut x = left + width - entries.iter().map(|(_, words)| wide(words)).sum::<f64>() + 18.0;
        let y = plot.place[1] + 20.0;
        for (class, words) in entries {
            let top = y - 9.0;
            self.add(&format!(
                "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{top:.1}\" width=\"10\" height=\"10\"/>"
            ));
            self.text(x + 15.0, y, "start", "", words);
            x += wide(words);
        }
    }

    fn stroke(&mut self, class: &str, [x1, y1, x2, y2]: [f64; 4]) {
        self.add(&format!(
            "<line class=\"{class}\" x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\"/>"
        ));
    }

    fn text(&mut self, x: f64, y: f64, anchor: &str, class: &str, words: &str) {
        let words = escaped(words);
        self.add(&format!(
            "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{words}</text>"
        ));
    }

    fn add(&mut self, element: &str) {
        self.body.push_str(element);
        self.body.push('\n');
    }
}

impl Plot {
    /// Left, top, width, height of the plot itself.
    fn inside(&self) -> [f64; 4] {
        let ([left, top, width, height], [before, above, behind, below]) = (self.place, MARGIN);
        [left + before, top + above, width - before - behind, height - above - below]
    }

    fn right(&self, value: f64) -> f64 {
        let ([left, _, width, _], [from, to]) = (self.inside(), self.x);
        left + (value.clamp(from, to) - from) / (to - from) * width
    }

    fn up(&self, value: f64) -> f64 {
        let ([_, top, _, height], [from, to]) = (self.inside(), self.y);
        top + height - (value.clamp(from, to) - from) / (to - from) * height
    }
}

fn path(plot: &Plot, points: impl Iterator<Item = (f64, f64)>) -> Option<String> {
    let mut path = String::new();
    for (x, y) in points {
        let step = if path.is_empty() { 'M' } else { 'L' };
        // Writing to a string does not fail.
        write!(path, "{step}{:.1} {:.1}", plot.right(x), plot.up(y)).ok()?;
    }
    (!path.is_empty()).then_some(path)
}

/// Round values within a scale.
fn ticks([from, to]: [f64; 2]) -> Vec<f64> {
    let rough = (to - from) / LINES;
    if rough.is_nan() || rough <= 0.0 {
        return Vec::new();
    }
    let power = 10_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|times| times * power).into_iter().find(|step| *step >= rough);
    let step = step.unwrap_or(rough);
    let mut values = Vec::new();
    let mut value = (from / step).ceil() * step;
    while value <= to + step / 1000.0 {
        values.push(value);
        value += step;
    }
    values
}

/// As short as it can be said.
fn number(value: f64) -> String {
    let text = if value.abs() >= 1000.0 { format!("{:.1}k", value / 1000.0) } else { format!("{value:.2}") };
    let (digits, unit) = text.strip_suffix('k').map_or((text.as_str(), ""), |digits| (digits, "k"));
    let short = digits.trim_end_matches('0').trim_end_matches('.');
    format!("{}{unit}", if short == "-0" || short.is_empty() { "0" } else { short })
}

fn escaped(words: &str) -> String {
    words.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_have_round_values() {
        assert_eq!(ticks([0.0, 10.0]), [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]);
        assert_eq!(ticks([1.0, 48.0]), [10.0, 20.0, 30.0, 40.0]);
        assert_eq!(ticks([3.0, 3.0]), [0.0; 0]);
        let shown: Vec<String> = [0.0, 0.25, 0.5, 20.0, 1500.0, -40.0].into_iter().map(number).collect();
        assert_eq!(shown, ["0", "0.25", "0.5", "20", "1.5k", "-40"]);
    }

    #[test]
    fn values_beyond_a_scale_stay_at_its_edge() {
        let plot = Plot {
            place: [0.0, 0.0, 178.0, 188.0],
            x: [0.0, 10.0],
            y: [0.0, 1.0],
            title: String::new(),
            labels: ["", ""],
        };
        assert_eq!((plot.right(5.0), plot.right(99.0), plot.right(-1.0)), (112.0, 162.0, 62.0));
        assert_eq!((plot.up(0.0), plot.up(1.0), plot.up(7.0)), (144.0, 44.0, 44.0));
        let mut picture = Picture::new(10.0, 10.0, "a < b");
        picture.line(&plot, "s0", &[(0.0, 0.0), (10.0, 1.0)]);
        picture.line(&plot, "s0", &[]);
        let svg = picture.svg();
        assert!(svg.contains("M62.0 144.0L162.0 44.0") && svg.contains("a &lt; b"), "{svg}");
        assert_eq!(svg.matches("<path").count(), 1, "nothing is drawn through no points");
    }
}
