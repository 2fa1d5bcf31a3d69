//! `/pair`: a machine becomes somebody's Island.

use askama::Template;

use crate::layout::Layout;

/// The code that a machine shows, which machine it is, and what came of it.
#[derive(Clone, Debug, Template)]
#[template(path = "pair.html")]
pub struct Pair {
    /// The frame.
    pub layout: Layout,
    /// How far it is.
    pub state: PairState,
}

/// How far a pairing is.
#[derive(Clone, Debug)]
pub enum PairState {
    /// The code is to be entered.
    Enter {
        /// What stands in the field.
        code: String,
    },
    /// The owner is asked whether it is theirs.
    Confirm {
        /// The code.
        code: String,
        /// What it shall be called.
        name: String,
        /// What it says of itself: (label, text).
        facts: Vec<(String, String)>,
    },
    /// It is an Island now.
    Done {
        /// What it is called.
        name: String,
    },
}
