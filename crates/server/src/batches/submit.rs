//! A batch comes in: check all of it, write it, and let it run.

use std::sync::Arc;

use db::Tx;
use market::Order;
use serde_json::value::RawValue;
use types::id::JobId;
use types::money::MicroCredits;
use types::time::Timestamp;

use super::{Batch, Child, ChildState, FailMode, MAX_INPUTS, Merge, State, drive, store};
use crate::accounts::SharedUser;
use crate::accounts::api_keys::ApiKey;
use crate::app::App;
use crate::idempotency::Once;
use crate::jobs::submit::bid_of;
use crate::jobs::{JobError, Usage, input};
use crate::marketplace::Market;
use crate::{accounts, identity};

/// What a consumer wants.
#[derive(Debug)]
pub struct Submission {
    /// Who.
    pub user: SharedUser,
    /// With which key.
    pub key: Arc<ApiKey>,
    /// Which Cargo.
    pub market: Arc<Market>,
    /// What is asked.
    pub inputs: Vec<Box<RawValue>>,
    /// How outputs are put together.
    pub merge: Merge,
    /// What a failure means for the others.
    pub fail_mode: FailMode,
    /// How many inputs are worked on at once.
    pub parallelism: usize,
    /// The most each input may cost, if the consumer said so.
    pub bid: Option<MicroCredits>,
    /// Where Islands must stand.
    pub region: Option<String>,
    /// The model they must name.
    pub model: Option<String>,
    /// How far they must be trusted.
    pub min_trust: u8,
    /// Breaks ties between jobs of the same user.
    pub priority: u8,
}

/// A batch that was taken, with its inputs.
pub type Accepted = (Batch, Vec<Child>);

/// Takes a batch. It is durable when this answers; what it will cost is not held, but a wallet that could not pay for
/// any input is refused.
///
/// # Errors
/// A [`JobError`]; then nothing was written (with [`JobError::InDoubt`] that is not known).
pub async fn submit(
    app: &Arc<App>,
    submission: Submission,
    once: &Once<Accepted>,
) -> Result<Accepted, JobError> {
    if submission.inputs.is_empty() || submission.inputs.len() > MAX_INPUTS {
        return Err(invalid("inputs", format!("must be a list of 1 to {MAX_INPUTS} inputs")));
    }
    let now = app.clock.now();
    let id: JobId = app.ids.next(now);
    let mut least = None;
    let mut inputs: Vec<(JobId, Box<str>)> = Vec::with_capacity(submission.inputs.len());
    for (position, asked) in submission.inputs.iter().enumerate() {
        let checked = input::check(&submission.market.workload, asked);
        let checked = checked.map_err(|error| at(position, error))?;
        let lowest = lowest_price(&submission, id, &checked, now);
        least = Some(least.map_or(lowest, |least: MicroCredits| least.min(lowest)));
        inputs.push((app.ids.next(now), checked.json.get().into()));
    }
    let owns = app.islands.owns_any(submission.user.id);
    let least = least.filter(|_| !owns).unwrap_or_default();
    let batch = batch_of(app, &submission, id, &inputs, now);
    let limits = &app.config.limits;
    let admission = Admission {
        batch: batch.clone(),
        inputs,
        wallet: submission.user.wallet,
        least,
        most_open: limits.open_batches_per_user,
        most_bytes: limits.open_input_bytes_per_user,
    };
    let accepted = once.tx(app, "open_batch", async move |tx| admission.write(tx).await).await?;
    drive::start(app, id);
    Ok(accepted)
}

/// What is decided in the transaction that writes a batch.
struct Admission {
    batch: Batch,
    inputs: Vec<(JobId, Box<str>)>,
    wallet: types::id::AccountId,
    least: MicroCredits,
    most_open: usize,
    most_bytes: usize,
}

impl Admission {
    async fn write(&self, tx: &mut Tx<'_>) -> Result<Accepted, JobError> {
        self.check_spender(tx).await?;
        let (open, bytes) = store::open_of_user(tx, self.batch.user).await?;
        let (open, bytes) =
            (usize::try_from(open).unwrap_or(usize::MAX), usize::try_from(bytes).unwrap_or(usize::MAX));
        if open >= self.most_open || bytes.saturating_add(self.batch.input_bytes) > self.most_bytes {
            return Err(JobError::TooManyBatches);
        }
        store::insert(tx, &self.batch, &self.inputs).await?;
        let children = self.inputs.iter().enumerate().map(|(position, (job, _))| waiting(position, *job));
        Ok((self.batch.clone(), children.collect()))
    }

    /// I11, as for each job later; here so that the refusal comes at once.
    async fn check_spender(&self, tx: &mut Tx<'_>) -> Result<(), JobError> {
        let asked = identity::store::ask_verified(tx, &[self.batch.user]).await?;
        if !tx.answer(asked).await?.contains(&self.batch.user) {
            return Err(JobError::Unverified);
        }
        if let Some(key) = self.batch.key
            && accounts::store::key_of(tx, self.batch.user, key).await?.is_none()
        {
            return Err(JobError::KeyRevoked);
        }
        let balance = ledger::balances(tx, &[self.wallet]).await?.pop().flatten();
        let balance = balance.ok_or(JobError::Internal)?;
        let (required, available) = (self.least, balance.available());
        if balance.frozen {
            return Err(JobError::Frozen);
        }
        if balance.debt.is_positive() {
            return Err(JobError::InDebt { owed: balance.debt });
        }
        if available < required {
            return Err(JobError::InsufficientCredits { required, available, reason: "balance" });
        }
        Ok(())
    }
}

fn waiting(position: usize, job: JobId) -> Child {
    Child {
        position,
        job,
        state: ChildState::Pending,
        error: None,
        island: None,
        bid: None,
        charge: MicroCredits::ZERO,
        units: types::units::Units::ZERO,
        usage: Usage::default(),
        started_at: None,
    }
}

/// The lowest price this input could start at: the lowest ask within its bid, or, while there is none, anything at all.
fn lowest_price(submission: &Submission, id: JobId, input: &input::Input, now: Timestamp) -> MicroCredits {
    let workload = &submission.market.workload;
    let most = workload.measure.most(&input.request);
    let (_, unit_bid, _) = bid_of((workload, most), &submission.user, submission.bid);
    let order = Order {
        job: id,
        user: submission.user.id,
        bid: unit_bid,
        excluded: Vec::new(),
        region: submission.region.clone(),
        model: submission.model.clone(),
        min_trust: submission.min_trust,
        deadline: now,
        priority: submission.priority,
        may_wait: false,
    };
    let within = submission.market.best_eligible(&order).filter(|ask| *ask <= unit_bid);
    within.and_then(|ask| most.cost(ask)).unwrap_or(MicroCredits::new(1))
}

fn batch_of(
    app: &App,
    submission: &Submission,
    id: JobId,
    inputs: &[(JobId, Box<str>)],
    now: Timestamp,
) -> Batch {
    Batch {
        id,
        node: app.node.number,
        user: submission.user.id,
        key: Some(submission.key.id),
        workload: submission.market.workload.id,
        state: State::Running,
        merge: submission.merge,
        fail_mode: submission.fail_mode,
        parallelism: submission.parallelism,
        bid: submission.bid,
        region: submission.region.clone(),
        model: submission.model.clone(),
        min_trust: submission.min_trust,
        priority: submission.priority,
        size: inputs.len(),
        input_bytes: inputs.iter().map(|(_, input)| input.len()).sum(),
        created_at: now,
        ended_at: None,
        error: None,
        cancel_wanted: false,
    }
}

/// What is wrong with an input, with the name it has in a batch.
fn at(position: usize, error: JobError) -> JobError {
    match error {
        JobError::Invalid { field, message } => {
            let inside = field.strip_prefix("input").unwrap_or(&field);
            invalid(&format!("inputs[{position}]{inside}"), message)
        }
        error => error,
    }
}

fn invalid(field: &str, message: String) -> JobError {
    JobError::Invalid { field: field.to_owned(), message }
}
