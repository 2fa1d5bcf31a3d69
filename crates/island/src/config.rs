//! What an Island serves, for how much, and where its coordinator is.
//!
//! Guarantees: a [`Config`] read from text has no unknown keys, and one that passes [`Config::check`] makes
//! offers the coordinator can read. Every error names the key that is wrong. Secrets do not show in `Debug`.

use std::collections::HashSet;
use std::fmt;

use serde::Deserialize;
use types::island_protocol::{Capabilities, MAX_OFFERS, MAX_SLOTS, Offer};
use types::money::MicroCredits;

use crate::machine;

/// The commented example that `island example-config` prints.
pub const EXAMPLE: &str = include_str!("../island.example.toml");

/// How long a backend may take for one answer when the configuration does not say.
const REQUEST_TIMEOUT_SECS: u64 = 600;
/// The demo backend's pause between pieces when the configuration does not say.
const DEMO_DELAY_MS: u64 = 30;
/// The model named to a backend when the configuration does not say.
const MODEL: &str = "default";
/// The longest slug and model name, in bytes.
const MAX_NAME_BYTES: usize = 200;

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
    /// The model, as the backend calls it.
    pub model: String,
    /// Which of the backend's endpoints serves it.
    pub endpoint: Endpoint,
}

impl OfferConfig {
    /// An offer of chat answers by the backend's default model.
    #[must_use]
    pub fn chat(workload: &str, ask: &str, slots: u32) -> Self {
        let (workload, ask, model) = (workload.to_owned(), ask.to_owned(), MODEL.to_owned());
        Self { workload, ask, slots, model, endpoint: Endpoint::Chat }
    }

    /// An offer of images by the backend's default model.
    #[must_use]
    pub fn images(workload: &str, ask: &str, slots: u32) -> Self {
        Self { endpoint: Endpoint::Images, ..Self::chat(workload, ask, slots) }
    }

    /// As the coordinator hears it.
    pub(crate) fn to_offer(&self) -> Offer {
        let models = (self.model != MODEL).then(|| self.model.clone()).into_iter().collect();
        Offer { workload: self.workload.clone(), ask: self.ask.clone(), slots: self.slots, models }
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
         (`island example-config` prints one with comments), save it as island.toml and start with \
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
        let file: File = toml::from_str(text)?;
        let mut backends = Vec::with_capacity(file.backend.len());
        for (number, backend) in file.backend.into_iter().enumerate() {
            backends.push(backend.into_config(number)?);
        }
        let config = Self {
            coordinator: file.coordinator.unwrap_or_default(),
            token: file.token.unwrap_or_default(),
            region: file.region,
            gpu_model: file.gpu_model,
            gpu_vram_mb: file.gpu_vram_mb,
            backends,
        };
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
            return Err(ConfigError::value("token", "is missing: the Island's token, from its page"));
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
    let mut seen = HashSet::new();
    for (number, backend) in backends.iter().enumerate() {
        for (position, offer) in backend.offers.iter().enumerate() {
            let prefix = format!("backend[{number}].offer[{position}]");
            check_offer(&prefix, offer)?;
            if !seen.insert(&offer.workload) {
                let problem = format!("offers {:?} a second time", offer.workload);
                return Err(ConfigError::value(format!("{prefix}.workload"), problem));
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
    if offer.model.is_empty() || offer.model.len() > MAX_NAME_BYTES {
        return wrong("model", "must be a name the backend knows".to_owned());
    }
    Ok(())
}

/// The file as written. Flat, so that an unknown key is reported with its line.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    coordinator: Option<String>,
    token: Option<Secret>,
    region: Option<String>,
    gpu_model: Option<String>,
    gpu_vram_mb: Option<u32>,
    #[serde(default)]
    backend: Vec<FileBackend>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileBackend {
    kind: FileKind,
    base_url: Option<String>,
    api_key: Option<Secret>,
    request_timeout_secs: Option<u64>,
    delay_ms: Option<u64>,
    #[serde(default)]
    offer: Vec<FileOffer>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum FileKind {
    OpenAi,
    Demo,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileOffer {
    workload: String,
    ask: String,
    slots: u32,
    model: Option<String>,
    #[serde(default)]
    endpoint: Endpoint,
}

impl FileBackend {
    fn into_config(self, number: usize) -> Result<BackendConfig, ConfigError> {
        let key = |name: &str| format!("backend[{number}].{name}");
        let foreign = match self.kind {
            FileKind::OpenAi => [("delay_ms", self.delay_ms.is_some()), ("", false), ("", false)],
            FileKind::Demo => [
                ("base_url", self.base_url.is_some()),
                ("api_key", self.api_key.is_some()),
                ("request_timeout_secs", self.request_timeout_secs.is_some()),
            ],
        };
        if let Some((name, _)) = foreign.into_iter().find(|(_, present)| *present) {
            return Err(ConfigError::value(key(name), "does not belong to this kind of backend"));
        }
        let kind = match self.kind {
            FileKind::OpenAi => BackendKind::OpenAi {
                base_url: self.base_url.ok_or_else(|| {
                    ConfigError::value(key("base_url"), "is missing: the backend's address")
                })?,
                api_key: self.api_key,
                request_timeout_secs: self.request_timeout_secs.unwrap_or(REQUEST_TIMEOUT_SECS),
            },
            FileKind::Demo => BackendKind::Demo { delay_ms: self.delay_ms.unwrap_or(DEMO_DELAY_MS) },
        };
        if self.offer.is_empty() {
            return Err(ConfigError::value(key("offer"), "is missing: what this backend serves"));
        }
        Ok(BackendConfig { kind, offers: self.offer.into_iter().map(FileOffer::into_config).collect() })
    }
}

impl FileOffer {
    fn into_config(self) -> OfferConfig {
        let Self { workload, ask, slots, model, endpoint } = self;
        OfferConfig { workload, ask, slots, model: model.unwrap_or_else(|| MODEL.to_owned()), endpoint }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_is_a_whole_configuration() {
        let config = Config::from_toml(EXAMPLE).unwrap();
        config.check().unwrap();
        assert_eq!(config.backends.len(), 2);
        assert_eq!(config.backends[0].offers[0].workload, "llm-chat");
        assert!(matches!(config.backends[1].kind, BackendKind::Demo { delay_ms: 30 }));
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
            (format!("{demo}{offer}model = \"\""), "`backend[0].offer[0].model` must be"),
            (format!("{demo}{offer}endpoint = \"audio\""), "unknown variant `audio`"),
            (
                format!("{demo}{offer}{demo}{offer}"),
                "`backend[1].offer[0].workload` offers \"a\" a second time",
            ),
        ];
        for (text, expected) in cases {
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
