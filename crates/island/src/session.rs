//! A session: what is in work, over as many connections as that takes.
//!
//! Guarantees: an attempt goes on while the connection is away, for as long as a lease; when the session is over,
//! so is everything that ran in it.

use std::sync::Arc;
use std::time::Duration;

use types::id::AttemptId;

use crate::connection::{Lost, Resumption, Welcome};
use crate::outbox::Outbox;
use crate::runner::Running;
use crate::tally::Tally;

/// What is in work, and what is still to be told about it.
#[derive(Debug)]
pub(crate) struct Session {
    /// What the coordinator calls it; nothing if it knows no sessions.
    name: Option<String>,
    /// The version both sides speak.
    pub(crate) protocol: u32,
    pub(crate) running: Arc<Running>,
    pub(crate) outbox: Arc<Outbox>,
    /// How long it outlives its connection.
    pub(crate) lease: Duration,
    /// How many messages had arrived when this was last asked.
    seen: u64,
}

impl Session {
    /// The session that a welcome begins, or with which it goes on.
    pub(crate) fn after(welcome: &Welcome, previous: Option<Self>, tally: &Arc<Tally>) -> Result<Self, Lost> {
        if let Some(mut previous) = previous {
            if welcome.resumed && welcome.session.is_some() {
                previous
                    .outbox
                    .resume(welcome.received)
                    .map_err(|_| Lost::Broken("the coordinator has lost count of this session".to_owned()))?;
                previous.name.clone_from(&welcome.session);
                previous.lease = welcome.lease;
                previous.protocol = welcome.protocol;
                tracing::info!(
                    "The session goes on: {} attempts in work, {} messages to be told again.",
                    previous.running.count(),
                    previous.outbox.len()
                );
                return Ok(previous);
            }
            previous.warn_of_loss("the coordinator has begun a new session");
        }
        let outbox = Arc::new(Outbox::new(welcome.session.is_some()));
        let running = Arc::new(Running::new(Arc::clone(tally)));
        let (name, protocol, lease) = (welcome.session.clone(), welcome.protocol, welcome.lease);
        Ok(Self { name, protocol, running, outbox, lease, seen: 0 })
    }

    /// How to go on with it on a new connection, if that is possible.
    pub(crate) fn resumption(&self) -> Option<Resumption> {
        let session = self.name.clone()?;
        let mut running = self.running.list();
        running.extend(self.outbox.ends(true).into_iter().filter(|ended| !self.running.has(*ended)));
        Some(Resumption { session, running })
    }

    /// Attempts that a heartbeat lists: in work, or ended without the coordinator having been told yet.
    pub(crate) fn in_work(&self) -> Vec<AttemptId> {
        let mut running = self.running.list();
        running.extend(self.outbox.ends(false).into_iter().filter(|ended| !self.running.has(*ended)));
        running
    }

    /// Whether the coordinator knows sessions.
    pub(crate) const fn can_go_on(&self) -> bool {
        self.name.is_some()
    }

    /// Whether there is anything for which it is worth going on.
    pub(crate) fn has_work(&self) -> bool {
        self.name.is_some() && (self.running.count() > 0 || !self.outbox.is_empty())
    }

    /// Whether messages have arrived since this was last asked.
    pub(crate) fn has_progressed(&mut self) -> bool {
        let arrived = self.outbox.arrived();
        std::mem::replace(&mut self.seen, arrived) != arrived
    }

    /// Says what is lost with it.
    pub(crate) fn warn_of_loss(&self, why: &str) {
        let running = self.running.count();
        if running > 0 {
            tracing::warn!(running, "{running} attempts are given up: {why}.");
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.running.abandon();
        self.outbox.close();
    }
}
