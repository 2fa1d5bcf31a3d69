//! The configuration: a commented file compiled in, overridden by a file, overridden by the environment.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use toml::{Table, Value};
use types::money::{Cents, Credits, MicroCredits};

pub use crate::islands::config::{Approval, Islands};
pub use crate::mail::config::{Mail, MailTransport};
use crate::marketplace::config::check_names;
pub use crate::marketplace::config::{Unit, WorkloadConfig, WorkloadKind};
pub use crate::payouts::config::{Payouts, Schedule};
pub use crate::receipts::seller::Seller;

/// The default configuration, as shipped.
pub const DEFAULT: &str = include_str!("config.default.toml");

const ENVIRONMENT_PREFIX: &str = "ARCHIPELAGO__";

/// Everything that can be configured. Each key is explained in `config.default.toml`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "config.default.toml explains each key")]
pub struct Config {
    pub listen: SocketAddr,
    pub public_url: String,
    pub data_dir: PathBuf,
    pub log: String,
    pub database: Database,
    pub coordinators: Coordinators,
    pub mail: Mail,
    pub seller: Seller,
    pub payments: Provider,
    pub identity: Provider,
    pub payouts: Payouts,
    pub stripe: Stripe,
    pub credits: CreditsConfig,
    pub market: Market,
    pub webhooks: Webhooks,
    pub limits: Limits,
    pub metrics: Metrics,
    pub jobs: Jobs,
    pub islands: Islands,
    pub workloads: Vec<WorkloadConfig>,
}

/// `[database]`.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "config.default.toml explains each key")]
pub struct Database {
    #[serde(serialize_with = "without_password")]
    pub url: String,
}

/// Where everything is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Store {
    /// In a file of ours.
    Sqlite(PathBuf),
    /// On a PostgreSQL server.
    Postgres,
}

/// `[coordinators]`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "config.default.toml explains each key")]
pub struct Coordinators {
    pub takeover_secs: u32,
}

/// `[payments]` and `[identity]`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "config.default.toml explains each key")]
pub struct Provider {
    pub provider: ProviderName,
}

/// Who stands behind a provider trait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProviderName {
    /// Ours, for trying out and for tests.
    Sandbox,
    /// Stripe.
    Stripe,
}

/// `[stripe]`.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "config.default.toml explains each key")]
pub struct Stripe {
    #[serde(serialize_with = "hidden")]
    pub secret_key: String,
    #[serde(serialize_with = "all_hidden")]
    pub webhook_secrets: Vec<String>,
    pub api_base: String,
}

impl Stripe {
    /// Where Stripe's pages are, as a browser's policy names them.
    #[must_use]
    pub fn pages(&self) -> String {
        let base = self.api_base.trim_end_matches('/');
        // Stripe's own pages are on other hosts than its API, those of a stand-in on the same.
        if base.ends_with(".stripe.com") { "https://*.stripe.com".to_owned() } else { base.to_owned() }
    }
}

/// `[credits]`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "config.default.toml explains each key")]
pub struct CreditsConfig {
    pub packages: Vec<PackageConfig>,
    pub low_balance: String,
}

/// One of `credits.packages`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "config.default.toml explains each key")]
pub struct PackageConfig {
    pub slug: String,
    pub name: String,
    pub credits: i64,
    pub price: String,
}

/// `[market]`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "config.default.toml explains each key")]
pub struct Market {
    pub fee_percent: u8,
}

/// `[webhooks]`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "config.default.toml explains each key")]
pub struct Webhooks {
    pub allow_private: bool,
}

/// `[limits]`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "config.default.toml explains each key")]
pub struct Limits {
    pub requests_per_minute: u32,
    pub body_bytes: usize,
    pub open_jobs_per_user: usize,
    pub open_input_bytes_per_user: usize,
    pub open_batches_per_user: usize,
    pub streams_per_user: usize,
    pub connections: usize,
    pub sign_in_links_per_hour: u32,
    pub sign_in_links_per_address: u32,
    pub checkouts_per_address: u32,
}

/// `[metrics]`.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "config.default.toml explains each key")]
pub struct Metrics {
    #[serde(serialize_with = "hidden")]
    pub token: String,
}

/// `[jobs]`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "config.default.toml explains each key")]
pub struct Jobs {
    pub wait_secs: u32,
    pub run_secs: u32,
    pub attempts: u32,
    pub output_bytes: usize,
    pub unwatched_secs: u32,
}

/// What can be bought, with its numbers read.
#[derive(Clone, Debug)]
pub struct Package {
    /// Stays the same for ever.
    pub slug: String,
    /// For people.
    pub name: String,
    /// How many credits.
    pub credits: Credits,
    /// What it costs.
    pub price: Cents,
}

/// A configuration that cannot be used; the sentence says which key and what to do.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(pub String);

impl Config {
    /// The default, overridden by `file` (its text, with its name for messages) and then by `environment`.
    ///
    /// # Errors
    /// A [`ConfigError`] naming the key.
    pub fn load(
        file: Option<(&Path, &str)>,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let mut table: Table = parse(DEFAULT, "the default configuration")?;
        if let Some((name, text)) = file {
            merge(&mut table, parse(text, &name.display().to_string())?);
        }
        for (name, value) in environment {
            if let Some(path) = name.strip_prefix(ENVIRONMENT_PREFIX) {
                set(&mut table, &name, &path.to_lowercase(), &value)?;
            }
        }
        let config: Self = Value::Table(table)
            .try_into()
            .map_err(|error: toml::de::Error| ConfigError(format!("configuration: {}", error.message())))?;
        config.check()?;
        Ok(config)
    }

    /// The packages with their numbers read.
    ///
    /// # Errors
    /// A [`ConfigError`] naming the package.
    pub fn packages(&self) -> Result<Vec<Package>, ConfigError> {
        self.credits.packages.iter().map(read_package).collect()
    }

    /// Below this a balance is low.
    #[must_use]
    pub fn low_balance(&self) -> MicroCredits {
        self.credits.low_balance.parse().unwrap_or_default()
    }

    /// What people reach the server by, without a slash at the end.
    #[must_use]
    pub fn public_url(&self) -> String {
        if self.public_url.is_empty() {
            format!("http://{}", self.listen)
        } else {
            self.public_url.trim_end_matches('/').to_owned()
        }
    }

    /// Whether a provider that moves no real money or believes everything is in use.
    #[must_use]
    pub fn test_mode(&self) -> bool {
        self.payments.provider == ProviderName::Sandbox || self.identity.provider == ProviderName::Sandbox
    }

    /// Where everything is kept.
    ///
    /// # Errors
    /// A [`ConfigError`] for an address of another kind.
    pub fn store(&self) -> Result<Store, ConfigError> {
        let url = &self.database.url;
        if url.is_empty() {
            return Ok(Store::Sqlite(self.data_dir.join("archipelago.db")));
        }
        if let Some(path) = url.strip_prefix("sqlite:").filter(|path| !path.is_empty()) {
            return Ok(Store::Sqlite(PathBuf::from(path)));
        }
        let rest = url.strip_prefix("postgres://").or_else(|| url.strip_prefix("postgresql://"));
        if rest.is_some_and(|rest| !rest.is_empty()) {
            return Ok(Store::Postgres);
        }
        Err(ConfigError(
            "database.url must be \"sqlite:PATH\" or \"postgres://USER:PASSWORD@HOST:PORT/NAME\"".to_owned(),
        ))
    }

    /// The same as an address that `db::Db::open` takes.
    ///
    /// # Errors
    /// A [`ConfigError`] for an address of another kind.
    pub fn database_url(&self) -> Result<String, ConfigError> {
        Ok(match self.store()? {
            Store::Sqlite(path) => format!("sqlite:{}", path.display()),
            Store::Postgres => self.database.url.clone(),
        })
    }

    /// Whether anything goes through Stripe.
    #[must_use]
    pub fn uses_stripe(&self) -> bool {
        [self.payments.provider, self.identity.provider, self.payouts.provider]
            .contains(&ProviderName::Stripe)
    }

    /// What is chosen must be configured: nothing is ever faked silently.
    fn check_stripe(&self) -> Result<(), ConfigError> {
        let refuse = |text: &str| Err(ConfigError(text.to_owned()));
        let stripe = &self.stripe;
        if !stripe.api_base.starts_with("https://") && !stripe.api_base.starts_with("http://") {
            return refuse("stripe.api_base must begin with https:// (or http:// for a stand-in)");
        }
        if !self.uses_stripe() {
            return Ok(());
        }
        if stripe.secret_key.is_empty() {
            return refuse(
                "Stripe is chosen as a provider, so stripe.secret_key must be set: the key that begins with sk_ or rk_, from Stripe's dashboard under Developers, API keys",
            );
        }
        if !["sk_", "rk_"].iter().any(|prefix| stripe.secret_key.starts_with(prefix)) {
            return refuse("stripe.secret_key must be a secret key (sk_...) or a restricted one (rk_...)");
        }
        if stripe.webhook_secrets.is_empty() || stripe.webhook_secrets.iter().any(String::is_empty) {
            return refuse(
                "Stripe is chosen as a provider, so stripe.webhook_secrets must have the signing secret (whsec_...) of the webhook endpoint, from Stripe's dashboard under Developers, Webhooks",
            );
        }
        Ok(())
    }

    fn check(&self) -> Result<(), ConfigError> {
        let refuse = |text: &str| Err(ConfigError(text.to_owned()));
        self.packages()?;
        self.store()?;
        self.check_stripe()?;
        self.mail.check()?;
        self.seller.check()?;
        self.payouts.check(self.payments.provider)?;
        if self.market.fee_percent > 100 {
            return refuse("market.fee_percent must be between 0 and 100");
        }
        if !(2..=3600).contains(&self.coordinators.takeover_secs) {
            return refuse("coordinators.takeover_secs must be between 2 and 3600");
        }
        let limits = &self.limits;
        if limits.requests_per_minute == 0 || limits.connections == 0 || limits.body_bytes < 1024 {
            return refuse(
                "limits.requests_per_minute and limits.connections must be at least 1, limits.body_bytes at least 1024",
            );
        }
        let token = &self.metrics.token;
        if !token.is_empty()
            && (!(16..=256).contains(&token.len()) || !token.bytes().all(|b| b.is_ascii_graphic()))
        {
            return refuse("metrics.token must be empty or have 16 to 256 printable characters and no space");
        }
        if self.jobs.attempts > 16 {
            return refuse("jobs.attempts must be at most 16");
        }
        if self.jobs.attempts == 0 || self.jobs.run_secs == 0 || self.jobs.wait_secs == 0 {
            return refuse("jobs.attempts, jobs.run_secs and jobs.wait_secs must be at least 1");
        }
        self.islands.check()?;
        if self.credits.low_balance.parse::<MicroCredits>().is_err() {
            return refuse("credits.low_balance must be a number of credits");
        }
        let url = self.public_url();
        if !url.starts_with("http://") && !url.starts_with("https://") {
            return refuse("public_url must begin with http:// or https://");
        }
        for workload in &self.workloads {
            workload.check()?;
        }
        check_names(&self.workloads)
    }
}

/// An address of a database as it may be shown: the password is not.
#[must_use]
pub fn shown(url: &str) -> String {
    const HIDDEN: &str = "***";
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    // Up to the last @, so that nothing of a password with odd letters is left over.
    let rest = match rest.rsplit_once('@') {
        Some((user, place)) => match user.split_once(':') {
            Some((name, _)) => format!("{name}:{HIDDEN}@{place}"),
            None => format!("{user}@{place}"),
        },
        None => rest.to_owned(),
    };
    let (place, options) = rest.split_once('?').map_or((rest.as_str(), None), |(a, b)| (a, Some(b)));
    let hide = |option: &str| match option.split_once('=') {
        Some((name, _)) if name.contains("password") => format!("{name}={HIDDEN}"),
        _ => option.to_owned(),
    };
    match options {
        Some(options) => {
            format!("{scheme}://{place}?{}", options.split('&').map(hide).collect::<Vec<_>>().join("&"))
        }
        None => format!("{scheme}://{place}"),
    }
}

fn hidden<S: serde::Serializer>(secret: &str, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(if secret.is_empty() { "" } else { "***" })
}

fn all_hidden<S: serde::Serializer>(secrets: &[String], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(secrets.iter().map(|_| "***"))
}

impl std::fmt::Debug for Stripe {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stripe").field("api_base", &self.api_base).finish_non_exhaustive()
    }
}

fn without_password<S: serde::Serializer>(url: &str, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&shown(url))
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Database").field("url", &shown(&self.url)).finish()
    }
}

fn read_package(package: &PackageConfig) -> Result<Package, ConfigError> {
    check_slug("credits.packages", &package.slug)?;
    let refuse = |what: &str| ConfigError(format!("credits.packages.{}: {what}", package.slug));
    let price = Cents::parse_dollars(&package.price).map_err(|error| refuse(&format!("price {error}")))?;
    let credits = Credits::new(package.credits);
    if credits.get() <= 0 || credits.micros().is_err() {
        return Err(refuse("credits must be above 0"));
    }
    if price.get() <= 0 {
        return Err(refuse("price must be above 0"));
    }
    Ok(Package { slug: package.slug.clone(), name: package.name.clone(), credits, price })
}

/// Whether a name can stand in addresses and files.
///
/// # Errors
/// A [`ConfigError`] naming it.
pub fn check_slug(what: &str, slug: &str) -> Result<(), ConfigError> {
    let fine = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_' || b == b'.';
    if slug.is_empty() || slug.len() > 64 || !slug.bytes().all(fine) {
        return Err(ConfigError(format!(
            "{what}: the slug {slug:?} must be lower-case letters, digits, - _ ."
        )));
    }
    Ok(())
}

fn parse(text: &str, name: &str) -> Result<Table, ConfigError> {
    text.parse().map_err(|error| ConfigError(format!("{name}: {error}")))
}

fn merge(base: &mut Table, over: Table) {
    for (key, value) in over {
        match (base.get_mut(&key), value) {
            (Some(Value::Table(base)), Value::Table(over)) => merge(base, over),
            (_, value) => drop(base.insert(key, value)),
        }
    }
}

/// Sets `section__key` to a value given as text: TOML if it reads as TOML of the kind that stands there, text otherwise.
fn set(table: &mut Table, name: &str, path: &str, value: &str) -> Result<(), ConfigError> {
    let (section, rest) = path.split_once("__").map_or((path, None), |(section, rest)| (section, Some(rest)));
    let unknown = || ConfigError(format!("{name}: there is no such setting"));
    let slot = table.get_mut(section).ok_or_else(unknown)?;
    match (rest, slot) {
        (Some(rest), Value::Table(inner)) => set(inner, name, rest, value),
        (None, slot) if !slot.is_table() => {
            *slot = if slot.is_str() { Value::String(value.to_owned()) } else { read_value(name, value)? };
            Ok(())
        }
        _ => Err(unknown()),
    }
}

fn read_value(name: &str, text: &str) -> Result<Value, ConfigError> {
    let table: Table = format!("value = {text}")
        .parse()
        .map_err(|_| ConfigError(format!("{name}: {text:?} is not a value of the right kind")))?;
    table.get("value").cloned().ok_or_else(|| ConfigError(format!("{name}: empty")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(file: &str, environment: &[(&str, &str)]) -> Result<Config, String> {
        let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Config::load(Some((Path::new("test.toml"), file)), environment).map_err(|error| error.to_string())
    }

    #[test]
    fn the_environment_overrides_the_file_and_the_file_the_default() {
        let config = load("[market]\nfee_percent = 20", &[]).unwrap();
        assert_eq!((config.market.fee_percent, config.listen.port()), (20, 4000));
        let environment = [
            ("ARCHIPELAGO__MARKET__FEE_PERCENT", "5"),
            ("ARCHIPELAGO__LISTEN", "127.0.0.1:9"),
            ("ARCHIPELAGO__LIMITS__REQUESTS_PER_MINUTE", "7"),
            ("OTHER", "x"),
        ];
        let config = load("[market]\nfee_percent = 20", &environment).unwrap();
        assert_eq!((config.market.fee_percent, config.listen.port()), (5, 9));
        assert_eq!(config.packages().unwrap()[0].price, Cents::new(499));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let cases = [
            ("colour = 1", "colour"),
            ("[market]\nfee = 1", "fee"),
            ("[market]\nfee_percent = 101", "market.fee_percent"),
            ("[payments]\nprovider = \"paypal\"", "paypal"),
            ("[payments]\nprovider = \"stripe\"", "stripe.secret_key"),
            ("[identity]\nprovider = \"stripe\"", "stripe.secret_key"),
            ("[payments]\nprovider = \"stripe\"\n[stripe]\nsecret_key = \"pk_test_1\"", "stripe.secret_key"),
            (
                "[payments]\nprovider = \"stripe\"\n[stripe]\nsecret_key = \"sk_test_1\"",
                "stripe.webhook_secrets",
            ),
            ("[stripe]\napi_base = \"api.stripe.com\"", "stripe.api_base"),
            ("[database]\nurl = \"mysql://x\"", "database.url"),
            ("[database]\nurl = \"sqlite:\"", "database.url"),
            ("[database]\nurl = \"postgres://\"", "database.url"),
            ("[coordinators]\ntakeover_secs = 1", "coordinators.takeover_secs"),
            ("public_url = \"ftp://x\"", "public_url"),
            (
                "[credits]\npackages = [{slug = \"a\", name = \"A\", credits = 0, price = \"1\"}]",
                "packages.a",
            ),
            ("[credits]\npackages = [{slug = \"a\", name = \"A\", credits = 1, price = \"1.999\"}]", "price"),
            ("[islands]\nlease_secs = 1", "lease_secs"),
            ("[mail]\nfrom = \"nobody\"", "mail.from"),
            ("[mail]\ntransport = \"smtp\"", "mail.smtp.host"),
            ("[mail]\ntransport = \"smtp\"\n[mail.smtp]\nhost = \"m.example\"", "mail.from"),
            (
                "[mail]\ntransport = \"smtp\"\n[mail.smtp]\nhost = \"m.example\"\nusername = \"a\"",
                "mail.smtp.password",
            ),
            (
                "[mail]\ntransport = \"smtp\"\n[mail.smtp]\nhost = \"m.example\"\npassword = \"a\"",
                "mail.smtp.username",
            ),
            (
                "[mail]\ntransport = \"smtp\"\n[mail.smtp]\nhost = \"m.example\"\nsecurity = \"none\"\nusername = \"a\"\npassword = \"b\"",
                "mail.smtp.security",
            ),
            ("[seller]\nname = \" \"", "seller.name"),
            ("[seller]\ntax_percent = \"101\"", "seller.tax_percent"),
            ("[seller]\ntax_percent = \"19%\"", "seller.tax_percent"),
            ("[seller]\nreceipt_prefix = \"R\\n\"", "seller.receipt_prefix"),
        ];
        for (file, word) in cases {
            let error = load(file, &[]).unwrap_err();
            assert!(error.contains(word), "{file}: {error}");
        }
        let unknown = load("", &[("ARCHIPELAGO__MARKET__COLOUR", "1")]).unwrap_err();
        assert!(unknown.contains("ARCHIPELAGO__MARKET__COLOUR"), "{unknown}");
        let kind = load("", &[("ARCHIPELAGO__MARKET__FEE_PERCENT", "many")]).unwrap_err();
        assert!(kind.contains("ARCHIPELAGO__MARKET__FEE_PERCENT"), "{kind}");
    }

    #[test]
    fn the_database_is_a_file_or_a_server() {
        let store = |url: &str| {
            load(&format!("data_dir = \"data\"\n[database]\nurl = \"{url}\""), &[]).unwrap().store().unwrap()
        };
        assert_eq!(store(""), Store::Sqlite("data/archipelago.db".into()));
        assert_eq!(store("sqlite:/var/lib/a.db"), Store::Sqlite("/var/lib/a.db".into()));
        assert_eq!(store("postgres://localhost/archipelago"), Store::Postgres);
        assert_eq!(store("postgresql://localhost/archipelago"), Store::Postgres);
    }

    #[test]
    fn a_password_is_never_shown() {
        let cases = [
            ("postgres://ana:secret@db:5432/a", "postgres://ana:***@db:5432/a"),
            ("postgres://ana:sec:r@et/@db/a", "postgres://ana:***@db/a"),
            ("postgres://ana@db/a", "postgres://ana@db/a"),
            (
                "postgres://db/a?user=ana&password=secret&sslmode=require",
                "postgres://db/a?user=ana&password=***&sslmode=require",
            ),
            ("sqlite:/var/lib/a.db", "sqlite:/var/lib/a.db"),
        ];
        for (url, expected) in cases {
            assert_eq!(shown(url), expected);
        }
        let file = "[database]\nurl = \"postgres://ana:hush@db/a\"\n[stripe]\nsecret_key = \"sk_hush\"\nwebhook_secrets = [\"whsec_hush\"]";
        let config = load(file, &[]).unwrap();
        assert!(!format!("{config:?}").contains("hush"));
        assert!(!toml::to_string_pretty(&config).unwrap().contains("hush"));
        let mail = "[mail]\ntransport = \"smtp\"\nfrom = \"a@b.example\"\n[mail.smtp]\nhost = \"m.example\"\nusername = \"ana\"";
        let config = load(mail, &[("ARCHIPELAGO__MAIL__SMTP__PASSWORD", "hush")]).unwrap();
        assert_eq!((config.mail.smtp.password.as_str(), config.mail.smtp.port()), ("hush", 465));
        assert!(!format!("{config:?}").contains("hush"));
        assert!(!toml::to_string_pretty(&config).unwrap().contains("hush"));
    }
}
