//! What a command must not be written for: who may not spend, what was asked before, which jobs are over. All of it is asked
//! in the transaction that would write it, at once.

use std::collections::{HashMap, HashSet};

use db::{DbError, Question, Tx};
use types::id::{AccountId, ApiKeyId, JobId, UserId};
use types::time::Timestamp;

use super::command::{Command, Open};
use super::commit::{Decided, Done};
use super::{JobError, store};
use crate::nodes::Node;
use crate::{accounts, identity};

/// I11, asked in the transaction that spends: verified, and with a key that still is one.
pub(super) struct Spenders {
    /// Who spends, with which key, by each command.
    of: Vec<Option<(UserId, Option<ApiKeyId>)>>,
    verified: Question<HashSet<UserId>>,
    revoked: Question<HashSet<ApiKeyId>>,
}

impl Spenders {
    pub(super) async fn ask(tx: &mut Tx<'_>, commands: &[&Command], now: Timestamp) -> Result<Self, DbError> {
        let of: Vec<_> = commands.iter().map(|command| command.spender()).collect();
        let users: HashSet<UserId> = of.iter().flatten().map(|(user, _)| *user).collect();
        let keys: HashSet<ApiKeyId> = of.iter().flatten().filter_map(|(_, key)| *key).collect();
        let verified = identity::store::ask_verified(tx, &Vec::from_iter(users)).await?;
        let revoked = accounts::store::ask_revoked(tx, &Vec::from_iter(keys), now).await?;
        Ok(Self { of, verified, revoked })
    }

    pub(super) async fn refuse(self, tx: &mut Tx<'_>, decided: &mut Decided) -> Result<(), DbError> {
        let verified = tx.answer(self.verified).await?;
        let revoked = tx.answer(self.revoked).await?;
        for (decided, spender) in decided.iter_mut().zip(self.of).filter(|(decided, _)| decided.is_none()) {
            let Some((user, key)) = spender else { continue };
            if key.is_some_and(|key| revoked.contains(&key)) {
                *decided = Some(Err(JobError::KeyRevoked));
            } else if !verified.contains(&user) {
                *decided = Some(Err(JobError::Unverified));
            }
        }
        Ok(())
    }
}

/// The fingerprint of an earlier request, and the job it made.
type Before = Option<(String, Option<JobId>)>;

/// I9: a request that was taken before gets its first job; another request with its key is refused.
pub(super) struct Repeats<'a> {
    /// Command, user, key, fingerprint and job of each request that may be repeated.
    requests: Vec<(usize, UserId, &'a str, &'a str, JobId)>,
    before: Question<Vec<Before>>,
}

impl<'a> Repeats<'a> {
    pub(super) async fn ask(tx: &mut Tx<'_>, commands: &[&'a Command]) -> Result<Self, DbError> {
        let of = |(index, command): (usize, &&'a Command)| match command {
            Command::Open(open) => {
                let (claim, _) = open.idempotency.as_ref()?;
                Some((index, open.job.user, claim.key.as_str(), claim.hash.as_str(), open.job.id))
            }
            _ => None,
        };
        let requests: Vec<_> = commands.iter().enumerate().filter_map(of).collect();
        let keys: Vec<(UserId, &str)> = requests.iter().map(|(_, user, key, ..)| (*user, *key)).collect();
        let before = store::ask_repeated(tx, &keys).await?;
        Ok(Self { requests, before })
    }

    pub(super) async fn find(self, tx: &mut Tx<'_>, decided: &mut Decided) -> Result<(), DbError> {
        let before = tx.answer(self.before).await?;
        let mut first: HashMap<(UserId, &str), (String, Option<JobId>)> = HashMap::new();
        for ((index, user, key, hash, job), before) in self.requests.into_iter().zip(before) {
            if let Some(before) = before {
                first.insert((user, key), before);
            }
            if decided[index].is_some() {
                continue;
            }
            match first.get(&(user, key)) {
                Some((first_hash, Some(job))) if first_hash == hash => {
                    decided[index] = Some(Ok(Done::Replayed(*job)));
                }
                Some(_) => decided[index] = Some(Err(JobError::KeyTaken)),
                None => drop(first.insert((user, key), (hash.to_owned(), Some(job)))),
            }
        }
        Ok(())
    }
}

/// A repeat of a request that was refused in this very batch gets the refusal: there is no job to answer with.
pub(super) fn refuse_repeats_of_refused(commands: &[&Command], decided: &mut Decided) {
    let refused: HashMap<JobId, JobError> = commands
        .iter()
        .zip(decided.iter())
        .filter_map(|(command, decided)| match (command, decided) {
            (Command::Open(open), Some(Err(error))) => Some((open.job.id, error.clone())),
            _ => None,
        })
        .collect();
    for decided in decided {
        if let Some(Ok(Done::Replayed(first))) = decided
            && let Some(error) = refused.get(first)
        {
            *decided = Some(Err(error.clone()));
        }
    }
}

/// A job that has ended, or is another coordinator's, does not begin or end here, whatever this process believes (I3). Of
/// two commands about one job in a batch only the first can be right.
pub(super) struct Openness {
    /// The commands that are about a job that is there.
    of: Vec<(usize, JobId)>,
    open: Question<Vec<bool>>,
}

impl Openness {
    pub(super) async fn ask(tx: &mut Tx<'_>, commands: &[&Command], node: Node) -> Result<Self, DbError> {
        let about = commands.iter().enumerate().filter(|(_, command)| !matches!(command, Command::Open(_)));
        let of: Vec<(usize, JobId)> = about.map(|(index, command)| (index, command.job())).collect();
        let ids: Vec<JobId> = of.iter().map(|(_, job)| *job).collect();
        let open = store::ask_still_open(tx, node, &ids).await?;
        Ok(Self { of, open })
    }

    pub(super) async fn refuse_ended(self, tx: &mut Tx<'_>, decided: &mut Decided) -> Result<(), DbError> {
        let open = tx.answer(self.open).await?;
        let mut seen = HashSet::new();
        for ((index, job), open) in self.of.into_iter().zip(open) {
            if decided[index].is_none() && (!seen.insert(job) || !open) {
                decided[index] = Some(Err(JobError::Ended));
            }
        }
        Ok(())
    }
}

/// A job that would wait is refused when there are not even credits for the lowest price it could start at.
pub(super) async fn refuse_waiting_paupers(
    tx: &mut Tx<'_>,
    commands: &[&Command],
    decided: &mut Decided,
) -> Result<(), DbError> {
    let waiting: Vec<(usize, &Open)> = commands
        .iter()
        .enumerate()
        .filter_map(|(index, command)| match command {
            Command::Open(open) if open.attempt.is_none() && decided[index].is_none() => {
                Some((index, &**open))
            }
            _ => None,
        })
        .collect();
    if waiting.is_empty() {
        return Ok(());
    }
    let wallets: Vec<AccountId> = waiting.iter().map(|(_, open)| open.wallet).collect();
    let balances = ledger::balances(tx, &wallets).await?;
    for ((index, open), balance) in waiting.into_iter().zip(balances) {
        let decided = &mut decided[index];
        let Some(balance) = balance else {
            *decided = Some(Err(JobError::Internal));
            continue;
        };
        let (required, available) = (open.least, balance.available());
        if balance.frozen {
            *decided = Some(Err(JobError::Frozen));
        } else if balance.debt.is_positive() {
            *decided = Some(Err(JobError::InDebt { owed: balance.debt }));
        } else if available < required {
            *decided = Some(Err(JobError::InsufficientCredits { required, available, reason: "balance" }));
        }
    }
    Ok(())
}
