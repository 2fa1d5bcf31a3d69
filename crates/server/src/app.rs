//! The program: its real parts, built once from the configuration, and the few parts that stand for the world outside.

use std::fs::File;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::http::HeaderValue;
use db::{Db, DbError, OpenOptions};
use tokio::sync::{Notify, Semaphore, mpsc};
use types::id::IdGenerator;
use types::rng::{Random, SystemRandom};
use types::time::{Clock, SystemClock};

use crate::accounts::api_keys::KeyCache;
use crate::batches::live::LiveBatches;
use crate::config::{Config, ConfigError, Package, ProviderName, Store, shown};
use crate::hooks::{self, Hooks};
use crate::idempotency::Running;
use crate::identity::provider::IdentityProvider;
use crate::identity::sandbox::Sandbox as SandboxIdentity;
use crate::identity::stripe::StripeIdentity;
use crate::islands::registry::Registry;
use crate::jobs::commit::{self, Committer, Queued};
use crate::jobs::live::LiveJobs;
use crate::limits::{AddressLimiter, Limiter};
use crate::live::Live;
use crate::mail::Mailer;
use crate::marketplace::{Marketplace, Workload, store as market_store};
use crate::nodes::{Claim, Node};
use crate::payouts::provider::PayoutProvider;
use crate::payouts::sandbox::Sandbox as SandboxPayouts;
use crate::payouts::stripe::StripePayouts;
use crate::providers::stripe::Stripe;
use crate::purchases::provider::PaymentProvider;
use crate::purchases::sandbox::Sandbox as SandboxPayments;
use crate::purchases::stripe::StripePayments;
use crate::telemetry::Metrics;
use crate::{MIGRATIONS, secrets};

/// Everything a request or a task may need.
#[derive(Debug)]
pub struct App {
    /// What was configured.
    pub config: Config,
    /// Whether this is `serve --demo`: sign-in links are shown on the page.
    pub demo: bool,
    /// What can be bought.
    pub packages: Vec<Package>,
    /// The database.
    pub db: Db,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Chance, for secrets.
    pub random: Arc<dyn Random>,
    /// Makes ids.
    pub ids: Arc<IdGenerator>,
    /// Which coordinator this is, as long as it is one.
    pub node: Node,
    /// Sends mail.
    pub mail: Mailer,
    /// Takes money.
    pub payments: Arc<dyn PaymentProvider>,
    /// The payments sandbox, while it is in use: its page.
    pub sandbox_payments: Option<Arc<SandboxPayments>>,
    /// Verifies people.
    pub identity: Arc<dyn IdentityProvider>,
    /// The identity sandbox, while it is in use: its page.
    pub sandbox_identity: Option<Arc<SandboxIdentity>>,
    /// Pays owners of Islands.
    pub payouts: Arc<dyn PayoutProvider>,
    /// The payouts sandbox, while it is in use: its page.
    pub sandbox_payouts: Option<Arc<SandboxPayouts>>,
    /// The connection to Stripe, when anything goes through it.
    pub stripe: Option<Arc<Stripe>>,
    /// What pages may load and where their forms may lead.
    pub policy: HeaderValue,
    /// What the sandbox providers sign their webhooks with.
    pub sandbox_secret: String,
    /// The books of all Cargos.
    pub market: Marketplace,
    /// Connected Islands.
    pub islands: Registry,
    /// Jobs that have not ended.
    pub jobs: LiveJobs,
    /// Batches that are driven here.
    pub batches: LiveBatches,
    /// Commits beginnings and endings of jobs.
    pub committer: Committer,
    /// How soon the ledger's tables follow those commits.
    pub pace: ledger::Pace,
    /// Open pages.
    pub live: Live,
    /// Tells programs of users what happened.
    pub hooks: Arc<Hooks>,
    /// API keys seen lately.
    pub keys: KeyCache,
    /// Who asks too often.
    pub limiter: Limiter,
    /// Which addresses ask too often.
    pub addresses: AddressLimiter,
    /// Requests with an `Idempotency-Key` that are being answered.
    pub running: Running,
    /// Lets one page of an export be read at a time.
    pub exports: Semaphore,
    /// Checks what is written to the ledger.
    pub audit: crate::audit::Watch,
    /// What `/metrics` shows.
    pub metrics: Metrics,
    /// Told when a sandbox provider has something to deliver.
    pub sandbox_due: Notify,
    /// Told when balances may have changed without their pages being told.
    pub balances_stale: Notify,
    replaced: AtomicBool,
    stopping: AtomicBool,
    stopped: Notify,
}

/// Why the program does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The database.
    #[error("the database did not do what was asked: {0}")]
    Db(#[from] DbError),
    /// Anything else, as a sentence that says what to do.
    #[error("{0}")]
    Refused(String),
}

/// Who stands behind the provider traits.
struct Providers {
    stripe: Option<Arc<Stripe>>,
    payments: Arc<dyn PaymentProvider>,
    sandbox_payments: Option<Arc<SandboxPayments>>,
    identity: Arc<dyn IdentityProvider>,
    sandbox_identity: Option<Arc<SandboxIdentity>>,
    payouts: Arc<dyn PayoutProvider>,
    sandbox_payouts: Option<Arc<SandboxPayouts>>,
}

impl Providers {
    fn build(
        config: &Config,
        db: &Db,
        clock: &Arc<dyn Clock>,
        random: &Arc<dyn Random>,
    ) -> Result<Self, StartError> {
        let stripe = if config.uses_stripe() {
            let stripe = Stripe::new(&config.stripe);
            Some(Arc::new(
                stripe.map_err(|error| StartError::Refused(format!("Stripe cannot be used: {error}")))?,
            ))
        } else {
            None
        };
        let connection = |name: ProviderName| stripe.clone().filter(|_| name == ProviderName::Stripe);
        let (db, clock, random) = (db.clone(), Arc::clone(clock), Arc::clone(random));
        let public_url = config.public_url();
        let (payments, sandbox_payments): (Arc<dyn PaymentProvider>, _) =
            if let Some(stripe) = connection(config.payments.provider) {
                (Arc::new(StripePayments { stripe, clock: Arc::clone(&clock) }), None)
            } else {
                let (db, clock, random) = (db.clone(), Arc::clone(&clock), Arc::clone(&random));
                let sandbox = Arc::new(SandboxPayments { db, clock, random, public_url: public_url.clone() });
                (Arc::clone(&sandbox) as Arc<dyn PaymentProvider>, Some(sandbox))
            };
        let (payouts, sandbox_payouts): (Arc<dyn PayoutProvider>, _) =
            if let Some(stripe) = connection(config.payouts.provider) {
                (Arc::new(StripePayouts { stripe, clock: Arc::clone(&clock) }), None)
            } else {
                let (db, clock, random) = (db.clone(), Arc::clone(&clock), Arc::clone(&random));
                let sandbox = Arc::new(SandboxPayouts { db, clock, random, public_url: public_url.clone() });
                (Arc::clone(&sandbox) as Arc<dyn PayoutProvider>, Some(sandbox))
            };
        let (identity, sandbox_identity): (Arc<dyn IdentityProvider>, _) =
            if let Some(stripe) = connection(config.identity.provider) {
                (Arc::new(StripeIdentity { stripe }), None)
            } else {
                let sandbox = Arc::new(SandboxIdentity { db, clock, random, public_url });
                (Arc::clone(&sandbox) as Arc<dyn IdentityProvider>, Some(sandbox))
            };
        Ok(Self { stripe, payments, sandbox_payments, identity, sandbox_identity, payouts, sandbox_payouts })
    }
}

/// The queue that feeds the committer.
pub type CommitQueue = mpsc::Receiver<Queued>;

/// A database with its schema, as every command needs it.
///
/// # Errors
/// A [`StartError`] that says what to do.
pub async fn open_database(config: &Config, options: OpenOptions) -> Result<Db, StartError> {
    make_folder(&config.data_dir)?;
    let place = match config.store()? {
        Store::Sqlite(path) => path.display().to_string(),
        Store::Postgres => shown(&config.database.url),
    };
    let refused = |error: DbError| {
        StartError::Refused(match error {
            DbError::Newer { .. } => format!("{place}: {error}"),
            DbError::Unwritable(why) => {
                format!("the database {place} cannot be used: {why}; is database.url right?")
            }
            error => format!("the database {place} cannot be used: {error}; is database.url right?"),
        })
    };
    let db = Db::open(&config.database_url()?, options).await.map_err(refused)?;
    if db.is_unfinished_copy().await.map_err(refused)? {
        return Err(StartError::Refused(format!(
            "the database {place} is an unfinished copy of another one; run the same archipelago migrate --from … --to … again"
        )));
    }
    db.migrate(MIGRATIONS).await.map_err(refused)?;
    Ok(db)
}

/// In a data directory: locked while a server runs on it.
pub const LOCK: &str = "archipelago.lock";

/// Takes the data directory for this process alone. Keep what it answers.
///
/// # Errors
/// A [`StartError`] when another server has it, or it cannot be written.
pub fn lock_data_dir(folder: &Path) -> Result<File, StartError> {
    make_folder(folder)?;
    lock_if_free(folder)?.ok_or_else(|| {
        StartError::Refused(format!(
            "another server is running on the data directory {}; stop it first, or give this one another --data",
            folder.display()
        ))
    })
}

/// The same of a folder that is there; nothing when a server has it.
///
/// # Errors
/// A [`StartError`] when it cannot be written.
pub fn lock_if_free(folder: &Path) -> Result<Option<File>, StartError> {
    let path = folder.join(LOCK);
    let file = File::create(&path)
        .map_err(|error| StartError::Refused(format!("{} cannot be written: {error}", path.display())))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(std::fs::TryLockError::WouldBlock) => Ok(None),
        Err(std::fs::TryLockError::Error(error)) => {
            Err(StartError::Refused(format!("{} cannot be locked: {error}", path.display())))
        }
    }
}

/// Makes a data directory, if it is not there.
///
/// # Errors
/// A [`StartError`].
pub fn make_folder(folder: &Path) -> Result<(), StartError> {
    // What is in it is nobody else's business: the database, and mails with sign-in links.
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(|error| {
        StartError::Refused(format!("the data directory {} cannot be made: {error}", folder.display()))
    })
}

impl App {
    /// Builds the program on an open database, under a number that it has. The queue it answers with must be given to
    /// `commit::run`.
    ///
    /// # Errors
    /// A [`StartError`].
    pub async fn build(
        config: Config,
        db: Db,
        claim: Claim,
        demo: bool,
        metrics: Metrics,
    ) -> Result<(Arc<Self>, CommitQueue), StartError> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let random: Arc<dyn Random> = Arc::new(SystemRandom);
        let sandbox_secret = secrets::new(&*random, "whsec_");
        let policy = crate::router::content_policy(&config);
        let providers = Providers::build(&config, &db, &clock, &random)?;
        let (committer, queue) = commit::channel();
        let (ids, workloads) = (Arc::new(claim.ids()), workloads(&db, &config).await?);
        let hooks = hooks(&config, &ids, &workloads)?;
        let app = Self {
            packages: config.packages()?,
            market: Marketplace::new(workloads),
            mail: Mailer::from_config(&config)?,
            ids,
            node: claim.node,
            live: Live::new(config.low_balance()),
            limiter: Limiter::new(config.limits.requests_per_minute),
            addresses: AddressLimiter::new(
                config.limits.sign_in_links_per_address,
                config.limits.checkouts_per_address,
            ),
            running: Running::default(),
            exports: Semaphore::new(1),
            config,
            demo,
            db,
            clock,
            random,
            payments: providers.payments,
            sandbox_payments: providers.sandbox_payments,
            identity: providers.identity,
            sandbox_identity: providers.sandbox_identity,
            payouts: providers.payouts,
            sandbox_payouts: providers.sandbox_payouts,
            stripe: providers.stripe,
            policy,
            sandbox_secret,
            islands: Registry::default(),
            jobs: LiveJobs::default(),
            batches: LiveBatches::default(),
            committer,
            pace: ledger::Pace::default(),
            hooks,
            keys: KeyCache::default(),
            audit: crate::audit::Watch::default(),
            metrics,
            sandbox_due: Notify::new(),
            balances_stale: Notify::new(),
            replaced: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            stopped: Notify::new(),
        };
        crate::marketplace::overrides::follow_once(&app).await?;
        Ok((Arc::new(app), queue))
    }

    /// Something about the market is worth telling the pages.
    pub fn market_moved(&self) {
        self.market.moved.notify_one();
    }

    /// Begins to stop: streams end, tasks end.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::SeqCst);
        self.stopped.notify_waiters();
    }

    /// Another coordinator has our number or our jobs: nothing can be done here any more but stop.
    pub fn replaced(&self) {
        self.replaced.store(true, Ordering::SeqCst);
        self.stop();
    }

    /// Whether that is so.
    #[must_use]
    pub fn is_replaced(&self) -> bool {
        self.replaced.load(Ordering::SeqCst)
    }

    /// Whether the program has begun to stop.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    /// Waits until the program begins to stop.
    pub async fn stopping(&self) {
        loop {
            let stopped = self.stopped.notified();
            if self.is_stopping() {
                return;
            }
            stopped.await;
        }
    }
}

fn hooks(config: &Config, ids: &Arc<IdGenerator>, workloads: &[Workload]) -> Result<Arc<Hooks>, StartError> {
    let http = hooks::address::client(config.webhooks.allow_private)
        .map_err(|error| StartError::Refused(format!("webhooks cannot be sent: {error}")))?;
    let slugs = workloads.iter().map(|workload| (workload.id, workload.slug.clone())).collect();
    Ok(Arc::new(Hooks::new(Arc::clone(ids), http, slugs)))
}

async fn workloads(db: &Db, config: &Config) -> Result<Vec<Workload>, DbError> {
    let mut workloads = Vec::new();
    for configured in &config.workloads {
        let slug = configured.slug.clone();
        let id = db.tx("workload", async move |tx| market_store::workload_id(tx, &slug).await).await?;
        workloads.push(Workload::new(id, configured));
    }
    Ok(workloads)
}
