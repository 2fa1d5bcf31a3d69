//! The page for everything that went wrong.

use askama::Template;

use crate::layout::Layout;

/// What happened, and what to do.
#[derive(Clone, Debug, Template)]
#[template(path = "error.html")]
pub struct ErrorPage {
    /// The frame.
    pub layout: Layout,
    /// HTTP status.
    pub status: u16,
    /// The heading, in a few words.
    pub heading: String,
    /// One sentence of what happened.
    pub sentence: String,
    /// One sentence of what to do.
    pub advice: String,
    /// A link that helps: address and words.
    pub link: (String, String),
    /// To quote when asking for help.
    pub request_id: String,
}

impl ErrorPage {
    /// There is no such page.
    #[must_use]
    pub fn not_found(mut layout: Layout, request_id: String) -> Self {
        layout.title = "Not found".into();
        Self {
            layout,
            status: 404,
            heading: "Uncharted water".into(),
            sentence: "There is no page at this address.".into(),
            advice: "Check the address for a slip, or start again from the front page.".into(),
            link: ("/".into(), "Go to the front page".into()),
            request_id,
        }
    }

    /// Our own fault.
    #[must_use]
    pub fn internal(mut layout: Layout, request_id: String) -> Self {
        layout.title = "Something went wrong".into();
        Self {
            layout,
            status: 500,
            heading: "Something went wrong on our side".into(),
            sentence:
                "Your request could not be finished. If it was about credits, nothing was charged twice."
                    .into(),
            advice: "Try again in a moment. If it keeps happening, tell the operator the request id below."
                .into(),
            link: ("/".into(), "Go to the front page".into()),
            request_id,
        }
    }
}
