//! The frame around every page: who is signed in, what they have, where they are.

use crate::asset_url;

/// What every page knows besides its own content.
#[derive(Clone, Debug, Default)]
pub struct Layout {
    /// The page's title, without the name of the product.
    pub title: String,
    /// The entry of the sidebar that is marked as current.
    pub active: Nav,
    /// The signed-in user; `None` gives the signed-out frame.
    pub user: Option<UserView>,
    /// The token that every form and script request of this session carries.
    pub csrf: String,
    /// A sandbox payment or identity provider is in use: the page says so.
    pub test_mode: bool,
    /// A message about what has just happened.
    pub flash: Option<Flash>,
}

/// The signed-in user as the sidebar shows them.
#[derive(Clone, Debug, Default)]
pub struct UserView {
    /// E-mail address.
    pub email: String,
    /// One or two letters for the round mark.
    pub initials: String,
    /// Credits that can be spent: `494.00`.
    pub available: String,
    /// Credits held for running jobs, if any: `2.50`.
    pub held: Option<String>,
    /// Approximate value of what is available: `≈ $4.94`.
    pub usd: String,
    /// Fewer than ten credits are available.
    pub low: bool,
    /// Version of the balance, as in the event `balance` of [`crate::live`].
    pub version: i64,
}

/// The entries of the sidebar.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is the page of that name")]
pub enum Nav {
    #[default]
    None,
    Chat,
    Image,
    Exchange,
    Islands,
    Credits,
    Usage,
    Settings,
    Quickstart,
    Docs,
}

/// A message about what has just happened.
#[derive(Clone, Debug)]
pub struct Flash {
    /// How it looks.
    pub kind: FlashKind,
    /// One or two sentences.
    pub text: String,
}

/// How a [`Flash`] looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlashKind {
    /// It worked.
    Good,
    /// Something to know.
    Info,
    /// It did not work.
    Bad,
}

/// A short status word.
#[derive(Clone, Debug, Default)]
pub struct Badge {
    /// The word: `online`, `pending`.
    pub text: String,
    /// Its colour; never the only carrier of the meaning.
    pub tone: Tone,
}

/// Colour of a [`Badge`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tone {
    /// Grey.
    #[default]
    Plain,
    /// Green.
    Good,
    /// Amber.
    Warn,
    /// Red.
    Bad,
}

/// A moment: for people and for machines.
#[derive(Clone, Debug, Default)]
pub struct When {
    /// RFC 3339, for the attribute `datetime`.
    pub iso: String,
    /// As shown: `22 Nov 2026, 11:58`.
    pub text: String,
}

/// One link of the sidebar, ready to be placed.
pub(crate) struct NavItem {
    pub(crate) href: &'static str,
    pub(crate) label: &'static str,
    pub(crate) icon: String,
    pub(crate) current: bool,
}

const NAV: [(Nav, &str, &str, &str); 9] = [
    (Nav::Chat, "/chat", "Chat", "chat"),
    (Nav::Image, "/image", "Image", "image"),
    (Nav::Exchange, "/exchange", "Exchange", "exchange"),
    (Nav::Islands, "/islands", "Islands", "islands"),
    (Nav::Credits, "/credits", "Credits", "credits"),
    (Nav::Usage, "/usage", "Usage", "usage"),
    (Nav::Settings, "/settings", "Settings", "settings"),
    (Nav::Quickstart, "/quickstart", "Quickstart", "quickstart"),
    (Nav::Docs, "/docs", "Docs", "docs"),
];

impl Layout {
    pub(crate) fn nav(&self) -> Vec<NavItem> {
        NAV.iter()
            .map(|(nav, href, label, name)| NavItem {
                href,
                label,
                icon: icon(name),
                current: *nav == self.active,
            })
            .collect()
    }

    pub(crate) fn low(&self) -> bool {
        self.user.as_ref().is_some_and(|user| user.low)
    }
}

impl Badge {
    /// A badge with this word and colour.
    #[must_use]
    pub fn new(text: impl Into<String>, tone: Tone) -> Self {
        Self { text: text.into(), tone }
    }

    pub(crate) fn class(&self) -> &'static str {
        match self.tone {
            Tone::Plain => "badge",
            Tone::Good => "badge good",
            Tone::Warn => "badge warn",
            Tone::Bad => "badge bad",
        }
    }
}

impl Flash {
    /// A message that it worked.
    #[must_use]
    pub fn good(text: impl Into<String>) -> Self {
        Self { kind: FlashKind::Good, text: text.into() }
    }

    /// A message of something to know.
    #[must_use]
    pub fn info(text: impl Into<String>) -> Self {
        Self { kind: FlashKind::Info, text: text.into() }
    }

    /// A message that it did not work.
    #[must_use]
    pub fn bad(text: impl Into<String>) -> Self {
        Self { kind: FlashKind::Bad, text: text.into() }
    }

    pub(crate) fn class(&self) -> &'static str {
        match self.kind {
            FlashKind::Good => "note good",
            FlashKind::Info => "note",
            FlashKind::Bad => "note bad",
        }
    }

    pub(crate) fn role(&self) -> &'static str {
        if self.kind == FlashKind::Bad { "alert" } else { "status" }
    }
}

/// The address of one icon of the sprite.
pub(crate) fn icon(name: &str) -> String {
    format!("{}#{name}", asset_url("icons.svg"))
}
