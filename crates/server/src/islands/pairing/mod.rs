//! Pairing: a machine shows a code, its owner enters it on `/pair`, and the machine is given its token.
//!
//! Guarantees: a code is good for ten minutes and for one Island; only whoever asked for it gets the token, which is
//! stored nowhere: it is derived from the secret that the machine polls with, so an answer that was lost can be given again until
//! the Island has connected; wrong codes are counted, so that nobody finds another's machine by trying.

pub(crate) mod store;

use db::{DbError, Tx};
use types::id::{IslandId, PairingId};
use types::island_protocol::Capabilities;
use types::rng::Random;
use types::time::{HOUR_MS, MINUTE_MS, Timestamp};

use super::{IslandError, MAX_ISLANDS, MAX_NAME, check_name, shorten, store as islands};
use crate::accounts::User;
use crate::app::App;
use crate::idempotency::Once;
use crate::secrets;

/// How long a code is good, and how long a token waits for its machine.
pub const CODE_MS: i64 = 10 * MINUTE_MS;
/// How long an ended pairing is still known, so that its machine is told.
const KEPT_MS: i64 = HOUR_MS;
/// How often a machine should ask, in seconds.
pub const INTERVAL_SECS: u32 = 2;
/// Codes that may be open for one address.
const OPEN_PER_ADDRESS: i64 = 10;
/// Codes that may be open in all.
const OPEN_IN_ALL: i64 = 10_000;
/// Wrong codes one user may enter in an hour.
pub const MISSES: i64 = 10;
/// Letters in a code. Of 31⁶ codes a guess finds one of 10,000 open ones once in 88,000 times.
const LETTERS: usize = 6;
/// No 0 and O, no 1, I and L.
const ALPHABET: &[u8; 31] = b"23456789ABCDEFGHJKMNPQRSTUVWXYZ";

/// A machine that asks.
#[derive(Clone, Debug)]
pub struct Machine {
    /// What it would be called.
    pub name: String,
    /// What it runs.
    pub agent_version: String,
    /// What it is.
    pub capabilities: Capabilities,
    /// Where it asked from.
    pub address: String,
}

/// What a machine is told.
#[derive(Clone, Debug)]
pub struct Begun {
    /// To be shown to its owner.
    pub code: String,
    /// To be kept by the machine.
    pub poll_token: String,
}

/// A pairing as stored.
#[derive(Clone, Debug)]
pub struct Pairing {
    /// Which one.
    pub id: PairingId,
    /// The machine.
    pub machine: Machine,
    /// How far it is.
    pub state: State,
    /// The Island it became.
    pub island: Option<IslandId>,
    /// Until when it is good.
    pub expires_at: Timestamp,
}

/// How far a pairing is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Nobody has entered the code.
    Waiting,
    /// Its owner said yes.
    Confirmed,
    /// Somebody said no.
    Refused,
}

/// What a machine that polls is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Polled {
    /// Nothing yet.
    Waiting,
    /// It is an Island now.
    Paired {
        /// What it connects with.
        token: String,
        /// Which one.
        island: IslandId,
        /// What it is called.
        name: String,
    },
    /// The code was not entered in time, or the token was not fetched in time, or there is no such pairing.
    Expired,
    /// Somebody said no.
    Refused,
}

/// Why nothing is paired.
#[derive(Debug, thiserror::Error)]
pub enum PairingError {
    /// Too many codes are open.
    #[error("too many codes are open; wait ten minutes and try again")]
    TooManyOpen,
    /// There is no such code, or none any more: which of both is not told to who tries codes.
    #[error(
        "is not a code that is shown on any machine now; check how it is written, or begin again on the machine"
    )]
    Unknown,
    /// Too many wrong ones.
    #[error("too many wrong codes; wait an hour and try again")]
    TooManyMisses,
    /// The Island cannot be made.
    #[error(transparent)]
    Island(#[from] IslandError),
    /// The database.
    #[error(transparent)]
    Db(#[from] DbError),
}

impl State {
    /// As stored.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Confirmed => "confirmed",
            Self::Refused => "refused",
        }
    }

    /// From what is stored.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Waiting, Self::Confirmed, Self::Refused].into_iter().find(|state| state.name() == name)
    }
}

impl Machine {
    /// What a machine says of itself, cut to what is shown and stored.
    #[must_use]
    pub fn new(name: &str, agent_version: &str, capabilities: Capabilities, address: String) -> Self {
        let plain = |c: char| if c.is_ascii_alphanumeric() || " .-_".contains(c) { c } else { '-' };
        let name: String = name.trim().chars().map(plain).take(MAX_NAME).collect();
        let named = name.chars().any(|c| c.is_ascii_alphanumeric());
        let text = |text: Option<String>| text.map(|text| shorten(&text, 100));
        Self {
            name: if named { name.trim().to_owned() } else { "Island".to_owned() },
            agent_version: shorten(agent_version, 32),
            capabilities: Capabilities {
                gpu_model: text(capabilities.gpu_model),
                region: text(capabilities.region),
                ..capabilities
            },
            address,
        }
    }
}

/// A code as it is shown: `A3X9K2`.
fn new_code(random: &dyn Random) -> String {
    let mut code = String::with_capacity(LETTERS);
    while code.len() < LETTERS {
        let mut bytes = [0; 16];
        random.fill(&mut bytes);
        // Numbers beyond the alphabet are thrown away, so that every letter is as likely.
        let letters = bytes.iter().filter_map(|byte| ALPHABET.get(usize::from(byte & 31)));
        code.extend(letters.map(|&letter| char::from(letter)).take(LETTERS - code.len()));
    }
    code
}

/// A code as somebody wrote it, the way it is shown; nothing if it cannot be one.
#[must_use]
pub fn normalise(code: &str) -> Option<String> {
    let plain = |c: &char| !matches!(c, ' ' | '-' | '\u{a0}');
    let code: String = code.chars().filter(plain).take(LETTERS + 1).collect::<String>().to_ascii_uppercase();
    let fine = code.len() == LETTERS && code.bytes().all(|byte| ALPHABET.contains(&byte));
    fine.then_some(code)
}

/// Opens a pairing for a machine.
///
/// # Errors
/// [`PairingError::TooManyOpen`], or the database.
pub async fn begin(app: &App, machine: Machine, now: Timestamp) -> Result<Begun, PairingError> {
    let begun = Begun { code: new_code(&*app.random), poll_token: secrets::new(&*app.random, "pt_") };
    let pairing = Pairing {
        id: app.ids.next(now),
        machine,
        state: State::Waiting,
        island: None,
        expires_at: now.plus_millis(CODE_MS),
    };
    let (code, poll) = (secrets::hash(&begun.code), secrets::hash(&begun.poll_token));
    app.db
        .tx("begin_pairing", async move |tx| {
            store::forget(tx, now.plus_millis(-KEPT_MS)).await?;
            let (here, all) = store::open(tx, &pairing.machine.address, now).await?;
            // A code that is in use already is as good as none left.
            let taken = here >= OPEN_PER_ADDRESS || all >= OPEN_IN_ALL;
            if taken || !store::insert(tx, &pairing, (&code, &poll), now).await? {
                return Err(PairingError::TooManyOpen);
            }
            Ok(())
        })
        .await?;
    Ok(begun)
}

/// A machine asks how far its pairing is.
///
/// # Errors
/// A [`DbError`].
pub async fn poll(app: &App, poll_token: &str, now: Timestamp) -> Result<Polled, DbError> {
    let hash = secrets::hash(poll_token);
    let found = app.db.read("poll_pairing", async move |tx| store::by_poll(tx, &hash).await).await?;
    let Some(pairing) = found else { return Ok(Polled::Expired) };
    match (pairing.state, pairing.island) {
        (State::Refused, _) => Ok(Polled::Refused),
        _ if pairing.expires_at <= now => Ok(Polled::Expired),
        (State::Waiting, _) | (_, None) => Ok(Polled::Waiting),
        (State::Confirmed, Some(island)) => give(app, pairing.id, island, poll_token, now).await,
    }
}

/// Gives the machine its token. The first time, that becomes the Island's.
async fn give(
    app: &App,
    pairing: PairingId,
    island: IslandId,
    poll_token: &str,
    now: Timestamp,
) -> Result<Polled, DbError> {
    let token = token_of(pairing, poll_token);
    let (hash, prefix) = (secrets::hash(&token), token.chars().take(8).collect::<String>());
    let name = app
        .db
        .tx("give_island_token", async move |tx| store::give(tx, island, (&hash, &prefix), now).await)
        .await?;
    Ok(name.map_or(Polled::Expired, |name| Polled::Paired { token, island, name }))
}

fn token_of(pairing: PairingId, poll_token: &str) -> String {
    let signed = secrets::sign(poll_token, format!("the token of {pairing}").as_bytes());
    signed.chars().take(40).fold("it_".to_owned(), |mut token, letter| {
        token.push(letter);
        token
    })
}

/// The machine that shows a code.
///
/// # Errors
/// [`PairingError::Unknown`], which is counted, or [`PairingError::TooManyMisses`], or the database.
pub async fn look(app: &App, user: &User, code: &str, now: Timestamp) -> Result<Pairing, PairingError> {
    let (owner, code, id) = (user.id, normalise(code), app.ids.next(now));
    app.db.tx("look_at_pairing", async move |tx| find(tx, (id, owner), code.as_deref(), now).await).await?
}

/// What waits under a code. A miss is written and kept, so it is no error of the transaction.
type Found = Result<Pairing, PairingError>;

async fn find(
    tx: &mut Tx<'_>,
    (miss, owner): (PairingId, types::id::UserId),
    code: Option<&str>,
    now: Timestamp,
) -> Result<Found, DbError> {
    let since = now.plus_millis(-HOUR_MS);
    if store::misses_since(tx, owner, since).await? >= MISSES {
        return Ok(Err(PairingError::TooManyMisses));
    }
    let found = match code {
        Some(code) => store::by_code(tx, &secrets::hash(code), now).await?,
        None => None,
    };
    if let Some(pairing) = found {
        return Ok(Ok(pairing));
    }
    store::miss(tx, miss, owner, now, since).await?;
    Ok(Err(PairingError::Unknown))
}

/// The owner says yes: the machine becomes an Island of theirs, under this name.
///
/// # Errors
/// A [`PairingError`]; nothing is made then.
pub async fn confirm(
    app: &App,
    user: &User,
    code: &str,
    name: &str,
    now: Timestamp,
    once: &Once<(IslandId, String)>,
) -> Result<(IslandId, String), PairingError> {
    let name = check_name(name)?;
    let (owner, code) = (user.id, normalise(code));
    let (miss, island): (PairingId, IslandId) = (app.ids.next(now), app.ids.next(now));
    // Nobody knows what this is the hash of, so nobody connects before the machine has its token.
    let nobody = secrets::hash(&secrets::new(&*app.random, ""));
    let (called, writes) = (name.clone(), once.clone());
    app.db
        .tx("confirm_pairing", async move |tx| {
            writes.first(tx).await?;
            let pairing = match find(tx, (miss, owner), code.as_deref(), now).await? {
                Ok(pairing) => pairing,
                Err(error) => return Ok(Err(error)),
            };
            if islands::islands_of(tx, owner).await?.len() >= MAX_ISLANDS {
                return Ok(Err(IslandError::TooMany.into()));
            }
            islands::insert(tx, (island, owner), &called, (&nobody, ""), now, false).await?;
            store::decide(tx, pairing.id, State::Confirmed, Some(island), now.plus_millis(CODE_MS)).await?;
            writes.write(tx, &(island, called.clone()), now).await?;
            Ok::<_, DbError>(Ok(()))
        })
        .await??;
    once.note_written();
    Ok((island, name))
}

/// The user says no: the machine is told, and the code is worth nothing any more.
///
/// # Errors
/// Those of [`look`].
pub async fn refuse(
    app: &App,
    user: &User,
    code: &str,
    now: Timestamp,
    once: &Once<()>,
) -> Result<(), PairingError> {
    let pairing = look(app, user, code, now).await?;
    let (id, until) = (pairing.id, pairing.expires_at);
    let refused = once
        .tx(app, "refuse_pairing", async move |tx| store::decide(tx, id, State::Refused, None, until).await);
    Ok(refused.await?)
}

#[cfg(test)]
mod tests {
    use types::rng::SeededRandom;

    use super::*;

    #[test]
    fn codes_have_no_look_alikes_and_are_read_as_people_write_them() {
        let random = SeededRandom::new(5);
        let codes: Vec<String> = (0..200).map(|_| new_code(&random)).collect();
        for code in &codes {
            assert!(code.len() == 6 && !code.contains(['0', 'O', '1', 'I', 'L']), "{code}");
            assert_eq!(
                normalise(&format!(" {}-{} ", &code[..3], &code[3..]).to_lowercase()),
                Some(code.clone())
            );
        }
        for letter in ALPHABET {
            assert!(codes.iter().any(|code| code.contains(char::from(*letter))));
        }
        for bad in ["", "ABCDE", "ABCDEFG", "ABCDE0", "ABCDEO", "ÄBCDEF", "ABCD\u{0}E"] {
            assert_eq!(normalise(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_machine_is_shown_as_text() {
        let strange =
            Machine::new("  ana's <b>box</b>\u{202e} ", "1\n2", Capabilities::default(), String::new());
        assert_eq!((strange.name.as_str(), strange.agent_version.as_str()), ("ana-s -b-box--b--", "12"));
        let nameless = Machine::new(" -- ", "", Capabilities::default(), String::new());
        assert_eq!(nameless.name, "Island");
    }
}
