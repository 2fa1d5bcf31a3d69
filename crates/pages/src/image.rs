//! `/image`: a form, the image being made, the last ones.

use askama::Template;

use crate::chat::Receipt;
use crate::layout::Layout;

/// The image workshop.
#[derive(Clone, Debug, Template)]
#[template(path = "image.html")]
pub struct Image {
    /// The frame.
    pub layout: Layout,
    /// Lowest ask, if any Island is online.
    pub best_ask: Option<String>,
    /// Slug of the Cargo, to follow its price.
    pub slug: String,
    /// Max price to start with, or nothing.
    pub bid: String,
    /// A job that still runs or waits: the page attaches to its stream.
    pub running_job: Option<String>,
    /// The last images, newest first, at most ten are shown.
    pub recent: Vec<ImageView>,
}

/// An image that was made.
#[derive(Clone, Debug)]
pub struct ImageView {
    /// The job that made it; the image is at `/app/jobs/{job_id}/image`.
    pub job_id: String,
    /// What it was made from.
    pub prompt: String,
    /// To make it again, if it is known.
    pub seed: Option<String>,
    /// Width and height in pixels, if they were asked for: `1024 × 768`.
    pub size: Option<String>,
    /// Who made it, how fast, for how much.
    pub receipt: Receipt,
}

impl ImageView {
    /// `1024 × 768 · seed 42 · Naxos · 11.2 s · 12 credits`; the scripts write the same line.
    #[must_use]
    pub fn line(&self) -> String {
        let seed = self.seed.as_ref().map(|seed| format!("seed {seed}"));
        let parts: Vec<String> = [self.size.clone(), seed].into_iter().flatten().collect();
        [parts.as_slice(), &[self.receipt.line()]].concat().join(" · ")
    }
}

/// The sizes offered, the usual one first.
pub(crate) const SIZES: [(&str, &str); 5] = [
    ("1024x1024", "1024 × 1024 · square"),
    ("768x768", "768 × 768 · square"),
    ("512x512", "512 × 512 · square, small"),
    ("1024x768", "1024 × 768 · landscape"),
    ("768x1024", "768 × 1024 · portrait"),
];
