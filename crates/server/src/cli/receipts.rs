//! `archipelago verify-receipt`, and the keys that receipts of jobs are signed with.

use std::path::Path;

use clap::Subcommand;
use serde_json::{Value, json};

use super::admin::Answer;
use super::{CliError, print};
use crate::app::App;
use crate::job_receipts::check::check;
use crate::job_receipts::keys::{self, PublicKey};

/// The keys that receipts of jobs are signed with.
#[derive(Debug, Subcommand)]
pub enum ReceiptKeyCommand {
    /// Show the public keys, the newest first: that one signs.
    List,
    /// Make a new key, which signs from now on. Old ones stay published: what they signed can still be checked.
    Renew,
}

/// `admin receipt-key`.
pub async fn run(app: &App, command: ReceiptKeyCommand) -> Answer {
    if matches!(command, ReceiptKeyCommand::Renew) {
        keys::renew(&app.db, &*app.random, app.clock.now()).await?;
    }
    let keys = keys::published(app).await?;
    let row = |key: &PublicKey| format!("{}  {}  {}", key.id, key.key, key.created_at);
    let text = keys.iter().map(row).collect::<Vec<_>>().join("\n");
    let rows: Vec<Value> = keys
        .iter()
        .map(|key| json!({"key_id": key.id, "public_key": key.key, "created_at": key.created_at.to_string()}))
        .collect();
    Ok((json!({"keys": rows}), text))
}

/// Largest file that can be a receipt, in bytes.
const MAX_BYTES: u64 = 1024 * 1024;

/// Checks a receipt and says what was found.
///
/// # Errors
/// [`CliError::Refused`] when it is no receipt, or not a true one.
pub fn verify(file: &Path, trusted: &[String], as_json: bool) -> Result<(), CliError> {
    let unreadable = |error| CliError::Refused(format!("{} cannot be read: {error}", file.display()));
    if std::fs::metadata(file).map_err(unreadable)?.len() > MAX_BYTES {
        return Err(CliError::Refused(format!("{} is too large to be a receipt", file.display())));
    }
    let text = std::fs::read_to_string(file).map_err(unreadable)?;
    let checked = check(&text, trusted).map_err(CliError::Refused)?;
    let faults = &checked.faults;
    if as_json {
        let body = json!({
            "ok": faults.is_empty(), "key_id": checked.key_id, "public_key": checked.public_key,
            "key_trusted": checked.trusted, "all_asks_listed": checked.all_asks, "faults": faults,
        });
        print(&body.to_string())?;
    } else {
        print(&format!("Receipt of {}", checked.summary))?;
        for fault in faults {
            print(&format!("  WRONG  {fault}"))?;
        }
        if faults.is_empty() {
            print("  ok     The signature fits and the sums are right.")?;
            print(if checked.all_asks {
                "  ok     No cheaper ask was eligible: each that came before the chosen one is listed with its reason."
            } else {
                "  note   Not every ask that came before the chosen one is listed; of those that are, none was eligible."
            })?;
        }
        if checked.trusted.is_none() {
            print(&format!(
                "  note   Signed with {} ({}). Compare that with the network's /api/v1/receipt-keys, or give --key.",
                checked.key_id, checked.public_key
            ))?;
        }
    }
    match faults.len() {
        0 => Ok(()),
        count => Err(CliError::Refused(format!("{count} things are wrong with this receipt"))),
    }
}
