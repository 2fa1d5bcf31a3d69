//! Signing in by a link sent by mail: ask, sent, confirm, and a link that no longer works.

use askama::Template;

use crate::layout::Layout;

/// `/login`: the form that asks for an address.
#[derive(Clone, Debug, Template)]
#[template(path = "login.html")]
pub struct Login {
    /// The frame.
    pub layout: Layout,
    /// What was typed before, if the form is shown again.
    pub email: String,
    /// Why the form is shown again.
    pub error: Option<String>,
}

/// After the form: the mail is on its way.
#[derive(Clone, Debug, Template)]
#[template(path = "login_sent.html")]
pub struct LoginSent {
    /// The frame.
    pub layout: Layout,
    /// Where the link was sent.
    pub email: String,
    /// Demo mode only: the link itself.
    pub demo_link: Option<String>,
}

/// The page behind the link: a button, so that mail scanners that open links sign nobody in.
#[derive(Clone, Debug, Template)]
#[template(path = "login_confirm.html")]
pub struct LoginConfirm {
    /// The frame.
    pub layout: Layout,
    /// Who will be signed in.
    pub email: String,
    /// The one-time token of the link.
    pub token: String,
}

/// The link is expired or was used.
#[derive(Clone, Debug, Template)]
#[template(path = "login_expired.html")]
pub struct LoginExpired {
    /// The frame.
    pub layout: Layout,
    /// Address for the new link, if it is known.
    pub email: String,
    /// It was used before, rather than too old.
    pub used: bool,
}
