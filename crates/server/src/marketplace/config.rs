//! `[[workloads]]`: the Cargos of a network.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};
use types::money::MicroCredits;

use super::measure::Measure;
use crate::config::{ConfigError, check_slug};
use crate::jobs::input::{MAX_IMAGE_SIDE, MAX_STEPS, MAX_TOKENS};

/// Prompt tokens cost this share of the ask, in percent, unless the Cargo says otherwise.
const PROMPT_PERCENT: u32 = 25;
/// Bytes that count as a token, unless the Cargo says otherwise.
const BYTES_PER_TOKEN: u32 = 4;
/// Tokens of an answer when the job does not say how many it wants, unless the Cargo says otherwise.
const ANSWER_TOKENS: u32 = 1024;
/// Most further names of a Cargo.
const MAX_ALIASES: usize = 32;
/// Side of the image that is one unit, in pixels, and the steps it takes, unless the Cargo says otherwise.
const BASE_SIDE: u32 = 1024;
const BASE_STEPS: u32 = 30;

/// One of `[[workloads]]`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "config.default.toml explains each key")]
pub struct WorkloadConfig {
    pub slug: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<String>,
    pub name: String,
    pub description: String,
    pub kind: WorkloadKind,
    pub ceiling: String,
    #[serde(default)]
    pub unit: Unit,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt_percent: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_per_token: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer_tokens: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_side: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_steps: Option<u32>,
    #[serde(default)]
    pub required_vram_mb: Option<u32>,
    #[serde(default)]
    pub required_ram_mb: Option<u32>,
}

/// What a Cargo takes and gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WorkloadKind {
    /// Messages in, text out.
    Chat,
    /// A description in, a picture out.
    Image,
    /// Texts in, a vector of numbers for each out.
    Embedding,
}

/// What an ask is the price of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Unit {
    /// A request, whatever it takes.
    #[default]
    #[serde(rename = "request")]
    Request,
    /// A thousand tokens of the answer; those of the prompt cost a part of that.
    #[serde(rename = "1k_tokens")]
    ThousandTokens,
    /// An image of the usual size and steps.
    #[serde(rename = "image")]
    Image,
}

impl Unit {
    /// As configured and as written in the API.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::ThousandTokens => "1k_tokens",
            Self::Image => "image",
        }
    }
}

impl WorkloadConfig {
    /// How its jobs are measured.
    #[must_use]
    pub fn measure(&self) -> Measure {
        match self.unit {
            Unit::Request => Measure::Request,
            Unit::ThousandTokens => Measure::Tokens {
                prompt_percent: self.prompt_percent.unwrap_or(self.usual_prompt_percent()).into(),
                bytes_per_token: self.bytes_per_token.unwrap_or(BYTES_PER_TOKEN).max(1).into(),
                answer_tokens: self.answer_tokens.unwrap_or(ANSWER_TOKENS).into(),
            },
            Unit::Image => {
                let side = i64::from(self.base_side.unwrap_or(BASE_SIDE).max(1));
                Measure::Image {
                    pixels: side * side,
                    steps: self.base_steps.unwrap_or(BASE_STEPS).max(1).into(),
                }
            }
        }
    }

    /// Where there is no answer of text, the texts that come in are what is paid for.
    const fn usual_prompt_percent(&self) -> u32 {
        match self.kind {
            WorkloadKind::Embedding => 100,
            WorkloadKind::Chat | WorkloadKind::Image => PROMPT_PERCENT,
        }
    }

    /// Whether it can be used.
    ///
    /// # Errors
    /// A [`ConfigError`] naming the key.
    pub fn check(&self) -> Result<(), ConfigError> {
        check_slug("workloads", &self.slug)?;
        let refuse = |what: &str| Err(ConfigError(format!("workloads.{}.{what}", self.slug)));
        for alias in &self.aliases {
            check_slug(&format!("workloads.{}.aliases", self.slug), alias)?;
        }
        if self.aliases.len() > MAX_ALIASES {
            return refuse(&format!("aliases must be at most {MAX_ALIASES}"));
        }
        // Existing clients cut names at 28 bytes and break inside a longer character.
        if !self.name.is_ascii() {
            return refuse("name must be ASCII: existing clients cut it by bytes");
        }
        if !self.ceiling.parse::<MicroCredits>().is_ok_and(MicroCredits::is_positive) {
            return refuse("ceiling must be credits above 0");
        }
        let fits = match self.unit {
            Unit::Request => true,
            Unit::ThousandTokens => self.kind != WorkloadKind::Image,
            Unit::Image => self.kind == WorkloadKind::Image,
        };
        if !fits {
            return refuse(
                "unit must be \"request\", or \"1k_tokens\" for kind = \"chat\" or \"embedding\", or \"image\" for kind = \"image\"",
            );
        }
        let most = |limit: i64| u32::try_from(limit).unwrap_or(u32::MAX);
        for (name, value, unit, most) in [
            ("prompt_percent", self.prompt_percent, Unit::ThousandTokens, 1000),
            ("bytes_per_token", self.bytes_per_token, Unit::ThousandTokens, 64),
            ("answer_tokens", self.answer_tokens, Unit::ThousandTokens, most(MAX_TOKENS)),
            ("base_side", self.base_side, Unit::Image, most(MAX_IMAGE_SIDE)),
            ("base_steps", self.base_steps, Unit::Image, most(MAX_STEPS)),
        ] {
            let Some(value) = value else { continue };
            if self.unit != unit {
                return refuse(&format!("{name} means something only with unit = \"{}\"", unit.name()));
            }
            // A prompt may be free; nothing else may be nothing.
            if value > most || (value == 0 && name != "prompt_percent") {
                return refuse(&format!(
                    "{name} must be at most {most}, and above 0 (prompt_percent may be 0)"
                ));
            }
        }
        Ok(())
    }
}

/// Whether each slug and each further name is one Cargo's.
///
/// # Errors
/// A [`ConfigError`] naming the one that is not.
pub fn check_names(workloads: &[WorkloadConfig]) -> Result<(), ConfigError> {
    let mut seen = HashSet::new();
    let mut names = workloads.iter().flat_map(|one| std::iter::once(&one.slug).chain(&one.aliases));
    match names.find(|name| !seen.insert(name.as_str())) {
        Some(name) => Err(ConfigError(format!("workloads: {name:?} can be the name of one Cargo only"))),
        None => Ok(()),
    }
}
