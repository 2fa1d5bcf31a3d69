//! One Island's session: the attempts it works on, and how many of its messages about them have arrived. It knows no
//! sockets: a [`Link`] is whatever carries messages to the Island at the moment, and may be missing for as long as a lease.
//!
//! Guarantees: of several links only the newest is listened to, so what a half-dead connection still brings changes nothing; a
//! message is counted and takes effect in one step, so that after a break each is taken once; what an Island says of
//! an attempt that is not (or no longer) its own changes nothing; every attempt ends once.

use std::sync::{Arc, Mutex, PoisonError};

use serde_json::value::RawValue;
use tokio::sync::oneshot;
use types::id::AttemptId;
use types::island_protocol::{Offer, RECEIVED_EVERY, ToIsland};
use types::time::{SECOND_MS, Timestamp};

use super::Island;
pub use super::attempts::{Assignment, End, Heard, Lease, Said};
use super::attempts::{Running, State, overstates, take_delta, take_image, take_text};
pub use super::link::Link;
use super::offers::Checked;
use super::profile::Profile;
use super::vectors::Vectors;
use crate::config::WorkloadKind;
use crate::secrets;

/// A session.
#[derive(Debug)]
pub struct Session {
    /// Who it is.
    pub island: Island,
    /// What is known of it.
    pub profile: Arc<Profile>,
    /// Where it stands.
    pub region: Option<String>,
    /// What it must be called by to go on after a break. Nothing in version 1, where it ends with its connection.
    name: Option<String>,
    offered: Mutex<Vec<Checked>>,
    state: Mutex<State>,
    lease_ms: i64,
    output_bytes: usize,
}

/// The Island cannot be sent anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gone;

/// How sessions are kept, from the configuration.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// How long an attempt is an Island's without being renewed, in seconds.
    pub lease_secs: u32,
    /// The most output of one job, in bytes.
    pub output_bytes: usize,
}

impl Session {
    /// A session over a link. With a name it can go on after a break.
    #[must_use]
    pub fn new(
        island: Island,
        profile: Arc<Profile>,
        (name, region): (Option<String>, Option<String>),
        link: &Arc<Link>,
        terms: Terms,
    ) -> Arc<Self> {
        Arc::new(Self {
            island,
            profile,
            region,
            name,
            offered: Mutex::default(),
            state: Mutex::new(State { link: Some(Arc::clone(link)), ..State::default() }),
            lease_ms: i64::from(terms.lease_secs) * SECOND_MS,
            output_bytes: terms.output_bytes,
        })
    }

    /// How long an attempt is the Island's without being renewed, and a session waits for its Island, in milliseconds.
    #[must_use]
    pub const fn lease_ms(&self) -> i64 {
        self.lease_ms
    }

    /// Whether this is the session's name; compared in constant time.
    #[must_use]
    pub fn is_called(&self, name: &str) -> bool {
        self.name.as_deref().is_some_and(|own| secrets::equal(own, name))
    }

    /// Goes on over another link. The Island is sent what `welcome` makes of the number of messages that have arrived, and told
    /// once more to stop what it is to stop; attempts that it does not work on are lost. `false` if the session is over.
    #[must_use]
    pub fn resume(
        &self,
        link: &Arc<Link>,
        listed: &[AttemptId],
        now: Timestamp,
        welcome: impl FnOnce(u64) -> ToIsland,
    ) -> bool {
        let mut state = lock(&self.state);
        if state.over || self.name.is_none() {
            return false;
        }
        if let Some(old) = state.link.replace(Arc::clone(link)) {
            old.close("replaced", "The Island has connected again.");
        }
        link.send(welcome(state.received));
        state.told = state.received;
        let missing: Vec<AttemptId> =
            state.running.keys().filter(|attempt| !listed.contains(attempt)).copied().collect();
        for attempt in missing {
            state.end(attempt, End::Lost, false);
        }
        for attempt in listed {
            match state.running.get(attempt) {
                Some(running) if running.live.is_some() => {
                    // A lease that has run out is judged by whoever drives the job.
                    if running.lease.until() > now {
                        running.lease.renew(now.plus_millis(self.lease_ms));
                    }
                }
                // An end that has arrived needs no answer but the number of messages.
                None if state.past.ended.get(attempt) == Some(&true) => {}
                _ => drop(link.send(ToIsland::Cancel { attempt_id: *attempt })),
            }
        }
        true
    }

    /// A link is broken. Answers whether it was the session's.
    pub fn broke(&self, link: &Arc<Link>) -> bool {
        let mut state = lock(&self.state);
        let current = state.is_current(link);
        if current {
            state.link = None;
            state.breaks += 1;
            state.leave_the_book(None);
        }
        current
    }

    /// How often its link broke.
    #[must_use]
    pub fn breaks(&self) -> u64 {
        lock(&self.state).breaks
    }

    /// Whether there is a link, and the session is not over.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        let state = lock(&self.state);
        state.link.is_some() && !state.over
    }

    /// Whether it can go on after a break.
    #[must_use]
    pub fn can_resume(&self) -> bool {
        self.name.is_some() && !lock(&self.state).over
    }

    /// The session is over: so is everything that runs in it.
    pub fn end(&self) {
        let mut state = lock(&self.state);
        state.over = true;
        for (_, running) in state.running.drain() {
            // Nobody listens when the job was given up meanwhile.
            drop(running.end.send(End::Lost));
        }
    }

    /// The same if nobody has come back since its link broke for the so-manieth time.
    pub fn end_if_broken_since(&self, breaks: u64) -> bool {
        let waiting = {
            let state = lock(&self.state);
            state.link.is_none() && state.breaks == breaks
        };
        if waiting {
            self.end();
        }
        waiting
    }

    /// Ends the session and closes the connection with a reason.
    pub fn dismiss(&self, code: &str, message: &str) {
        self.close(code, message);
        self.end();
    }

    /// Closes the connection with a reason; the session may go on.
    pub fn close(&self, code: &str, message: &str) {
        if let Some(link) = &lock(&self.state).link {
            link.close(code, message);
        }
    }

    /// Sends a message that is not about an attempt.
    pub fn send(&self, message: ToIsland) {
        if let Some(link) = &lock(&self.state).link {
            link.send(message);
        }
    }

    /// Sends an attempt to the Island. The receiver tells how it ended; the lease, until when it is the Island's.
    ///
    /// # Errors
    /// [`Gone`] if the Island is gone or does not read what it is sent.
    pub fn assign(&self, work: Assignment, now: Timestamp) -> Result<(oneshot::Receiver<End>, Lease), Gone> {
        let until = now.plus_millis(self.lease_ms);
        let lease = Lease::new(until);
        let message = ToIsland::Assign {
            attempt_id: work.attempt,
            job_id: work.live.id,
            workload: work.live.workload.slug.clone(),
            input: RawValue::from_string(work.input.to_string()).map_err(|_| Gone)?,
            lease_expires: until.as_millis(),
            earns: work.earns,
            model: work.model,
        };
        let (end, ended) = oneshot::channel();
        let running = Running {
            workload: Arc::clone(&work.live.workload),
            live: Some(work.live),
            lease: lease.clone(),
            end,
            next_seq: 1,
            vectors: Vectors::default(),
            assigned_at: now,
            unreserved: false,
        };
        let mut state = lock(&self.state);
        let Some(link) = state.link.clone().filter(|_| !state.over) else { return Err(Gone) };
        if !link.send(message) {
            link.close("too_slow", "The Island does not read what it is sent.");
            return Err(Gone);
        }
        state.running.insert(work.attempt, running);
        Ok((ended, lease))
    }

    /// Tells the Island to stop an attempt, now or when it is back. Whatever it still sends of it is ignored, except that it has
    /// stopped.
    pub fn cancel(&self, attempt: AttemptId) {
        let mut state = lock(&self.state);
        if let Some(one) = state.running.get_mut(&attempt) {
            one.live = None;
        }
        if let Some(link) = &state.link {
            // An Island that cannot even be told will lose its lease.
            link.send(ToIsland::Cancel { attempt_id: attempt });
        }
    }

    /// An attempt that was told to stop is waited for no longer.
    pub fn forget(&self, attempt: AttemptId) {
        lock(&self.state).end(attempt, End::Lost, false);
    }

    /// An Island says something about an attempt.
    pub fn hear(&self, link: &Arc<Link>, attempt: AttemptId, said: Said, now: Timestamp) -> Heard {
        let mut state = lock(&self.state);
        if !state.is_current(link) || state.over {
            return Heard::Stale;
        }
        state.received += 1;
        let heard = self.apply(&mut state, attempt, said, now);
        if self.name.is_some() && state.received - state.told >= RECEIVED_EVERY {
            state.tell_received(None);
        }
        heard
    }

    fn apply(&self, state: &mut State, attempt: AttemptId, said: Said, now: Timestamp) -> Heard {
        let Some(one) = state.running.get_mut(&attempt) else { return state.past.judge(attempt) };
        let Some(live) = one.live.clone() else {
            if let Said::Ended(end) = said {
                state.end(attempt, end, true);
            }
            return Heard::Fine;
        };
        let wrong = match said {
            Said::Output { seq, text } => {
                let in_order = one.count(seq, WorkloadKind::Chat, now.plus_millis(self.lease_ms));
                self.note_first(one, seq, in_order, now);
                take_text(&live, in_order, &text, self.output_bytes)
            }
            Said::Delta { seq, delta } => {
                let in_order = one.count(seq, WorkloadKind::Chat, now.plus_millis(self.lease_ms));
                self.note_first(one, seq, in_order, now);
                take_delta(&live, in_order, delta, self.output_bytes)
            }
            Said::Embeddings { seq, vectors } => {
                let in_order = one.count(seq, WorkloadKind::Embedding, now.plus_millis(self.lease_ms));
                self.note_first(one, seq, in_order, now);
                one.vectors.take(&live, in_order, &vectors, self.output_bytes)
            }
            Said::Progress { step, total } => {
                one.lease.renew(now.plus_millis(self.lease_ms));
                live.push_progress(step, total);
                None
            }
            Said::Image(image) => {
                if image.is_some() {
                    self.profile.answered_after(now.millis_since(one.assigned_at));
                }
                take_image(&live, image, self.output_bytes)
            }
            Said::Ended(end) => {
                let end = one.vectors.finish(&live, end, self.output_bytes);
                let heard = if overstates(&end, &live) { Heard::Offence } else { Heard::Fine };
                state.end(attempt, end, true);
                return heard;
            }
        };
        if let Some(end) = wrong {
            state.stop(attempt, end);
        }
        Heard::Fine
    }

    /// Notes how long the first piece of an answer took.
    fn note_first(&self, one: &Running, seq: u64, in_order: bool, now: Timestamp) {
        if seq == 1 && in_order {
            self.profile.answered_after(now.millis_since(one.assigned_at));
        }
    }

    /// Whether an image is waited for in this attempt, so that it is worth looking at one.
    #[must_use]
    pub fn wants_image(&self, attempt: AttemptId) -> bool {
        let state = lock(&self.state);
        let live = state.running.get(&attempt).and_then(|one| one.live.as_ref());
        live.is_some_and(|live| live.workload.kind == WorkloadKind::Image && !live.has_output())
    }

    /// The most output of one job, in bytes.
    #[must_use]
    pub const fn output_bytes(&self) -> usize {
        self.output_bytes
    }

    /// The Island says which attempts it works on: their leases are renewed, and it is told what has arrived.
    pub fn heartbeat(&self, link: &Arc<Link>, attempts: &[AttemptId], now: Timestamp) {
        let mut state = lock(&self.state);
        if !state.is_current(link) {
            return;
        }
        let running = attempts.iter().filter_map(|attempt| state.running.get(attempt));
        for one in running.filter(|one| one.live.is_some()) {
            one.lease.renew(now.plus_millis(self.lease_ms));
        }
        if self.name.is_some() {
            state.tell_received(Some(self.profile.today(now)));
        }
    }

    /// What it offers now.
    #[must_use]
    pub fn offers(&self) -> Vec<Offer> {
        lock(&self.offered).iter().map(|checked| checked.offer.clone()).collect()
    }

    /// The same, as it was checked.
    #[must_use]
    pub fn offered(&self) -> Vec<Checked> {
        lock(&self.offered).clone()
    }

    /// Notes what it offers from now on.
    pub fn set_offered(&self, offered: Vec<Checked>) {
        *lock(&self.offered) = offered;
    }

    /// How many attempts it works on.
    #[must_use]
    pub fn running(&self) -> usize {
        lock(&self.state).running.len()
    }

    /// How many slots of a Cargo are in use by attempts from before the Island last entered the book.
    #[must_use]
    pub fn unreserved(&self, workload: &str) -> u32 {
        let state = lock(&self.state);
        let of = |one: &&Running| one.unreserved && one.workload.slug == workload;
        u32::try_from(state.running.values().filter(of).count()).unwrap_or(u32::MAX)
    }

    /// The Island left the book of a Cargo: its attempts there go on, and the book forgets them.
    pub fn left_the_book(&self, workload: &str) {
        lock(&self.state).leave_the_book(Some(workload));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;
    use types::id::{AccountId, Id, IslandId, JobId, UserId};
    use types::money::MicroCredits;
    use types::rng::{Random, SeededRandom};

    use super::super::profile::Known;
    use super::*;
    use crate::config::Config;
    use crate::jobs::live::LiveJob;
    use crate::jobs::{BidSource, Job, Origin, State as JobState, Usage};
    use crate::marketplace::Workload;

    const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

    fn session(name: Option<&str>) -> (Arc<Session>, Arc<Link>, mpsc::Receiver<ToIsland>) {
        let island = Island {
            id: IslandId::from_i64(1),
            owner: UserId::from_i64(1),
            earnings: AccountId::from_i64(1),
            name: "palma".into(),
            token_hash: "".into(),
        };
        let profile = Profile::new(island.id, NOW, Known::default());
        let (link, outbox) = Link::new();
        let terms = Terms { lease_secs: 30, output_bytes: 1_000_000 };
        (Session::new(island, profile, (name.map(str::to_owned), None), &link, terms), link, outbox)
    }

    fn live(number: i64) -> Arc<LiveJob> {
        let job = Job {
            id: JobId::from_i64(number),
            node: 0,
            user: UserId::from_i64(2),
            key: None,
            workload: 1,
            origin: Origin::Api,
            state: JobState::Running,
            input: Arc::from("{}"),
            bid: MicroCredits::new(1),
            unit_bid: MicroCredits::ZERO,
            bid_source: BidSource::Explicit,
            region: None,
            model: None,
            min_trust: 0,
            priority: 0,
            created_at: NOW,
            deadline: NOW,
            started_at: None,
            completed_at: None,
            attempts: 0,
            island: None,
            charge: MicroCredits::ZERO,
            units: types::units::Units::ZERO,
            usage: Usage::default(),
            finish_reason: None,
            error: None,
        };
        let config = Config::load(None, []).unwrap();
        Arc::new(LiveJob::new(
            &job,
            Arc::new(Workload::new(1, &config.workloads[0])),
            crate::marketplace::measure::Request::default(),
        ))
    }

    fn assign(session: &Session, number: i64) -> (Arc<LiveJob>, oneshot::Receiver<End>, Lease) {
        let live = live(number);
        let work = Assignment {
            attempt: AttemptId::from_i64(number),
            model: None,
            live: Arc::clone(&live),
            input: Arc::from("{}"),
            earns: MicroCredits::ZERO,
        };
        let (end, lease) = session.assign(work, NOW).unwrap();
        (live, end, lease)
    }

    fn said(seq: u64) -> Said {
        Said::Output { seq, text: format!("{seq},") }
    }

    fn done() -> Said {
        Said::Ended(End::Done { usage: Usage::default(), finish_reason: None })
    }

    fn welcome(received: u64) -> ToIsland {
        ToIsland::Received { messages: received, today: None }
    }

    #[test]
    fn only_the_newest_link_is_listened_to() {
        let (session, old, _outbox) = session(Some("name"));
        let (live, mut end, _) = assign(&session, 1);
        let attempt = AttemptId::from_i64(1);
        assert_eq!(session.hear(&old, attempt, said(1), NOW), Heard::Fine);
        let (new, _newer) = Link::new();
        assert!(session.resume(&new, &[attempt], NOW, welcome));
        assert_eq!(session.hear(&old, attempt, said(2), NOW), Heard::Stale);
        assert_eq!(session.hear(&old, attempt, done(), NOW), Heard::Stale);
        session.heartbeat(&old, &[attempt], NOW.plus_millis(60_000));
        assert!(!session.broke(&old) && session.is_connected(), "that the old one breaks is no news");
        assert_eq!(session.hear(&new, attempt, said(2), NOW), Heard::Fine);
        assert_eq!(session.hear(&new, attempt, done(), NOW), Heard::Fine);
        assert!(matches!(end.try_recv(), Ok(End::Done { .. })));
        assert_eq!(live.output().unwrap(), "1,2,");
        // After the end, by whoever says it: an offence, and nothing else.
        assert_eq!(session.hear(&new, attempt, said(3), NOW), Heard::Offence);
        assert_eq!(session.hear(&new, AttemptId::from_i64(9), said(1), NOW), Heard::Offence);
        assert_eq!(live.output().unwrap(), "1,2,");
    }

    #[test]
    fn leases_are_renewed_by_the_island_that_has_them_and_not_while_it_is_away() {
        let (session, link, _outbox) = session(Some("name"));
        let (_live, _end, lease) = assign(&session, 1);
        let attempt = AttemptId::from_i64(1);
        let at = |seconds: i64| NOW.plus_millis(seconds * 1000);
        assert_eq!(lease.until(), at(30));
        session.heartbeat(&link, &[attempt], at(10));
        assert_eq!(lease.until(), at(40));
        assert!(session.broke(&link));
        session.heartbeat(&link, &[attempt], at(20));
        assert_eq!(lease.until(), at(40));
        let (again, _outbox) = Link::new();
        assert!(session.resume(&again, &[attempt], at(25), welcome));
        assert_eq!(lease.until(), at(55));
        // One that has run out is for whoever drives the job to judge.
        assert!(session.broke(&again));
        let (late, _outbox) = Link::new();
        assert!(session.resume(&late, &[attempt], at(56), welcome));
        assert_eq!(lease.until(), at(55));
    }

    #[test]
    fn what_cannot_go_on_is_lost() {
        let (nameless, link, _outbox) = session(None);
        let (again, _again) = Link::new();
        assert!(!nameless.resume(&again, &[], NOW, welcome) && !nameless.is_called(""));
        let (session, first, _outbox) = session(Some("name"));
        let (_live, mut end, _) = assign(&session, 1);
        assert!(session.is_called("name") && !session.is_called("nam") && nameless.broke(&link));
        assert!(session.broke(&first));
        assert!(!session.end_if_broken_since(session.breaks() - 1), "it broke again since");
        assert!(end.try_recv().is_err());
        assert!(session.end_if_broken_since(session.breaks()));
        assert_eq!(end.try_recv(), Ok(End::Lost));
        assert!(!session.resume(&again, &[AttemptId::from_i64(1)], NOW, welcome));
        assert_eq!(session.unreserved("llm-chat"), 0);
    }

    /// Random cuts and late connections: what an attempt gave is what was said of it, each word once, and each ends once.
    #[test]
    fn nothing_is_lost_or_taken_twice() {
        for seed in 0..50 {
            let random = SeededRandom::new(seed);
            let one_in = |number: u8| {
                let mut byte = [0];
                random.fill(&mut byte);
                byte[0] % number == 0
            };
            let (session, mut link, mut outbox) = session(Some("name"));
            let mut jobs: Vec<_> = (1..=5).map(|number| assign(&session, number)).collect();
            let (mut log, mut sent, mut seqs) = (Vec::new(), 0, [0_u64; 5]);
            while seqs.iter().any(|&seq| seq < 20) || sent < log.len() {
                let index = seqs.iter().position(|&seq| seq < 20 && one_in(2));
                if let Some(index) = index {
                    seqs[index] += 1;
                    log.push((index, seqs[index]));
                }
                // The link carries some of what was said, and breaks.
                while sent < log.len() && !one_in(4) {
                    let (index, seq) = log[sent];
                    let attempt = AttemptId::from_i64(i64::try_from(index).unwrap() + 1);
                    let said = if seq == 20 { done() } else { said(seq) };
                    assert_eq!(session.hear(&link, attempt, said, NOW), Heard::Fine);
                    sent += 1;
                }
                if one_in(6) {
                    if one_in(2) {
                        assert!(session.broke(&link));
                    }
                    let old = link;
                    (link, outbox) = Link::new();
                    let all: Vec<AttemptId> = (1..=5).map(AttemptId::from_i64).collect();
                    assert!(session.resume(&link, &all, NOW, welcome));
                    let Ok(ToIsland::Received { messages, .. }) = outbox.try_recv() else { panic!() };
                    assert_eq!(usize::try_from(messages).unwrap(), sent, "seed {seed}");
                    assert_eq!(session.hear(&old, all[0], said(99), NOW), Heard::Stale);
                }
            }
            let expected: String = (1..20).map(|seq| format!("{seq},")).collect();
            for (live, end, _) in &mut jobs {
                assert_eq!(live.output().unwrap(), expected, "seed {seed}");
                assert!(matches!(end.try_recv(), Ok(End::Done { .. })));
            }
            assert_eq!((session.running(), outbox.is_closed()), (0, false));
        }
    }
}
