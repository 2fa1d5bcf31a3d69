//! What an Island serves, for how much, and where its coordinator is.
//!
//! Guarantees: a [`Config`] read from text has no unknown keys, and one that passes [`Config::check`] makes
//! offers the coordinator can read. Every error names the key that is wrong. Secrets do not show in `Debug`.

use std::collections::HashMap;
use std::fmt;

use serde::Deserialize;
use types::island_protocol::{Capabilities, MAX_MODELS, MAX_OFFERS, MAX_SLOTS};
use types::money::MicroCredits;

pub use crate::cost::{Cost, Unit};
use crate::machine;
pub use crate::schedule::{Schedule, Zone};
pub use watch::{ConfigFile, ConfigFileError};

mod file;
mod watch;

/// The commented example that `island config --default` prints.
pub const EXAMPLE: &str = include_str!("../../island.example.toml");

/// How long a backend may take for one answer when the configuration does not say.
const REQUEST_TIMEOUT_SECS: u64 = 600;
/// The demo backend's pause between pieces when the configuration does not say.
const DEMO_DELAY_MS: u64 = 30;
/// The model named to a backend when the configuration does not say.
pub(crate) const DEFAULT_MODEL: &str = "default";
/// The longest slug and model name, in bytes.
pub(crate) const MAX_NAME_BYTES: usize = 200;

/// Everything an agent needs to know.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// The coordinator's address, `http(s)://host:port`.
    pub coordinator: String,
    /// The Island's token.
    pub token: Secret,
    /// Where the machine stands, such as `eu-west`.
    pub region: Option<String>,
    /// The graphics card, for people.
    pub gpu_model: Option<String>,
    /// The graphics card's memory in MiB, for people.
    pub gpu_vram_mb: Option<u32>,
    /// What does the work, and what is offered of it.
    pub backends: Vec<BackendConfig>,
    /// When anything is offered; always if nothing is said.
    pub schedule: Option<Schedule>,
    /// Whose time of day schedules speak of.
    pub timezone: Zone,
    /// What running costs; the asks do not go below it.
    pub cost: Option<Cost>,
}

/// Something that does work, and the Cargos offered on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackendConfig {
    /// What it is.
    pub kind: BackendKind,
    /// The Cargos it serves.
    pub offers: Vec<OfferConfig>,
}

/// What a backend is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BackendKind {
    /// A server that speaks the `OpenAI` API.
    OpenAi {
        /// Such as `http://127.0.0.1:11434/v1`.
        base_url: String,
        /// Sent as bearer, if given.
        api_key: Option<Secret>,
        /// The longest an answer may take, from start to end.
        request_timeout_secs: u64,
    },
    /// Plainly labelled answers without any model.
    Demo {
        /// The pause between two pieces of an answer.
        delay_ms: u64,
    },
}

/// One Cargo offered on a backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OfferConfig {
    /// The Cargo's slug.
    pub workload: String,
    /// The asking price, credits per unit of the Cargo, as a decimal string.
    pub ask: String,
    /// How many attempts run at once.
    pub slots: u32,
    /// The models, as the backend calls them.
    pub models: Models,
    /// Which of the backend's endpoints serves it.
    pub endpoint: Endpoint,
    /// What the ask is for, so that a cost can be compared with it.
    pub unit: Unit,
    /// When it is offered, if not when everything is.
    pub schedule: Option<Schedule>,
}

/// Which models serve a Cargo.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Models {
    /// These, the usual one first. None: whatever the backend has, as its only one.
    Named(Vec<String>),
    /// Those that the backend lists and that fit this pattern, in which `*` stands for anything.
    Discover(String),
}

impl OfferConfig {
    /// An offer of chat answers by the backend's default model.
    #[must_use]
    pub fn chat(workload: &str, ask: &str, slots: u32) -> Self {
        Self {
            workload: workload.to_owned(),
            ask: ask.to_owned(),
            slots,
            models: Models::Named(Vec::new()),
            endpoint: Endpoint::Chat,
            unit: Unit::Request,
            schedule: None,
        }
    }

    /// An offer of images by the backend's default model.
    #[must_use]
    pub fn images(workload: &str, ask: &str, slots: u32) -> Self {
        Self { endpoint: Endpoint::Images, ..Self::chat(workload, ask, slots) }
    }

    /// An offer of the vectors of texts by the backend's default model.
    #[must_use]
    pub fn embeddings(workload: &str, ask: &str, slots: u32) -> Self {
        Self { endpoint: Endpoint::Embeddings, ..Self::chat(workload, ask, slots) }
    }
}

/// What kind of answer a Cargo wants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Endpoint {
    /// Text.
    #[default]
    Chat,
    /// An image.
    Images,
    /// The vectors of texts.
    Embeddings,
}

/// A text that is not shown.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// The text itself, for the one place that sends it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "(empty)" } else { "(hidden)" })
    }
}

/// What is wrong with a configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Not TOML, an unknown key, or a value of the wrong type.
    #[error("{0}")]
    Toml(#[from] toml::de::Error),
    /// A key whose value will not do.
    #[error("`{key}` {problem}")]
    Value {
        /// The key, with the number of its table where there are several.
        key: String,
        /// What is wrong, to be read after the key.
        problem: String,
    },
    /// There is nothing to serve.
    #[error(
        "no backend is configured, so there is nothing to serve. Write a configuration with a [[backend]] in it \
         (`island config --default` prints one with comments), save it as island.toml and start with \
         `--config island.toml`; or start with `--demo` to answer without a model"
    )]
    NoBackend,
    /// The HTTP client could not be made.
    #[error("the HTTP client for `{key}` could not be made: {source}")]
    Client {
        /// The key of the backend's address.
        key: String,
        /// Why.
        source: reqwest::Error,
    },
}

impl ConfigError {
    pub(crate) fn value(key: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::Value { key: key.into(), problem: problem.into() }
    }
}

impl Config {
    /// Reads a configuration. Coordinator, token and backends may be missing, because the command line may
    /// supply them; [`Config::check`] finds out.
    ///
    /// # Errors
    /// [`ConfigError`] names the key that is unknown or wrong.
    pub fn from_toml(text: &str) -> Result<Self, ConfigError> {
        let config = file::read(text)?;
        check_backends(&config.backends)?;
        Ok(config)
    }

    /// A backend that needs no model, with an offer each of chat and images.
    #[must_use]
    pub fn demo_backend() -> BackendConfig {
        BackendConfig {
            kind: BackendKind::Demo { delay_ms: DEMO_DELAY_MS },
            offers: vec![OfferConfig::chat("llm-chat", "1", 4), OfferConfig::images("sdxl", "5", 1)],
        }
    }

    /// Finds whatever would keep an agent from starting.
    ///
    /// # Errors
    /// [`ConfigError`] names the key and says what to write.
    pub fn check(&self) -> Result<(), ConfigError> {
        if self.coordinator.is_empty() {
            return Err(ConfigError::value("coordinator", "is missing: the address of the coordinator"));
        }
        if self.token.reveal().is_empty() {
            return Err(ConfigError::value(
                "token",
                "is missing: the Island's token, from its page; or pair this Island with `island pair --coordinator URL`",
            ));
        }
        if self.token.reveal().bytes().any(|byte| !byte.is_ascii_graphic()) {
            return Err(ConfigError::value("token", "has characters that no token has"));
        }
        if self.backends.iter().all(|backend| backend.offers.is_empty()) {
            return Err(ConfigError::NoBackend);
        }
        check_backends(&self.backends)
    }

    /// What the machine is, as far as it is configured or can be seen.
    pub(crate) fn capabilities(&self) -> Capabilities {
        Capabilities {
            gpu_model: self.gpu_model.clone(),
            gpu_vram_mb: self.gpu_vram_mb,
            cpu_cores: machine::cpu_cores(),
            ram_mb: machine::ram_mb(),
            region: self.region.clone(),
        }
    }
}

fn check_backends(backends: &[BackendConfig]) -> Result<(), ConfigError> {
    let mut seen: HashMap<&str, (usize, &OfferConfig)> = HashMap::new();
    for (number, backend) in backends.iter().enumerate() {
        for (position, offer) in backend.offers.iter().enumerate() {
            let prefix = format!("backend[{number}].offer[{position}]");
            check_offer(&prefix, offer)?;
            let Some((elsewhere, first)) = seen.insert(&offer.workload, (number, offer)) else { continue };
            let wrong = |key: &str, problem: &str| {
                let problem = format!("{problem} {:?} on backend[{elsewhere}]", offer.workload);
                Err(ConfigError::value(format!("{prefix}.{key}"), problem))
            };
            if elsewhere == number {
                return wrong("workload", "is there twice; write one offer with more slots for");
            }
            let same_ask = MicroCredits::parse_decimal(&offer.ask) == MicroCredits::parse_decimal(&first.ask);
            if !same_ask {
                return wrong("ask", "must be the same as for");
            }
            if (offer.endpoint, offer.unit) != (first.endpoint, first.unit) {
                return wrong("endpoint", "and unit must be the same as for");
            }
        }
    }
    if seen.len() > MAX_OFFERS {
        return Err(ConfigError::value("backend", format!("has more than {MAX_OFFERS} offers")));
    }
    Ok(())
}

fn check_offer(prefix: &str, offer: &OfferConfig) -> Result<(), ConfigError> {
    let wrong = |key: &str, problem: String| Err(ConfigError::value(format!("{prefix}.{key}"), problem));
    if offer.workload.is_empty() || offer.workload.len() > MAX_NAME_BYTES {
        return wrong("workload", "must be the slug of a Cargo, such as \"llm-chat\"".to_owned());
    }
    match MicroCredits::parse_decimal(&offer.ask) {
        Err(error) => return wrong("ask", error.to_string()),
        Ok(ask) if ask < MicroCredits::ZERO => return wrong("ask", "must not be negative".to_owned()),
        Ok(_) => {}
    }
    if offer.slots == 0 || offer.slots > MAX_SLOTS {
        return wrong("slots", format!("must be between 1 and {MAX_SLOTS}"));
    }
    let names = match &offer.models {
        Models::Named(names) => names.as_slice(),
        Models::Discover(pattern) => std::slice::from_ref(pattern),
    };
    if names.len() > MAX_MODELS {
        return wrong("models", format!("must not be more than {MAX_MODELS}"));
    }
    if names
        .iter()
        .any(|name| name.is_empty() || name.len() > MAX_NAME_BYTES || name.contains(char::is_control))
    {
        return wrong("models", "must be names the backend knows".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_is_a_whole_configuration() {
        let mut config = Config::from_toml(EXAMPLE).unwrap();
        // After a pairing these two must not be in its way.
        assert_eq!((config.coordinator.as_str(), config.token.reveal()), ("", ""));
        (config.coordinator, config.token) = ("http://h".to_owned(), "t".into());
        config.check().unwrap();
        assert_eq!(config.backends.len(), 2);
        assert_eq!(config.backends[0].offers[0].workload, "llm-chat");
        assert!(matches!(config.backends[1].kind, BackendKind::Demo { delay_ms: 30 }));
    }

    #[test]
    fn what_is_commented_out_in_the_example_is_right_too() {
        let whole: String = EXAMPLE
            .lines()
            .map(|line| match line.strip_prefix('#') {
                // Keys and tables have no space behind the mark, sentences have.
                Some(key) if !key.starts_with(' ') => format!("{key}\n"),
                _ => format!("{line}\n"),
            })
            .collect();
        let config = Config::from_toml(&whole).unwrap();
        assert_eq!(config.coordinator, "https://archipelago.example");
        assert!(config.schedule.is_some() && config.cost.is_some(), "{config:?}");
        assert!(config.backends[0].offers[0].schedule.is_some());
        assert!(matches!(&config.backends[0].kind, BackendKind::OpenAi { api_key: Some(_), .. }));
    }

    #[test]
    fn cost_is_read_exactly() {
        for text in ["0.30", "\"0.3\""] {
            let text = format!("[cost]\nelectricity_per_kwh = {text}\nwatts = 350\nmargin_percent = 20");
            let cost = Config::from_toml(&text).unwrap().cost.unwrap();
            // Thirty cents are thirty credits.
            assert_eq!(cost, Cost { per_kwh: MicroCredits::new(30_000_000), watts: 350, margin_percent: 20 });
        }
    }

    #[test]
    fn errors_name_the_key() {
        let openai = "[[backend]]\nkind = \"openai\"\nbase_url = \"http://127.0.0.1:1/v1\"\n";
        let demo = "[[backend]]\nkind = \"demo\"\n";
        let offer = "[[backend.offer]]\nworkload = \"a\"\nask = \"1\"\nslots = 1\n";
        let cases = [
            ("tokn = \"x\"".to_owned(), "unknown field `tokn`"),
            (format!("{openai}modle = \"x\"\n{offer}"), "unknown field `modle`"),
            (format!("{openai}{offer}bid = \"x\""), "unknown field `bid`"),
            ("[[backend]]\nbase_url = \"x\"".to_owned(), "missing field `kind`"),
            ("[[backend]]\nkind = \"llama\"".to_owned(), "unknown variant `llama`"),
            (format!("[[backend]]\nkind = \"openai\"\n{offer}"), "`backend[0].base_url` is missing"),
            (openai.to_owned(), "`backend[0].offer` is missing"),
            (format!("{demo}{offer}{demo}"), "`backend[1].offer` is missing"),
            (format!("{openai}delay_ms = 1\n{offer}"), "`backend[0].delay_ms` does not belong"),
            (format!("{demo}base_url = \"x\"\n{offer}"), "`backend[0].base_url` does not belong"),
            (format!("{demo}{}", offer.replace("\"1\"", "2.5")), "expected a string"),
            (
                format!("{demo}{}", offer.replace("\"1\"", "\"cheap\"")),
                "`backend[0].offer[0].ask` must be a number",
            ),
            (
                format!("{demo}{}", offer.replace("\"1\"", "\"-1\"")),
                "`backend[0].offer[0].ask` must not be negative",
            ),
            (
                format!("{demo}{}", offer.replace("\"1\"", "\"0.0000001\"")),
                "`backend[0].offer[0].ask` has more than six",
            ),
            (
                format!("{demo}{}", offer.replace("slots = 1", "slots = 0")),
                "`backend[0].offer[0].slots` must be",
            ),
            (format!("{demo}{}", offer.replace("\"a\"", "\"\"")), "`backend[0].offer[0].workload` must be"),
            (format!("{demo}{offer}model = \"\""), "`backend[0].offer[0].models` must be"),
            (format!("{demo}{offer}models = []"), "`backend[0].offer[0].models` is empty"),
            (format!("{demo}{offer}models = [\"a\", \"\"]"), "`backend[0].offer[0].models` must be"),
            (
                format!("{demo}{offer}models = [{}]", "\"a\",".repeat(9)),
                "`backend[0].offer[0].models` must not be more",
            ),
            (format!("{demo}{offer}models = \"llama\""), "`backend[0].offer[0].models` must be a list"),
            (
                format!("{demo}{offer}models = \"discover\""),
                "`backend[0].offer[0].models` cannot be discovered",
            ),
            (
                format!("{demo}{offer}model = \"a\"\nmodels = [\"b\"]"),
                "`backend[0].offer[0].model` and `models`",
            ),
            (format!("{demo}{offer}unit = \"kilo\""), "unknown variant `kilo`"),
            (format!("{demo}{offer}schedule = [\"night\"]"), "`backend[0].offer[0].schedule` has \"night\""),
            (format!("schedule = []\n{demo}{offer}"), "`schedule` must have"),
            (format!("timezone = \"Mars\"\n{demo}{offer}"), "`timezone` is \"Mars\""),
            ("[cost]\nwatts = 300".to_owned(), "missing field `electricity_per_kwh`"),
            ("[cost]\nelectricity_per_kwh = 0.3\nwatts = 0".to_owned(), "`cost.watts` must be"),
            (
                "[cost]\nelectricity_per_kwh = \"dear\"\nwatts = 1".to_owned(),
                "`cost.electricity_per_kwh` must be",
            ),
            ("[cost]\nelectricity_per_kwh = -1\nwatts = 1".to_owned(), "`cost.electricity_per_kwh` must be"),
            (format!("{demo}{offer}endpoint = \"audio\""), "unknown variant `audio`"),
            (
                format!("{demo}{offer}{demo}{}", offer.replace("\"1\"", "\"2\"")),
                "`backend[1].offer[0].ask` must be the same as for \"a\" on backend[0]",
            ),
        ];
        let twice = (format!("{demo}{offer}{offer}"), "`backend[0].offer[1].workload` is there twice");
        for (text, expected) in cases.into_iter().chain([twice]) {
            let error = Config::from_toml(&text).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}\n→ {error}");
        }
    }

    #[test]
    fn what_is_missing_is_said() {
        let whole = Config {
            coordinator: "http://127.0.0.1:4000".to_owned(),
            token: "t".into(),
            backends: vec![Config::demo_backend()],
            ..Config::default()
        };
        whole.check().unwrap();
        let cases = [
            (Config { coordinator: String::new(), ..whole.clone() }, "`coordinator` is missing"),
            (Config { token: "".into(), ..whole.clone() }, "`token` is missing"),
            (Config { token: "a\nb".into(), ..whole.clone() }, "`token` has characters"),
            (Config { backends: Vec::new(), ..whole.clone() }, "[[backend]]"),
        ];
        for (config, expected) in cases {
            let error = config.check().unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn secrets_are_not_shown() {
        let text = "token = \"very-secret\"\n[[backend]]\nkind = \"openai\"\nbase_url = \"http://h/v1\"\n\
                    api_key = \"also-secret\"\n[[backend.offer]]\nworkload = \"a\"\nask = \"1\"\nslots = 1\n";
        let shown = format!("{:?}", Config::from_toml(text).unwrap());
        assert!(!shown.contains("secret"), "{shown}");
    }
}
