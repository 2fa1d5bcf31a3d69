//! The frame around every page: who is signed in, what they have, what has just happened; and how moments, amounts
//! and units are written.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use db::DbError;
use pages::{Flash, FlashKind, Layout, Nav, UserView, When};
use types::money::MicroCredits;
use types::time::Timestamp;

use crate::accounts::User;
use crate::accounts::sessions::Session;
use crate::app::App;
use crate::config::{Unit, WorkloadKind};
use crate::credits::{self, BalanceView};
use crate::marketplace::Workload;

/// The frame for whoever asks.
///
/// # Errors
/// A [`DbError`].
pub async fn frame(
    app: &App,
    session: Option<&Session>,
    title: &str,
    active: Nav,
) -> Result<Layout, DbError> {
    let mut layout = Layout { active, ..bare(app, title) };
    if let Some(session) = session {
        let balance = credits::balance(app, session.user.wallet).await?;
        layout.user = Some(user_view(&session.user, &BalanceView::new(&balance, app.config.low_balance())));
        layout.csrf.clone_from(&session.csrf);
    }
    Ok(layout)
}

/// The frame for somebody who is not signed in.
#[must_use]
pub fn bare(app: &App, title: &str) -> Layout {
    Layout { title: title.to_owned(), test_mode: app.config.test_mode(), ..Layout::default() }
}

fn user_view(user: &User, balance: &BalanceView) -> UserView {
    UserView {
        email: user.email.clone(),
        initials: initials(if user.name.is_empty() { &user.email } else { &user.name }),
        available: balance.available.clone(),
        held: balance.held.clone(),
        usd: balance.usd.clone(),
        low: balance.low,
        version: balance.version,
    }
}

/// One or two letters out of a name or an address.
fn initials(text: &str) -> String {
    let local = text.split('@').next().unwrap_or_default();
    let words = local.split(|c: char| !c.is_alphanumeric()).filter_map(|word| word.chars().next());
    let letters: String = words.take(2).flat_map(char::to_uppercase).take(2).collect();
    if letters.is_empty() { "?".to_owned() } else { letters }
}

/// The message that a redirect left in the address, as a code (`?done=key_revoked`): its words are fixed, so a link
/// cannot put words into our mouth.
#[derive(Clone, Debug)]
pub struct Said(pub Option<Flash>);

impl<S: Sync> FromRequestParts<S> for Said {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self(flash(parts.uri.query().unwrap_or_default())))
    }
}

fn flash(query: &str) -> Option<Flash> {
    use FlashKind::{Bad, Good, Info};
    let code = query.split('&').find_map(|part| match part {
        "cancelled=1" => Some("cancelled"),
        part => part.strip_prefix("done="),
    })?;
    let (kind, text) = match code {
        "bought" => (Good, "Thank you. Your credits are in your wallet and can be spent at once."),
        "cancelled" => (Info, "You left before paying. Nothing was charged; the packages are still here."),
        "checkout_unavailable" => {
            (Bad, "The payment page could not be opened. Nothing was charged; please try again in a minute.")
        }
        "topup_on" => (Good, "Auto top-up is on. You get an e-mail each time it buys."),
        "topup_off" => (Good, "Auto top-up is off. Nothing is bought by itself."),
        "topup_amounts" => {
            (Bad, "Nothing was changed. Enter amounts above 0 for auto top-up, and choose a package.")
        }
        "topup_small" => (
            Bad,
            "Nothing was changed. The package has fewer credits than the threshold: choose a larger one, or a lower threshold.",
        ),
        "topup_maximum" => (
            Bad,
            "Nothing was changed. The monthly maximum is less than one purchase of this package; raise it.",
        ),
        "topup_no_card" => (
            Bad,
            "Nothing was changed: no card is saved. Buy credits once and let your card be saved, then switch it on.",
        ),
        "no_cards" => {
            (Info, "There are no saved cards to manage. Buy credits once and let your card be saved.")
        }
        "alerts_saved" => (Good, "Your alerts were saved."),
        "alerts_wrong" => (Bad, "Nothing was changed. Enter up to three amounts from 0 up."),
        "redeemed" => (Good, "The code was redeemed. Your credits are in your wallet."),
        "code_used" => (Info, "You have redeemed this code already."),
        "code_gone" => (Bad, "This code has expired or has been used up."),
        "code_too_many" => (Bad, "Too many wrong codes. Please wait an hour and try again."),
        "code_unknown" => (Bad, "There is no such code. Check how it is written."),
        "conversation_deleted" => (Good, "The conversation was deleted."),
        "payout_asked" => (Good, "Your payout is on its way. The list below says how far it is."),
        "payout_cancelled" => (Good, "The payout was called off. The credits are back in your earnings."),
        "payouts_ready" => (Good, "Payouts are set up."),
        "payouts_unfinished" => (Info, "Something is still missing before you can be paid out. See below."),
        "payouts_unavailable" => (
            Bad,
            "The payout provider could not be reached. Nothing was changed; please try again in a minute.",
        ),
        "schedule_saved" => (Good, "Your payout schedule was saved."),
        "key_revoked" => (Good, "The key was revoked. Programs that use it are refused from now on."),
        "key_saved" => (Good, "The key was saved. Its limits are in force from now on."),
        "profile_saved" => (Good, "Your name was saved."),
        "signed_out" => (Good, "You are signed out."),
        "signed_out_everywhere" => {
            (Good, "You are signed out on every browser. Sign in again whenever you like.")
        }
        "verification_unavailable" => {
            (Bad, "The identity check could not be opened. Nothing was lost; please try again in a minute.")
        }
        code => of_owners(code)?,
    };
    Some(Flash { kind, text: text.to_owned() })
}

/// What owners of Islands are told.
fn of_owners(code: &str) -> Option<(FlashKind, &'static str)> {
    use FlashKind::{Good, Info};
    Some(match code {
        "earnings_moved" => (Good, "Your earnings are in your wallet and can be spent at once."),
        "nothing_to_move" => {
            (Info, "There are no earnings to move yet. They appear as soon as an Island has done a job.")
        }
        "ask_set" => (Good, "The ask was set. It is in the book now."),
        "bids_saved" => (Good, "Your max prices were saved. They hold from the next job on."),
        "bid_raised" => (Good, "The bid was raised."),
        "letters_saved" => (Good, "Your choice of letters was saved."),
        "webhook_tested" => (Good, "A test is on its way. How it went stands below in a moment."),
        "webhook_replayed" => (Good, "The event is sent again. How it went stands below in a moment."),
        "webhook_saved" => (Good, "The webhook was saved."),
        "webhook_off" => (Good, "The webhook is off. Nothing is sent to it."),
        "webhook_on" => (Good, "The webhook is on. What waited is sent now."),
        "webhook_deleted" => (Good, "The webhook was deleted."),
        "ask_reset" => (Good, "The ask is the agent’s again."),
        "island_suspended" => {
            (Good, "The Island is suspended. It gets no new jobs; those it runs are finished.")
        }
        "island_resumed" => (Good, "The Island gets jobs again."),
        "token_revoked" => (Good, "The token was revoked. An Island that used it has been disconnected."),
        "pairing_refused" => (Good, "The machine was turned away. Its code is worth nothing any more."),
        _ => return None,
    })
}

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// A moment: `22 Nov 2026, 11:58 UTC`.
#[must_use]
pub fn when(at: Timestamp) -> When {
    let iso = at.to_string();
    let time = iso.get(11..16).unwrap_or_default();
    let text = format!("{}, {time} UTC", day(at));
    When { iso, text }
}

/// A day: `22 Nov 2026`.
#[must_use]
pub fn day(at: Timestamp) -> String {
    let date = at.date();
    let mut parts = date.split('-');
    let (year, month, day) = (parts.next(), parts.next(), parts.next());
    let month = month
        .and_then(|month| month.parse::<usize>().ok())
        .and_then(|month| MONTHS.get(month.wrapping_sub(1)));
    match (year, month, day) {
        (Some(year), Some(month), Some(day)) => format!("{} {month} {year}", day.trim_start_matches('0')),
        _ => date,
    }
}

/// An amount that may be missing, for display.
#[must_use]
pub fn shown(amount: Option<MicroCredits>) -> Option<String> {
    amount.map(MicroCredits::display_grouped)
}

/// What an ask for this Cargo is for.
#[must_use]
pub const fn unit(workload: &Workload) -> &'static str {
    match (workload.unit, workload.kind) {
        (Unit::ThousandTokens, _) => "1,000 tokens",
        (Unit::Request, WorkloadKind::Chat | WorkloadKind::Embedding) => "request",
        (Unit::Request | Unit::Image, _) => "image",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn initials_come_from_a_name_or_an_address() {
        let cases = [
            ("robin.lindqvist@example.org", "RL"),
            ("Ana Maria Silva", "AM"),
            ("ßtep.ana@x", "SS"),
            ("bob@x", "B"),
            ("_@x", "?"),
        ];
        for (text, expected) in cases {
            assert_eq!(initials(text), expected, "{text}");
        }
    }

    #[test]
    fn messages_are_ours_alone() {
        assert_eq!(flash("x=1&done=key_revoked").unwrap().kind, FlashKind::Good);
        assert_eq!(flash("cancelled=1").unwrap().kind, FlashKind::Info);
        for query in ["", "done=", "done=You+won", "done=key_revoked%20", "redone=key_revoked"] {
            assert!(flash(query).is_none(), "{query}");
        }
    }

    #[test]
    fn moments_are_written_for_people() {
        let at = Timestamp::from_millis(1_795_348_800_123);
        assert_eq!(when(at).text, "22 Nov 2026, 12:00 UTC");
        assert_eq!(when(at).iso, "2026-11-22T12:00:00.123Z");
        assert_eq!(day(Timestamp::from_millis(0)), "1 Jan 1970");
    }
}
