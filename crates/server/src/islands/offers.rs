//! What Islands offer, and their place in the book.

use std::sync::Arc;

use market::Ask;
use types::id::IslandId;
use types::island_protocol::{Capabilities, MAX_MODELS, MAX_OFFERS, MAX_SLOTS, Offer, RefusedOffer};
use types::money::MicroCredits;

use super::session::Session;
use crate::app::App;
use crate::marketplace::Market;

/// Longest name of a model, in characters.
const MAX_MODEL: usize = 100;
/// Longest name of a Cargo that is repeated to an Island, in characters.
const MAX_SLUG: usize = 64;

/// An offer that can go into the book.
#[derive(Clone, Debug)]
pub struct Checked {
    /// As the Island made it.
    pub offer: Offer,
    /// Where.
    pub market: Arc<Market>,
    /// The asking price.
    pub ask: MicroCredits,
}

/// Sorts an Island's offers into those that can be taken and those that cannot, and why.
#[must_use]
pub fn check(app: &App, machine: &Capabilities, offers: Vec<Offer>) -> (Vec<Checked>, Vec<RefusedOffer>) {
    let mut refused = Vec::new();
    let mut taken: Vec<Checked> = Vec::new();
    for (index, offer) in offers.into_iter().enumerate() {
        let checked = if index >= MAX_OFFERS {
            Err(format!("an Island may offer {MAX_OFFERS} Cargos"))
        } else if taken.iter().any(|other| other.offer.workload == offer.workload) {
            Err("it was offered twice".to_owned())
        } else {
            check_one(app, machine, &offer)
        };
        match checked {
            Ok((market, ask)) => taken.push(Checked { offer, market, ask }),
            Err(reason) => {
                let workload = super::shorten(&offer.workload, MAX_SLUG);
                refused.push(RefusedOffer { workload, reason });
            }
        }
        // Enough has been said.
        if refused.len() > MAX_OFFERS {
            break;
        }
    }
    (taken, refused)
}

fn check_one(
    app: &App,
    machine: &Capabilities,
    offer: &Offer,
) -> Result<(Arc<Market>, MicroCredits), String> {
    let market = app.market.get(&offer.workload).ok_or("this network has no such Cargo")?;
    let ask: MicroCredits = offer.ask.parse().map_err(|error| format!("ask {error}"))?;
    if ask < MicroCredits::ZERO {
        return Err("ask must not be negative".to_owned());
    }
    if offer.slots == 0 || offer.slots > MAX_SLOTS {
        return Err(format!("slots must be from 1 to {MAX_SLOTS}"));
    }
    let fine = |model: &String| (1..=MAX_MODEL).contains(&model.chars().count()) && !model.contains('\0');
    if offer.models.len() > MAX_MODELS || !offer.models.iter().all(fine) {
        return Err(format!("models must be at most {MAX_MODELS} names of 1 to {MAX_MODEL} characters"));
    }
    // What a machine does not say of itself is not held against it: its attempts will tell. Its plain memory says nothing,
    // because the model may run on another machine behind it.
    if let (Some(has), Some(needs)) = (machine.gpu_vram_mb, market.workload.required_vram_mb)
        && has < needs
    {
        return Err(format!(
            "this Cargo needs {needs} MiB of graphics memory, this machine says it has {has}"
        ));
    }
    Ok((Arc::clone(market), ask))
}

/// The offers that are not in the book though they could be, because of how the Island stands.
#[must_use]
pub fn hindered(app: &App, session: &Session) -> Vec<RefusedOffer> {
    let Some((_, reason)) = session.profile.standing().hindrance(app.config.islands.approval) else {
        return Vec::new();
    };
    let refused = |offer: Offer| RefusedOffer { workload: offer.workload, reason: reason.to_owned() };
    session.offers().into_iter().map(refused).collect()
}

/// Brings the book up to date with what an Island offers, how it stands and how it does.
pub fn put_in_book(app: &App, session: &Arc<Session>) {
    let offered = session.offered();
    let hindered = session.profile.standing().hindrance(app.config.islands.approval).is_some();
    app.islands.if_current(session, || {
        let weight = session.profile.weigh(app.clock.now());
        for market in app.market.all() {
            let checked = offered.iter().find(|one| !hindered && Arc::ptr_eq(&one.market, market));
            let Some(checked) = checked else {
                leave(session, market);
                continue;
            };
            // Slots that the book does not know to be in use.
            let in_use = session.unreserved(&market.workload.slug);
            // What the owner set here stands in place of what the agent says.
            let set = app.market.overrides.get(session.island.id, market.workload.id);
            let price = set.map_or(checked.ask, |(price, _)| price);
            let ask = Ask {
                region: session.region.clone(),
                models: checked.offer.models.clone(),
                trust: weight.trust,
                health: weight.health,
                latency_ms: weight.latency_ms,
                ..Ask::new(session.island.id, price, checked.offer.slots.saturating_sub(in_use))
            };
            if !market.set_ask(ask) {
                tracing::warn!(island = %session.island.id, "the book of {} is full", market.workload.slug);
            }
        }
    });
    app.market_moved();
}

fn leave(session: &Session, market: &Market) {
    market.remove_ask(session.island.id);
    session.left_the_book(&market.workload.slug);
}

/// Takes an Island out of all books.
pub fn leave_the_book(app: &App, island: IslandId) {
    for market in app.market.all() {
        market.remove_ask(island);
    }
}

/// Looks at an Island's place in the book again, if what the book was told of it has changed.
pub fn refresh(app: &App, session: &Arc<Session>) {
    if session.profile.weighs_differently(app.clock.now()) {
        put_in_book(app, session);
    }
}

/// An attempt ended by an Island's own doing.
pub fn note_attempt(app: &App, island: IslandId, succeeded: bool) {
    let Some(profile) = app.islands.profile(island) else { return };
    profile.note(succeeded, app.clock.now());
    if let Some(session) = app.islands.get(island) {
        refresh(app, &session);
    }
}

/// Shows how many Islands are connected, and how many are in the book of each Cargo (incident 96).
pub fn gauge(app: &App) {
    let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    metrics::gauge!("archipelago_islands_connected").set(number(app.islands.all().len()));
    for market in app.market.all() {
        let (_, islands, waiting) = market.snapshot();
        let slug = market.workload.slug.clone();
        metrics::gauge!("archipelago_book_islands", "workload" => slug.clone()).set(number(islands));
        metrics::gauge!("archipelago_book_waiting", "workload" => slug).set(number(waiting));
    }
}
