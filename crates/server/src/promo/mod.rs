//! Promo codes: credits as a present, for whoever has the code.
//!
//! Guarantees: limits are checked and the credits granted in one transaction, so a code with k uses is granted k times,
//! however many ask at once; the same attempt redeems once; a redemption is a grant with the same id, so everything that
//! counts grants counts it. Wrong codes are counted, so that nobody tries many.

pub(crate) mod store;

use db::{DbError, Tx};
use ledger::{Command, TransferKind, system};
use types::id::{GrantId, Id, TransferId};
use types::money::MicroCredits;
use types::time::{HOUR_MS, Timestamp};

use crate::accounts::User;
use crate::app::App;
use crate::credits;

/// Wrong codes one user may try in an hour.
pub const MISSES: i64 = 10;
/// Longest code.
const MAX_CODE: usize = 40;
/// Longest key that tells one click from another.
const MAX_ATTEMPT: usize = 255;

/// A code that is worth credits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Promo {
    /// In upper case.
    pub code: String,
    /// How much one use is worth.
    pub credits: MicroCredits,
    /// How often it can be used.
    pub total_limit: i64,
    /// How often one user can use it.
    pub per_user_limit: i64,
    /// How often it was used.
    pub used: i64,
    /// Until when, if not for ever.
    pub expires_at: Option<Timestamp>,
    /// Why, for the operator.
    pub note: String,
    /// Since when.
    pub created_at: Timestamp,
    /// The operator does not want it used any more.
    pub disabled: bool,
}

/// Why a code is not redeemed or made.
#[derive(Debug, thiserror::Error)]
pub enum PromoError {
    /// There is none, or none any more: which of both is not told to who tries codes.
    #[error("is not a code that can be redeemed; check how it is written")]
    Unknown,
    /// This user has used it as often as they may.
    #[error("was redeemed by you already")]
    Used,
    /// All of its uses are gone.
    #[error("has been used up")]
    UsedUp,
    /// It has ended.
    #[error("has expired")]
    Expired,
    /// Too many wrong ones.
    #[error("too many wrong codes; wait an hour and try again")]
    TooMany,
    /// The key was used for another code.
    #[error("this key was used for another code")]
    KeyTaken,
    /// What the operator wants makes no sense.
    #[error("{0}")]
    Unfit(String),
    /// The database.
    #[error(transparent)]
    Db(#[from] DbError),
}

/// A code as it is stored: in upper case, without spaces around.
#[must_use]
pub fn normalise(code: &str) -> Option<String> {
    let code = code.trim().to_ascii_uppercase();
    let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    (!code.is_empty() && code.len() <= MAX_CODE && code.chars().all(fine)).then_some(code)
}

/// Makes a code.
///
/// # Errors
/// [`PromoError::Unfit`] says what is wrong.
pub async fn create(app: &App, mut promo: Promo) -> Result<Promo, PromoError> {
    let unfit = |text: &str| PromoError::Unfit(text.to_owned());
    promo.code =
        normalise(&promo.code).ok_or_else(|| unfit("--code must have 1 to 40 letters, digits, - or _"))?;
    if !promo.credits.is_positive() {
        return Err(unfit("--credits must be above 0"));
    }
    if promo.total_limit < 1 || promo.per_user_limit < 1 || promo.per_user_limit > promo.total_limit {
        return Err(unfit("--uses and --per-user must be at least 1, and --per-user at most --uses"));
    }
    if promo.expires_at.is_some_and(|at| at <= promo.created_at) {
        return Err(unfit("--expires must be in the future"));
    }
    let new = promo.clone();
    let made = app.db.tx("create_promo", async move |tx| store::insert(tx, &new).await).await?;
    if made { Ok(promo) } else { Err(unfit("there is a code of this name already; choose another")) }
}

/// Redeems a code; answers how many credits it was worth. The same `attempt` redeems once.
///
/// # Errors
/// A [`PromoError`]; nothing is granted then.
pub async fn redeem(app: &App, user: &User, code: &str, attempt: &str) -> Result<MicroCredits, PromoError> {
    if attempt.is_empty() || attempt.len() > MAX_ATTEMPT {
        return Err(PromoError::Unfit("the attempt must have 1 to 255 characters".to_owned()));
    }
    let now = app.clock.now();
    let (id, since): (GrantId, _) = (app.ids.next(now), now.plus_millis(-HOUR_MS));
    let (code, attempt, user) = (normalise(code), attempt.to_owned(), user.clone());
    let done = app
        .db
        .tx("redeem_promo", async move |tx| {
            let owner = user.id;
            if store::misses_since(tx, owner, since).await? >= MISSES {
                return Ok(Err(PromoError::TooMany));
            }
            match grant(tx, (id, &user), code.as_deref(), &attempt, now).await? {
                Err(PromoError::Unknown) => {
                    // Kept with the refusal: that it was wrong is what is counted.
                    store::miss(tx, id, owner, now, since).await?;
                    Ok::<_, DbError>(Err(PromoError::Unknown))
                }
                answer => Ok(answer),
            }
        })
        .await?;
    let (amount, balances) = done?;
    app.live.balances(&balances);
    Ok(amount)
}

type Granted = Result<(MicroCredits, Vec<ledger::Balance>), PromoError>;

async fn grant(
    tx: &mut Tx<'_>,
    (id, user): (GrantId, &User),
    code: Option<&str>,
    attempt: &str,
    now: Timestamp,
) -> Result<Granted, DbError> {
    let Some(code) = code else { return Ok(Err(PromoError::Unknown)) };
    let Some(promo) = store::find(tx, code).await? else { return Ok(Err(PromoError::Unknown)) };
    match store::by_attempt(tx, user.id, attempt).await? {
        Some(redeemed) if redeemed == code => return Ok(Ok((promo.credits, Vec::new()))),
        Some(_) => return Ok(Err(PromoError::KeyTaken)),
        None => {}
    }
    let used = store::used_by(tx, code, user.id).await?;
    if promo.disabled {
        return Ok(Err(PromoError::Unknown));
    }
    if used >= promo.per_user_limit {
        return Ok(Err(PromoError::Used));
    }
    if promo.expires_at.is_some_and(|at| at <= now) {
        return Ok(Err(PromoError::Expired));
    }
    if promo.used >= promo.total_limit {
        return Ok(Err(PromoError::UsedUp));
    }
    let note = format!("Promo {code}");
    store::redeem(tx, id, (code, user.id, used + 1), attempt, now).await?;
    credits::store::insert_grant(tx, id, user.id, promo.credits, &note, now).await?;
    let command = Command::Transfer {
        id: TransferId::from_i64(id.get()),
        kind: TransferKind::Grant,
        from: system::grants(),
        to: user.wallet,
        amount: promo.credits,
        note: Some(note),
    };
    let submitted = ledger::submit(tx, &[command], now).await?;
    for outcome in submitted.outcomes {
        outcome.map_err(|refusal| DbError::Other(format!("a promo code was refused: {refusal}")))?;
    }
    Ok(Ok((promo.credits, submitted.balances)))
}

/// All codes, newest first.
///
/// # Errors
/// A [`DbError`].
pub async fn list(app: &App) -> Result<Vec<Promo>, DbError> {
    app.db.read("promos", async |tx| store::list(tx).await).await
}

/// Lets nobody use a code any more.
///
/// # Errors
/// [`PromoError::Unknown`] if there is none.
pub async fn disable(app: &App, code: &str) -> Result<(), PromoError> {
    let code = normalise(code).ok_or(PromoError::Unknown)?;
    let found = app.db.tx("disable_promo", async move |tx| store::disable(tx, &code).await).await?;
    if found { Ok(()) } else { Err(PromoError::Unknown) }
}
