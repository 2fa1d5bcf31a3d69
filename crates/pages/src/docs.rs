//! `/docs`: the API on one page.

use askama::Template;

use crate::layout::Layout;

/// The reference.
#[derive(Clone, Debug, Template)]
#[template(path = "docs.html")]
pub struct Docs {
    /// The frame.
    pub layout: Layout,
    /// Address of this coordinator, without a trailing slash.
    pub base_url: String,
}
