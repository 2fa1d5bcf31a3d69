//! Everything a browser sees: templates, view structs, styles, scripts and icons, embedded in the binary.
//!
//! The law of this crate: it cannot reach a database and decides nothing. A view struct carries text that is
//! ready to be shown (`"494.00"`, `"≈ $4.94"`, `"22 Nov 2026"`) and flags that are already decided; a template
//! only places them. Amounts of credits are written as `MicroCredits::display_grouped` writes them.
//!
//! | page | view | template |
//! |---|---|---|
//! | `/` | [`landing::Landing`] | `landing.html` |
//! | `/login` and what follows it | [`login`] | `login*.html` |
//! | `/quickstart` | [`quickstart::Quickstart`] | `quickstart.html` |
//! | `/chat` | [`chat::Chat`] | `chat.html` |
//! | `/image` | [`image::Image`] | `image.html` |
//! | `/jobs/{id}` | [`job::JobPage`] | `job.html` |
//! | `/credits`, `/credits/return` | [`credits`] | `credits.html`, `credits_return.html` |
//! | `/usage` | [`usage::Usage`] | `usage.html` |
//! | `/verify` | [`verify::Verify`] | `verify.html` |
//! | `/exchange`, `/exchange/{slug}` | [`exchange`] | `exchange.html`, `cargo.html` |
//! | `/islands` | [`islands::Islands`] | `islands.html` |
//! | `/pair` | [`pair::Pair`] | `pair.html` |
//! | `/settings`, `/settings/keys/{id}` | [`settings`] | `settings.html`, `key.html` |
//! | `/docs` and what is below it | [`docs`] | `docs_*.html` |
//! | sandbox payment and identity | [`sandbox`] | `sandbox_*.html` |
//! | errors | [`error::ErrorPage`] | `error.html` |
//!
//! [`chart`] draws what the market's pages show. [`live`] has the messages of the event stream every signed-in page listens to, [`layout`] the frame around
//! every page, and [`asset`] the files under `/static/`.

mod assets;
pub mod chart;
pub mod chat;
pub mod credits;
pub mod docs;
pub mod error;
pub mod exchange;
pub mod image;
pub mod islands;
pub mod job;
pub mod landing;
pub mod layout;
pub mod live;
pub mod login;
pub mod pair;
pub mod quickstart;
pub mod sandbox;
pub mod settings;
pub mod usage;
pub mod verify;
pub mod webhooks;

pub use askama::Template;
pub use assets::{Asset, asset, asset_url};
pub use layout::{Badge, Flash, FlashKind, Layout, Nav, Tone, UserView, When};
