//! What is served at present: a configuration brought to life.

use std::collections::HashMap;
use std::sync::Arc;

use types::island_protocol::{Capabilities, Offer};

use crate::backend::Backend;
use crate::config::{BackendKind, Config, ConfigError, Endpoint};

/// All that is served.
#[derive(Debug, Default)]
pub(crate) struct Catalog {
    served: HashMap<String, Arc<Served>>,
    offers: Vec<Offer>,
    capabilities: Capabilities,
    backends: Vec<Made>,
}

/// One Cargo and what serves it.
#[derive(Debug)]
pub(crate) struct Served {
    /// The Cargo's slug.
    pub(crate) workload: String,
    /// How many attempts run at once.
    pub(crate) slots: u32,
    /// The model, as the backend calls it.
    pub(crate) model: String,
    /// What kind of answer it wants.
    pub(crate) endpoint: Endpoint,
    /// What does the work.
    pub(crate) backend: Arc<Backend>,
}

/// A backend and what it was made from.
#[derive(Debug)]
struct Made {
    kind: BackendKind,
    slots: usize,
    backend: Arc<Backend>,
}

impl Catalog {
    /// Brings a configuration to life. Backends that `previous` has already are taken over, with their open
    /// connections.
    pub(crate) fn build(config: &Config, previous: &Self) -> Result<Self, ConfigError> {
        config.check()?;
        let mut catalog = Self { capabilities: config.capabilities(), ..Self::default() };
        for (number, backend) in config.backends.iter().enumerate() {
            let slots = backend.offers.iter().map(|offer| usize::try_from(offer.slots).unwrap_or(0)).sum();
            let made = match previous.made(&backend.kind, slots) {
                Some(made) => made,
                None => Arc::new(Backend::new(&format!("backend[{number}]"), &backend.kind, slots)?),
            };
            catalog.backends.push(Made { kind: backend.kind.clone(), slots, backend: Arc::clone(&made) });
            for offer in &backend.offers {
                let served = Served {
                    workload: offer.workload.clone(),
                    slots: offer.slots,
                    model: offer.model.clone(),
                    endpoint: offer.endpoint,
                    backend: Arc::clone(&made),
                };
                catalog.served.insert(offer.workload.clone(), Arc::new(served));
                catalog.offers.push(offer.to_offer());
            }
        }
        Ok(catalog)
    }

    fn made(&self, kind: &BackendKind, slots: usize) -> Option<Arc<Backend>> {
        let made = self.backends.iter().find(|made| made.kind == *kind && made.slots == slots)?;
        Some(Arc::clone(&made.backend))
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

    /// What became of each offer since `previous`, one sentence each.
    pub(crate) fn changes_since(&self, previous: &Self) -> Vec<String> {
        let find = |offers: &[Offer], workload: &str| {
            offers.iter().find(|offer| offer.workload == workload).cloned()
        };
        let mut changes = Vec::new();
        for new in &self.offers {
            let Some(old) = find(&previous.offers, &new.workload) else {
                changes.push(format!("{} is offered now: {}", new.workload, describe(new)));
                continue;
            };
            if old != *new {
                changes.push(format!("{} was: {}; is now: {}", new.workload, describe(&old), describe(new)));
            }
        }
        let gone = previous.offers.iter().filter(|old| find(&self.offers, &old.workload).is_none());
        changes.extend(gone.map(|old| format!("{} is no longer offered", old.workload)));
        changes
    }
}

/// An offer in words.
pub(crate) fn describe(offer: &Offer) -> String {
    let model = offer.models.first().map(|model| format!(", model {model}")).unwrap_or_default();
    format!("ask {} credits, slots {}{model}", offer.ask, offer.slots)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(offers: &str) -> Config {
        let start = "coordinator = \"http://h\"\ntoken = \"t\"\n[[backend]]\nkind = \"openai\"\nbase_url = \"http://h\"\n";
        let offers: String = offers
            .split_whitespace()
            .map(|offer| {
                let (workload, ask) = offer.split_once(':').unwrap();
                format!("[[backend.offer]]\nworkload = \"{workload}\"\nask = \"{ask}\"\nslots = 1\n")
            })
            .collect();
        Config::from_toml(&format!("{start}{offers}")).unwrap()
    }

    #[test]
    fn changes_are_told_and_backends_kept() {
        let old = Catalog::build(&config("a:1 b:2"), &Catalog::default()).unwrap();
        let same = Catalog::build(&config("a:1 b:2"), &old).unwrap();
        assert_eq!(same.changes_since(&old), [] as [String; 0]);
        let new = Catalog::build(&config("a:1.5 c:3"), &old).unwrap();
        assert_eq!(
            new.changes_since(&old),
            [
                "a was: ask 1 credits, slots 1; is now: ask 1.5 credits, slots 1",
                "c is offered now: ask 3 credits, slots 1",
                "b is no longer offered",
            ]
        );
        assert!(Arc::ptr_eq(&old.backends[0].backend, &new.backends[0].backend));
        let wider = Catalog::build(&config("a:1 b:2 c:3"), &old).unwrap();
        assert!(!Arc::ptr_eq(&old.backends[0].backend, &wider.backends[0].backend));
    }
}
