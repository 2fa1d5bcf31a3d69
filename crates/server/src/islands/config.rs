//! `[islands]` of the configuration.

use serde::{Deserialize, Serialize};

use crate::config::ConfigError;

/// `[islands]`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "config.default.toml explains each key")]
pub struct Islands {
    pub heartbeat_secs: u32,
    pub lease_secs: u32,
    pub approval: Approval,
    pub connects_per_minute: u32,
    pub messages_per_second: u32,
    pub offline_alert_secs: u32,
}

/// Who may offer Cargos.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Approval {
    /// Every Island that connects.
    Open,
    /// Those the operator approved.
    Required,
}

impl Islands {
    /// Whether it makes sense.
    ///
    /// # Errors
    /// A [`ConfigError`] naming the key.
    pub fn check(&self) -> Result<(), ConfigError> {
        let refuse = |text: &str| Err(ConfigError(text.to_owned()));
        if self.heartbeat_secs == 0 || self.lease_secs < self.heartbeat_secs {
            return refuse(
                "islands.lease_secs must be at least islands.heartbeat_secs, which must be at least 1",
            );
        }
        if self.connects_per_minute == 0 || self.messages_per_second == 0 {
            return refuse("islands.connects_per_minute and islands.messages_per_second must be at least 1");
        }
        Ok(())
    }
}
