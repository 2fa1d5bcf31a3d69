//! The configuration as it is written. Flat, so that an unknown key is reported with its line.

use serde::Deserialize;
use types::money::MicroCredits;

use super::{
    BackendConfig, BackendKind, Config, ConfigError, Cost, DEMO_DELAY_MS, Endpoint, Models, OfferConfig,
    REQUEST_TIMEOUT_SECS, Schedule, Secret, Unit, Zone,
};

/// Credits in a dollar.
const CREDITS_PER_DOLLAR: i64 = 100;
/// The most watts that are believed, and the highest margin.
const MAX_WATTS: u32 = 1_000_000;
const MAX_MARGIN_PERCENT: u32 = 100_000;
/// A dearer kilowatt-hour is a slip of the pen, in dollars.
const MAX_DOLLARS_PER_KWH: i64 = 1000;

/// Reads the text.
pub(super) fn read(text: &str) -> Result<Config, ConfigError> {
    let file: File = toml::from_str(text)?;
    let mut backends = Vec::with_capacity(file.backend.len());
    for (number, backend) in file.backend.into_iter().enumerate() {
        backends.push(backend.into_config(number)?);
    }
    let timezone = file.timezone.map_or(Ok(Zone::Local), |zone| Zone::parse(&zone));
    Ok(Config {
        coordinator: file.coordinator.unwrap_or_default(),
        token: file.token.unwrap_or_default(),
        region: file.region,
        gpu_model: file.gpu_model,
        gpu_vram_mb: file.gpu_vram_mb,
        backends,
        schedule: schedule("schedule", file.schedule)?,
        timezone: timezone.map_err(|problem| ConfigError::value("timezone", problem))?,
        cost: file.cost.map(FileCost::into_cost).transpose()?,
    })
}

fn schedule(key: &str, windows: Option<Vec<String>>) -> Result<Option<Schedule>, ConfigError> {
    let parsed = windows.map(|windows| Schedule::parse(&windows)).transpose();
    parsed.map_err(|problem| ConfigError::value(key, problem))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    coordinator: Option<String>,
    token: Option<Secret>,
    region: Option<String>,
    gpu_model: Option<String>,
    gpu_vram_mb: Option<u32>,
    schedule: Option<Vec<String>>,
    timezone: Option<String>,
    cost: Option<FileCost>,
    #[serde(default)]
    backend: Vec<FileBackend>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileCost {
    electricity_per_kwh: Decimal,
    watts: u32,
    #[serde(default)]
    margin_percent: u32,
}

/// A decimal number, with or without quotes. A float is only ever written out again, which gives back the digits
/// that were read.
#[derive(Deserialize)]
#[serde(untagged)]
enum Decimal {
    Text(String),
    Whole(i64),
    Number(f64),
}

impl FileCost {
    fn into_cost(self) -> Result<Cost, ConfigError> {
        let text = match self.electricity_per_kwh {
            Decimal::Text(text) => text,
            Decimal::Whole(number) => number.to_string(),
            Decimal::Number(number) => number.to_string(),
        };
        let credits = MicroCredits::parse_decimal(&text).ok().and_then(|dollars| {
            let most = MAX_DOLLARS_PER_KWH * types::money::MICROS_PER_CREDIT;
            (0..=most).contains(&dollars.get()).then(|| dollars.get() * CREDITS_PER_DOLLAR)
        });
        let per_kwh = credits.map(MicroCredits::new).ok_or_else(|| {
            ConfigError::value(
                "cost.electricity_per_kwh",
                "must be dollars for a kilowatt-hour, such as 0.30",
            )
        })?;
        if !(1..=MAX_WATTS).contains(&self.watts) {
            return Err(ConfigError::value("cost.watts", format!("must be between 1 and {MAX_WATTS}")));
        }
        if self.margin_percent > MAX_MARGIN_PERCENT {
            let problem = format!("must be at most {MAX_MARGIN_PERCENT}");
            return Err(ConfigError::value("cost.margin_percent", problem));
        }
        Ok(Cost { per_kwh, watts: self.watts, margin_percent: self.margin_percent })
    }
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
    models: Option<FileModels>,
    #[serde(default)]
    endpoint: Endpoint,
    unit: Option<Unit>,
    schedule: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum FileModels {
    Word(String),
    List(Vec<String>),
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
        let has_list = matches!(kind, BackendKind::OpenAi { .. });
        let offers = self.offer.into_iter().enumerate();
        let offers = offers.map(|(position, offer)| {
            offer.into_config(&format!("backend[{number}].offer[{position}]"), has_list)
        });
        Ok(BackendConfig { kind, offers: offers.collect::<Result<_, _>>()? })
    }
}

impl FileOffer {
    fn into_config(self, prefix: &str, has_list: bool) -> Result<OfferConfig, ConfigError> {
        let Self { workload, ask, slots, model, models, endpoint, unit, schedule: windows } = self;
        let wrong = |key: &str, problem: &str| ConfigError::value(format!("{prefix}.{key}"), problem);
        let models = match (model, models) {
            (Some(_), Some(_)) => return Err(wrong("model", "and `models` say the same; write one of them")),
            (None, None) => Models::Named(Vec::new()),
            // What was written when there was one model only.
            (Some(model), None) => Models::Named(vec![model]),
            (None, Some(FileModels::List(names))) if names.is_empty() => {
                return Err(wrong("models", "is empty; leave it away if the backend has one model only"));
            }
            (None, Some(FileModels::List(names))) => Models::Named(names),
            (None, Some(FileModels::Word(word))) => {
                let pattern = match word.as_str() {
                    "discover" => "*",
                    word if word.contains('*') => word,
                    _ => {
                        let problem = "must be a list such as [\"llama3.1:8b\"], \"discover\", or a pattern such as \"llama*\"";
                        return Err(wrong("models", problem));
                    }
                };
                if !has_list {
                    return Err(wrong("models", "cannot be discovered on this kind of backend"));
                }
                Models::Discover(pattern.to_owned())
            }
        };
        let schedule = schedule(&format!("{prefix}.schedule"), windows)?;
        let unit = unit.unwrap_or(Unit::Request);
        Ok(OfferConfig { workload, ask, slots, models, endpoint, unit, schedule })
    }
}
