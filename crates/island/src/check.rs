//! Tries everything an Island needs, once, without going online: its configuration, its coordinator, its token and
//! its backends, and says what it would offer.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use reqwest::header::{AUTHORIZATION, HeaderValue};
use reqwest::{Client, Url};
use serde_json::value::RawValue;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};
use types::id::{AttemptId, Id};
use types::island_protocol::FromIsland;
use types::time::{Clock, Timestamp};

use crate::backend::{Finished, Stopped, Work};
use crate::catalog::{Catalog, Sites, describe, floor};
use crate::config::{BackendConfig, Config, DEFAULT_MODEL, Endpoint, Models, OfferConfig, Unit};
use crate::outbox::Outbox;
use crate::reporter::Reporter;
use crate::site::{Site, State as SiteState};
use crate::state::State;
use crate::tally::Tally;

/// How long the coordinator may take to answer.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How long a tiny job may take, a model's loading included.
const JOB_TIMEOUT: Duration = Duration::from_secs(300);
const CHAT: &str = r#"{"prompt":"Say hello.","max_tokens":24}"#;
const TEXT: &str = r#"{"input":"a lighthouse"}"#;
const IMAGE: &str = r#"{"prompt":"a lighthouse","width":256,"height":256,"steps":4,"seed":1}"#;

/// What was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finding {
    /// As it should be.
    Good,
    /// Worth knowing.
    Note,
    /// In the way.
    Bad,
}

/// Tries everything and tells each finding as it comes. True if nothing is in the way.
pub async fn check(
    config: &Config,
    state: Option<&State>,
    clock: &dyn Clock,
    tell: &mut (dyn FnMut(Finding, String) + Send),
) -> bool {
    let mut bad = 0_u32;
    let mut tell = |finding: Finding, text: String| {
        bad += u32::from(finding == Finding::Bad);
        tell(finding, text);
    };
    match config.check() {
        Ok(()) => tell(Finding::Good, "The configuration can be read and is whole.".to_owned()),
        Err(error) => tell(Finding::Bad, format!("The configuration: {error}")),
    }
    coordinator(config, &mut tell).await;
    let sites = match Sites::build(config, &Sites::default(), &Arc::new(Notify::new())) {
        Ok(sites) => sites,
        Err(error) => {
            tell(Finding::Bad, format!("The configuration: {error}"));
            return false;
        }
    };
    let tally = Arc::new(Tally::new(state.map(State::speeds).unwrap_or_default()));
    for (backend, site) in config.backends.iter().zip(sites.iter()) {
        try_backend(backend, site, &tally, &mut tell).await;
    }
    offers(config, &sites, &tally, clock.now(), &mut tell);
    bad == 0
}

type Tell<'a> = dyn FnMut(Finding, String) + Send + 'a;

async fn coordinator(config: &Config, tell: &mut Tell<'_>) {
    let Ok(base) = Url::parse(&config.coordinator) else {
        // Said already if it is missing.
        if !config.coordinator.is_empty() {
            let text = "must be an address such as https://archipelago.example";
            tell(Finding::Bad, format!("The coordinator {:?} {text}.", config.coordinator));
        }
        return;
    };
    let mut builder = Client::builder().timeout(TIMEOUT).redirect(reqwest::redirect::Policy::none());
    if crate::backend::is_loopback(&base) {
        builder = builder.no_proxy();
    }
    let Ok(client) = builder.build() else {
        return tell(Finding::Bad, "The HTTP client could not be made.".to_owned());
    };
    let join = |path: &str| {
        let mut url = base.clone();
        url.set_path(&format!("{}{path}", base.path().trim_end_matches('/')));
        url
    };
    let begun = Instant::now();
    match client.get(join("/health")).send().await {
        Ok(answer) if answer.status().is_success() => {
            let text = format!(
                "The coordinator {} answers ({} ms).",
                config.coordinator,
                begun.elapsed().as_millis()
            );
            tell(Finding::Good, text);
        }
        Ok(answer) => {
            let text = format!(
                "The coordinator {} answers HTTP {}: is the address right?",
                config.coordinator,
                answer.status()
            );
            return tell(Finding::Bad, text);
        }
        Err(error) => {
            let causes = crate::backend::error_chain(&error);
            let text = format!(
                "The coordinator {} cannot be reached ({causes}): is the address right, and the network there?",
                config.coordinator
            );
            return tell(Finding::Bad, text);
        }
    }
    // Asked without a WebSocket, so that an agent at work with this token is not replaced.
    let Ok(mut bearer) = HeaderValue::from_str(&format!("Bearer {}", config.token.reveal())) else { return };
    bearer.set_sensitive(true);
    let asked = client.get(join("/api/v1/islands/connect")).header(AUTHORIZATION, bearer).send().await;
    match asked.map(|answer| answer.status().as_u16()) {
        Ok(401 | 403) => tell(
            Finding::Bad,
            "The coordinator does not take the token: copy it again from the Island's page, or pair anew."
                .to_owned(),
        ),
        Ok(404) => {
            tell(Finding::Bad, "This address has no door for Islands: is it a coordinator?".to_owned());
        }
        Ok(_) => tell(Finding::Good, "The coordinator takes the token.".to_owned()),
        Err(_) => tell(Finding::Note, "Whether the token is taken could not be asked.".to_owned()),
    }
}

async fn try_backend(backend: &BackendConfig, site: &Arc<Site>, tally: &Arc<Tally>, tell: &mut Tell<'_>) {
    site.look().await;
    let label = &site.label;
    if let SiteState::Down(trouble) = site.state() {
        let text = "Is the server running, and is base_url its address up to /v1?";
        return tell(Finding::Bad, format!("The backend {label} {trouble}. {text}"));
    }
    match site.models() {
        _ if site.backend.is_own() => {
            tell(Finding::Note, format!("The backend {label} runs no model, and its answers say so."));
        }
        Some(models) if models.is_empty() => {
            tell(Finding::Bad, format!("The backend {label} answers, but has no model: load or pull one."));
        }
        Some(models) => tell(Finding::Good, format!("The backend {label} has: {}.", shorten(&models))),
        None => tell(Finding::Note, format!("The backend {label} answers, but lists no models.")),
    }
    for offer in &backend.offers {
        for model in models(offer, site, tell) {
            try_model(offer, &model, site, tally, tell).await;
        }
    }
}

fn shorten(models: &[String]) -> String {
    let some = models.iter().take(20).cloned().collect::<Vec<_>>().join(", ");
    if models.len() > 20 { format!("{some} and {} more", models.len() - 20) } else { some }
}

/// The models to be tried for an offer.
fn models(offer: &OfferConfig, site: &Site, tell: &mut Tell<'_>) -> Vec<String> {
    let listed = site.models();
    match &offer.models {
        Models::Named(names) if names.is_empty() => vec![DEFAULT_MODEL.to_owned()],
        Models::Named(names) => {
            for name in names.iter().filter(|name| listed.as_ref().is_some_and(|list| !list.contains(name))) {
                let text = format!("{} names {name}, which {} does not list.", offer.workload, site.label);
                tell(Finding::Note, text);
            }
            names.clone()
        }
        Models::Discover(pattern) => {
            let found = listed.into_iter().flatten().filter(|name| crate::catalog::matches(pattern, name));
            let found: Vec<String> = found.take(types::island_protocol::MAX_MODELS).collect();
            if found.is_empty() {
                let text = format!("{}: {} lists no model like {pattern:?}.", offer.workload, site.label);
                tell(Finding::Bad, text);
            }
            // Each would have to be loaded; the usual one speaks for the rest.
            found.into_iter().take(1).collect()
        }
    }
}

async fn try_model(offer: &OfferConfig, model: &str, site: &Site, tally: &Arc<Tally>, tell: &mut Tell<'_>) {
    let input = match offer.endpoint {
        Endpoint::Chat => CHAT,
        Endpoint::Images => IMAGE,
        Endpoint::Embeddings => TEXT,
    };
    let Ok(input) = RawValue::from_string(input.to_owned()) else { return };
    let outbox = Arc::new(Outbox::new(false));
    let mut reporter = Reporter::new(AttemptId::from_i64(1), Arc::clone(&outbox), Arc::clone(tally));
    let work = Work { endpoint: offer.endpoint, model, input: &input };
    let begun = Instant::now();
    let mut told = Told::default();
    let outcome = {
        let mut running = std::pin::pin!(site.backend.run(work, &mut reporter).fuse());
        timeout(JOB_TIMEOUT, async {
            loop {
                tokio::select! {
                    outcome = &mut running => return outcome,
                    () = outbox.ready() => told.hear(&outbox, begun),
                }
            }
        })
        .await
    };
    told.hear(&outbox, begun);
    let name = format!("{} with {model}", offer.workload);
    match outcome {
        Ok(Ok(finished)) => {
            let (good, text) = told.verdict(offer.endpoint, &finished, begun.elapsed());
            tell(if good { Finding::Good } else { Finding::Bad }, format!("{name}: {text}"));
        }
        Ok(Err(Stopped::Failed(failure))) => tell(Finding::Bad, format!("{name}: {}", failure.sentence)),
        Ok(Err(_)) => tell(Finding::Bad, format!("{name}: stopped.")),
        Err(_) => tell(Finding::Bad, format!("{name}: no end within {} s.", JOB_TIMEOUT.as_secs())),
    }
}

/// What a tiny job brought.
#[derive(Default)]
struct Told {
    first_text: Option<Duration>,
    pieces: u64,
    image: Option<(u32, u32, String)>,
    vectors: usize,
}

impl Told {
    fn hear(&mut self, outbox: &Outbox, begun: Instant) {
        while let Some(message) = outbox.next() {
            match message.to_text().ok().and_then(|text| serde_json::from_str(text).ok()) {
                Some(FromIsland::Output { .. }) => {
                    self.first_text.get_or_insert_with(|| begun.elapsed());
                    self.pieces += 1;
                }
                Some(FromIsland::Embeddings { vectors, .. }) => self.vectors += vectors.len(),
                Some(FromIsland::Image { width, height, format, .. }) => {
                    self.image = Some((width, height, format));
                }
                _ => {}
            }
        }
    }

    /// Whether it was an answer, and how fast.
    fn verdict(&self, endpoint: Endpoint, finished: &Finished, took: Duration) -> (bool, String) {
        match (endpoint, self.first_text, &self.image) {
            (Endpoint::Images, _, Some((width, height, format))) => {
                (true, format!("an image of {width} × {height} ({format}) in {} ms.", took.as_millis()))
            }
            (Endpoint::Embeddings, ..) if self.vectors == 1 => {
                (true, format!("the vector of a text in {} ms.", took.as_millis()))
            }
            (Endpoint::Embeddings, ..) => (false, "no vector came.".to_owned()),
            (Endpoint::Images, _, None) => (false, "no image came.".to_owned()),
            (Endpoint::Chat, None, _) => (false, "the answer was empty.".to_owned()),
            (Endpoint::Chat, Some(first), _) => {
                let counted = finished.usage.and_then(|usage| usage.completion_tokens);
                let tokens = counted.unwrap_or(self.pieces);
                let after_first = u64::try_from(took.saturating_sub(first).as_millis()).unwrap_or(u64::MAX);
                let speed = match (tokens.saturating_sub(1) * 10_000).checked_div(after_first) {
                    Some(tenths) if after_first >= 10 => format!("{}.{} tokens/s", tenths / 10, tenths % 10),
                    _ => "faster than can be measured".to_owned(),
                };
                let silent = if counted.is_none() { ", tokens not counted by the server" } else { "" };
                let first = first.as_millis();
                (true, format!("first words after {first} ms, then {speed} ({tokens} tokens{silent})."))
            }
        }
    }
}

/// What would be offered at this moment, and for how much.
fn offers(config: &Config, sites: &Sites, tally: &Tally, now: Timestamp, tell: &mut Tell<'_>) {
    let catalog = Catalog::build(config, sites, tally, now);
    let of_offers = config.backends.iter().flat_map(|backend| &backend.offers);
    if config.schedule.is_some() || of_offers.clone().any(|offer| offer.schedule.is_some()) {
        tell(Finding::Good, format!("The schedule's clock shows {}.", config.timezone.clock(now)));
    }
    for offer in catalog.offers() {
        let mut text = format!("Would be offered: {}, {}", offer.workload, describe(offer));
        if let Some(known) = of_offers.clone().find(|known| known.workload == offer.workload) {
            text.push_str(&floor_in_words(config, known, &catalog, tally));
        }
        tell(Finding::Good, text);
    }
    for (workload, why) in catalog.withheld() {
        tell(Finding::Note, format!("Not offered at present: {workload}, because {why}."));
    }
    if catalog.offers().is_empty() {
        tell(Finding::Note, "At this moment nothing would be offered.".to_owned());
    }
}

fn floor_in_words(config: &Config, offer: &OfferConfig, catalog: &Catalog, tally: &Tally) -> String {
    if config.cost.is_none() {
        return ".".to_owned();
    }
    let Some(floor) = floor(config, offer, tally) else {
        return ". Its cost is not measured yet, so the configured ask stands.".to_owned();
    };
    let measured = tally.speed(&offer.workload).unwrap_or_default();
    let speed = match offer.unit {
        Unit::Request => format!("{} ms a job", measured.share_us / 1000),
        Unit::ThousandTokens => {
            let thousandths = measured.millitokens_per_second();
            format!("{}.{} tokens/s", thousandths / 1000, thousandths % 1000 / 100)
        }
    };
    let raised = match catalog.raised(&offer.workload) {
        Some(configured) => format!("; raised from {configured} credits"),
        None => String::new(),
    };
    format!(". Floor {floor} credits (measured over {} jobs: {speed}){raised}.", measured.jobs)
}
