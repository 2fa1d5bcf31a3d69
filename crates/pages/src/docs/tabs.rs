//! The same example in several languages. Radio buttons choose, so it works by keyboard and without scripts.

use askama::Template;

/// Several ways to say the same; or one.
#[derive(Clone, Debug, Template)]
#[template(path = "components/tabs.html")]
pub struct Tabs {
    /// Unique on its page.
    pub id: String,
    /// What it shows, for who does not see it.
    pub label: String,
    /// The ways.
    pub panels: Vec<Panel>,
}

/// One of them.
#[derive(Clone, Debug, Default)]
pub struct Panel {
    /// `curl`.
    pub label: String,
    /// The example.
    pub code: String,
    /// What it prints.
    pub output: Option<String>,
}

impl Tabs {
    /// As markup.
    #[must_use]
    pub fn html(&self) -> String {
        // Writing into a text does not fail.
        self.render().unwrap_or_default()
    }
}
