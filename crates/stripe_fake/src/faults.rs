//! Faults: what can go wrong between a client and Stripe.

/// What goes wrong with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// An error with this HTTP status, and nothing done: 500, 503, 429, 409 …
    Status(u16),
    /// The connection ends before anything is done.
    HangUp,
    /// Everything is done, and the connection ends before the answer: it is lost.
    HangUpAfter,
    /// Everything is done and answered this many milliseconds late.
    Slow(u64),
    /// Nothing is done, and the answer is 200 with something that is not JSON.
    Garbage,
    /// Everything is done, and the answer is 200 with something that is not JSON.
    GarbageAfter,
}

#[derive(Debug)]
struct Planned {
    left: u32,
    fault: Fault,
    prefix: String,
}

/// What is going to go wrong.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    planned: Vec<Planned>,
    pub(crate) down: bool,
}

impl Faults {
    pub(crate) fn plan(&mut self, count: u32, fault: Fault, prefix: &str) {
        self.planned.push(Planned { left: count, fault, prefix: prefix.to_owned() });
    }

    pub(crate) fn clear(&mut self) {
        self.planned.clear();
    }

    /// What goes wrong with a request to `path`; counted.
    pub(crate) fn take(&mut self, path: &str) -> Option<Fault> {
        self.planned.retain(|planned| planned.left > 0);
        let planned = self.planned.iter_mut().find(|planned| path.starts_with(&planned.prefix))?;
        planned.left -= 1;
        Some(planned.fault)
    }
}
