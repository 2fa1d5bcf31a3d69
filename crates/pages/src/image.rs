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
    /// To make it again.
    pub seed: String,
    /// `1024`
    pub width: String,
    /// `768`
    pub height: String,
    /// Who made it, how fast, for how much.
    pub receipt: Receipt,
}

/// The sizes offered, the usual one first.
pub(crate) const SIZES: [(&str, &str); 5] = [
    ("1024x1024", "1024 × 1024 · square"),
    ("768x768", "768 × 768 · square"),
    ("512x512", "512 × 512 · square, small"),
    ("1024x768", "1024 × 768 · landscape"),
    ("768x1024", "768 × 1024 · portrait"),
];
