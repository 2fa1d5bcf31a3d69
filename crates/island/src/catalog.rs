//! What is served at present: a configuration brought to life, less what is down, closed or not found.
//!
//! The same Cargo on several backends is one offer: its slots are added up, its models are those of all, and
//! each attempt goes to the backend with the largest part of its slots free.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::Notify;
use types::island_protocol::{Capabilities, MAX_MODELS, MAX_SLOTS, Offer};
use types::money::MicroCredits;
use types::time::Timestamp;

use crate::config::{Config, ConfigError, DEFAULT_MODEL, Endpoint, Models, OfferConfig};
use crate::site::{Site, State};
use crate::tally::Tally;

/// All that is served.
#[derive(Debug, Default)]
pub(crate) struct Catalog {
    served: HashMap<String, Arc<Served>>,
    offers: Vec<Offer>,
    capabilities: Capabilities,
    /// Cargos that are configured but not offered at present, and why.
    withheld: Vec<(String, String)>,
    /// Cargos whose ask is raised to their cost: the configured ask.
    raised: HashMap<String, String>,
}

/// The backends of a configuration.
#[derive(Debug, Default)]
pub(crate) struct Sites {
    /// In the order of the configuration.
    list: Vec<(Arc<Site>, usize)>,
}

/// One Cargo and what serves it.
#[derive(Debug, PartialEq)]
pub(crate) struct Served {
    /// The Cargo's slug.
    pub(crate) workload: String,
    /// What kind of answer it wants.
    pub(crate) endpoint: Endpoint,
    /// Where it can be served.
    pub(crate) lanes: Vec<Lane>,
}

/// A Cargo's part of a backend.
#[derive(Clone, Debug)]
pub(crate) struct Lane {
    /// Under which its slots are counted, across changes of what is offered.
    pub(crate) key: String,
    /// How many attempts run at once.
    pub(crate) slots: u32,
    /// The models, the usual one first; none if the backend has but one.
    pub(crate) models: Vec<String>,
    /// What does the work.
    pub(crate) site: Arc<Site>,
}

impl PartialEq for Lane {
    fn eq(&self, other: &Self) -> bool {
        (&self.key, self.slots, &self.models) == (&other.key, other.slots, &other.models)
            && Arc::ptr_eq(&self.site, &other.site)
    }
}

impl Lane {
    /// The model for an attempt, as the backend calls it; `None` if this lane cannot serve the one that is wanted.
    pub(crate) fn model(&self, wanted: Option<&str>) -> Option<&str> {
        match wanted {
            None => Some(self.models.first().map_or(DEFAULT_MODEL, String::as_str)),
            Some(wanted) => self.models.iter().map(String::as_str).find(|model| *model == wanted),
        }
    }
}

impl Sites {
    /// The backends of a configuration. Those that `previous` has already are taken over, with their open
    /// connections and what is known of them.
    pub(crate) fn build(config: &Config, previous: &Self, alarm: &Arc<Notify>) -> Result<Self, ConfigError> {
        let mut list: Vec<(Arc<Site>, usize)> = Vec::with_capacity(config.backends.len());
        for (number, backend) in config.backends.iter().enumerate() {
            let slots = backend.offers.iter().map(|offer| usize::try_from(offer.slots).unwrap_or(0)).sum();
            let same = |(site, width): &&(Arc<Site>, usize)| {
                site.kind == backend.kind
                    && *width == slots
                    && list.iter().all(|(taken, _)| !Arc::ptr_eq(taken, site))
            };
            let site = match previous.list.iter().find(same) {
                Some((site, _)) => Arc::clone(site),
                None => {
                    let known = previous.list.iter().find(|(site, _)| site.kind == backend.kind);
                    let known = known.map(|(site, _)| &**site);
                    Arc::new(Site::new(number, &backend.kind, slots, alarm)?.knowing(known))
                }
            };
            list.push((site, slots));
        }
        Ok(Self { list })
    }

    /// Each backend.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Site>> {
        self.list.iter().map(|(site, _)| site)
    }
}

impl Catalog {
    /// What a configuration offers at this moment.
    pub(crate) fn build(config: &Config, sites: &Sites, tally: &Tally, now: Timestamp) -> Self {
        let mut catalog = Self { capabilities: config.capabilities(), ..Self::default() };
        let mut order: Vec<(&OfferConfig, Vec<Lane>)> = Vec::new();
        for (backend, site) in config.backends.iter().zip(sites.iter()) {
            for offer in &backend.offers {
                let schedule = offer.schedule.as_ref().or(config.schedule.as_ref());
                let open = schedule.is_none_or(|schedule| schedule.is_open(now, &config.timezone));
                let lane = if open { lane(offer, site) } else { Err("outside its schedule".to_owned()) };
                match (lane, order.iter_mut().find(|(known, _)| known.workload == offer.workload)) {
                    (Err(why), _) => catalog.withheld.push((offer.workload.clone(), why)),
                    (Ok(lane), Some((_, lanes))) => lanes.push(lane),
                    (Ok(lane), None) => order.push((offer, vec![lane])),
                }
            }
        }
        for (offer, lanes) in order {
            catalog.add(config, offer, lanes, tally);
        }
        catalog
    }

    fn add(&mut self, config: &Config, offer: &OfferConfig, lanes: Vec<Lane>, tally: &Tally) {
        let mut ask = offer.ask.clone();
        if let Some(floor) = floor(config, offer, tally)
            && MicroCredits::parse_decimal(&ask).is_ok_and(|configured| configured < floor)
        {
            self.raised.insert(offer.workload.clone(), std::mem::replace(&mut ask, floor.to_string()));
        }
        let mut models: Vec<String> = Vec::new();
        for model in lanes.iter().flat_map(|lane| &lane.models) {
            if models.len() < MAX_MODELS && !models.contains(model) {
                models.push(model.clone());
            }
        }
        let slots = lanes.iter().fold(0_u32, |sum, lane| sum.saturating_add(lane.slots)).min(MAX_SLOTS);
        self.offers.push(Offer { workload: offer.workload.clone(), ask, slots, models });
        let served = Served { workload: offer.workload.clone(), endpoint: offer.endpoint, lanes };
        self.served.insert(offer.workload.clone(), Arc::new(served));
    }

    /// What serves a Cargo.
    pub(crate) fn served(&self, workload: &str) -> Option<&Arc<Served>> {
        self.served.get(workload)
    }

    /// As the coordinator hears it.
    pub(crate) fn offers(&self) -> &[Offer] {
        &self.offers
    }

    /// What the machine is.
    pub(crate) const fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    /// Cargos that are configured but not offered at present, and why.
    pub(crate) fn withheld(&self) -> &[(String, String)] {
        &self.withheld
    }

    /// The configured ask, where the cost of electricity is higher.
    pub(crate) fn raised(&self, workload: &str) -> Option<&str> {
        self.raised.get(workload).map(String::as_str)
    }

    /// Whether this is the same in every respect.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.offers == other.offers && self.served == other.served && self.capabilities == other.capabilities
    }

    /// What became of each offer since `previous`, one sentence each.
    pub(crate) fn changes_since(&self, previous: &Self) -> Vec<String> {
        let find = |offers: &[Offer], workload: &str| {
            offers.iter().find(|offer| offer.workload == workload).cloned()
        };
        let mut changes = Vec::new();
        for new in &self.offers {
            let raised = self.raised(&new.workload).map(|ask| format!(" (raised from {ask} to the cost)"));
            let raised = raised.unwrap_or_default();
            let Some(old) = find(&previous.offers, &new.workload) else {
                changes.push(format!("{} is offered now: {}{raised}", new.workload, describe(new)));
                continue;
            };
            if old != *new {
                changes.push(format!(
                    "{} was: {}; is now: {}{raised}",
                    new.workload,
                    describe(&old),
                    describe(new)
                ));
            }
        }
        for old in previous.offers.iter().filter(|old| find(&self.offers, &old.workload).is_none()) {
            let why = self.withheld.iter().find(|(workload, _)| *workload == old.workload);
            let why = why.map(|(_, why)| format!(" ({why})")).unwrap_or_default();
            changes.push(format!("{} is no longer offered{why}", old.workload));
        }
        changes
    }
}

/// The least to be asked, if there is a cost and it was measured.
pub(crate) fn floor(config: &Config, offer: &OfferConfig, tally: &Tally) -> Option<MicroCredits> {
    config.cost.as_ref()?.floor(&tally.speed(&offer.workload)?, offer.unit)
}

/// An offer's part of a backend, if it can be offered.
fn lane(offer: &OfferConfig, site: &Arc<Site>) -> Result<Lane, String> {
    match site.state() {
        State::Up => {}
        State::Unknown => return Err(format!("{} has not answered yet", site.label)),
        State::Down(trouble) => return Err(format!("{} {trouble}", site.label)),
    }
    let models = match &offer.models {
        Models::Named(models) => models.clone(),
        Models::Discover(pattern) => {
            let listed = site.models().unwrap_or_default();
            let found: Vec<String> =
                listed.into_iter().filter(|model| matches(pattern, model)).take(MAX_MODELS).collect();
            if found.is_empty() {
                return Err(format!("{} lists no model like {pattern:?}", site.label));
            }
            found
        }
    };
    let key = format!("{}\n{}", offer.workload, site.label);
    Ok(Lane { key, slots: offer.slots, models, site: Arc::clone(site) })
}

/// Whether a name fits a pattern, in which `*` stands for anything.
pub(crate) fn matches(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let (first, mut rest) = (parts.next().unwrap_or_default(), name);
    let Some(after) = rest.strip_prefix(first) else { return false };
    rest = after;
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
    for part in middle {
        let Some(at) = rest.find(part) else { return false };
        rest = rest.get(at + part.len()..).unwrap_or_default();
    }
    rest.ends_with(last)
}

/// An offer in words.
pub(crate) fn describe(offer: &Offer) -> String {
    let models = match offer.models.as_slice() {
        [] => String::new(),
        [model] => format!(", model {model}"),
        models => format!(", models {}", models.join(", ")),
    };
    format!("ask {} credits, slots {}{models}", offer.ask, offer.slots)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cost::Speeds;

    fn config(offers: &str) -> Config {
        let start = "coordinator = \"http://h\"\ntoken = \"t\"\n[[backend]]\nkind = \"demo\"\n";
        let offers: String = offers
            .split_whitespace()
            .map(|offer| {
                let (workload, ask) = offer.split_once(':').unwrap();
                format!("[[backend.offer]]\nworkload = \"{workload}\"\nask = \"{ask}\"\nslots = 1\n")
            })
            .collect();
        Config::from_toml(&format!("{start}{offers}")).unwrap()
    }

    fn build(config: &Config, previous: &Sites) -> (Sites, Catalog) {
        let sites = Sites::build(config, previous, &Arc::new(Notify::new())).unwrap();
        let catalog = Catalog::build(config, &sites, &Tally::new(Speeds::new()), Timestamp::default());
        (sites, catalog)
    }

    #[test]
    fn changes_are_told_and_backends_kept() {
        let (old_sites, old) = build(&config("a:1 b:2"), &Sites::default());
        let (_, same) = build(&config("a:1 b:2"), &old_sites);
        assert_eq!(same.changes_since(&old), [] as [String; 0]);
        assert!(same.is_same(&old));
        let (new_sites, new) = build(&config("a:1.5 c:3"), &old_sites);
        assert_eq!(
            new.changes_since(&old),
            [
                "a was: ask 1 credits, slots 1; is now: ask 1.5 credits, slots 1",
                "c is offered now: ask 3 credits, slots 1",
                "b is no longer offered",
            ]
        );
        assert!(!new.is_same(&old));
        let first = |sites: &Sites| Arc::clone(sites.iter().next().unwrap());
        assert!(Arc::ptr_eq(&first(&old_sites), &first(&new_sites)));
        let (wider, _) = build(&config("a:1 b:2 c:3"), &old_sites);
        assert!(!Arc::ptr_eq(&first(&old_sites), &first(&wider)));
    }

    #[test]
    fn one_cargo_on_two_backends_is_one_offer() {
        let backend = |models: &str, slots: u32| {
            format!(
                "[[backend]]\nkind = \"demo\"\n[[backend.offer]]\nworkload = \"a\"\nask = \"1\"\nslots = {slots}\nmodels = {models}\n"
            )
        };
        let text = format!("{}{}", backend("[\"x\", \"y\"]", 2), backend("[\"y\", \"z\"]", 3));
        let (_, catalog) = build(&Config::from_toml(&text).unwrap(), &Sites::default());
        let [offer] = catalog.offers() else { panic!("{:?}", catalog.offers()) };
        assert_eq!((offer.slots, offer.models.join(" ").as_str()), (5, "x y z"));
        assert_eq!(catalog.served("a").unwrap().lanes.len(), 2);
    }

    #[test]
    fn patterns_fit() {
        let cases = [
            ("*", "anything", true),
            ("llama*", "llama3:8b", true),
            ("llama*", "codellama", false),
            ("*llama*", "codellama:7b", true),
            ("*:8b", "llama3:8b", true),
            ("*:8b", "llama3:70b", false),
            ("l*3*b", "llama3:8b", true),
            ("llama3:8b", "llama3:8b", true),
            ("llama3", "llama3:8b", false),
            ("a*a", "a", false),
        ];
        for (pattern, name, expected) in cases {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }
}
