//! Checks a receipt without us: its signature, and that what it says fits together. Made for `archipelago verify-receipt`,
//! which needs neither a server nor a database.

use serde_json::Value;
use types::money::MicroCredits;
use types::units::Units;

use super::keys;
use crate::marketplace::measure;

/// What is wrong with a receipt, one sentence each; nothing if nothing is.
pub type Faults = Vec<String>;

/// What was found.
#[derive(Clone, Debug)]
pub struct Checked {
    /// Which key signed it.
    pub key_id: String,
    /// That key, in base64.
    pub public_key: String,
    /// Whether that is one of the keys that were said to be trusted; nothing if none were.
    pub trusted: Option<bool>,
    /// Whether every ask that came before a chosen one is listed, so that the whole match can be seen.
    pub all_asks: bool,
    /// What it says: the job, what was charged.
    pub summary: String,
    /// What is wrong.
    pub faults: Faults,
}

/// Checks a receipt as it was downloaded. `trusted`: the public keys of the network, in base64, got from elsewhere.
///
/// # Errors
/// A sentence if it is no receipt at all.
pub fn check(text: &str, trusted: &[String]) -> Result<Checked, String> {
    let file: Value = serde_json::from_str(text).map_err(|error| format!("this is no JSON: {error}"))?;
    // As the API answers it, or as it was saved from there.
    let file = file.get("data").unwrap_or(&file);
    let (Some(receipt), Some(signature)) = (file.get("receipt"), file.get("signature")) else {
        return Err("this is no receipt of a job: it needs the fields receipt and signature".to_owned());
    };
    if receipt["version"] != 1 {
        return Err("this receipt has a version that is not known here; please update".to_owned());
    }
    let text_of = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let public_key = text_of(&signature["public_key"]);
    let mut faults = Faults::new();
    if signature["algorithm"] != "Ed25519" {
        faults.push("The signature is of a kind that is not known here.".to_owned());
    }
    if !keys::verify(receipt, &public_key, &text_of(&signature["value"])) {
        faults.push("The signature does not fit: the receipt was changed after it was signed.".to_owned());
    }
    let known = (!trusted.is_empty()).then(|| trusted.contains(&public_key));
    if known == Some(false) {
        faults.push("It was signed with a key that is none of those given.".to_owned());
    }
    faults.extend(sums(receipt));
    for attempt in receipt["attempts"].as_array().into_iter().flatten() {
        faults.extend(
            the_match(attempt, receipt)
                .into_iter()
                .map(|fault| format!("Attempt {}: {fault}", attempt["number"])),
        );
    }
    let attempts = receipt["attempts"].as_array();
    let all_asks = attempts.into_iter().flatten().all(|attempt| attempt["asks_considered_all"] == true);
    let charged = receipt.get("charge").map(|charge| format!(", charged {} credits", text_of(charge)));
    let summary = format!(
        "job {} at {}: {}{}",
        text_of(&receipt["job_id"]),
        text_of(&receipt["network"]),
        text_of(&receipt["status"]),
        charged.unwrap_or_default()
    );
    Ok(Checked { key_id: keys::key_id(&public_key), public_key, trusted: known, all_asks, summary, faults })
}

fn amount(value: &Value) -> Option<MicroCredits> {
    MicroCredits::parse_decimal(value.as_str()?).ok()
}

/// Amounts that must fit together (I5, I8).
fn sums(receipt: &Value) -> Faults {
    let mut faults = Faults::new();
    let mut total = MicroCredits::ZERO;
    for attempt in receipt["attempts"].as_array().into_iter().flatten() {
        let number = &attempt["number"];
        let [Some(hold), Some(charge), Some(fee), Some(earned), Some(price), Some(most)] =
            ["hold", "charge", "fee", "island_earned", "clearing_price", "max_units"]
                .map(|name| amount(&attempt[name]))
        else {
            faults.push(format!("Attempt {number}: an amount cannot be read."));
            continue;
        };
        let own = attempt["own_island"] == true;
        if charge > hold {
            faults.push(format!("Attempt {number}: {charge} was charged, but only {hold} was held."));
        }
        if earned.plus(fee) != Ok(charge) {
            faults.push(format!(
                "Attempt {number}: {earned} earned and {fee} fee are not the {charge} charged."
            ));
        }
        if !own && Units::from_parts(most.get() / 10).cost(price) != Some(hold) {
            faults.push(format!("Attempt {number}: {hold} is not what {most} units cost at {price}."));
        }
        if let Some(bid) = amount(&receipt["bid"]["total"]).filter(|bid| hold > *bid) {
            faults.push(format!("Attempt {number}: {hold} was held, above the bid of {bid}."));
        }
        if attempt["state"] == "settled" {
            let units =
                amount(&receipt["units"]).map_or(Units::ZERO, |units| Units::from_parts(units.get() / 10));
            if measure::cost(units, price, hold) != charge {
                faults.push(format!(
                    "Attempt {number}: {charge} is not what the units charged for cost at {price}."
                ));
            }
        }
        total = total.plus(charge).unwrap_or(total);
    }
    if receipt.get("charge").is_some_and(|charge| amount(charge) != Some(total)) {
        faults.push("The charge of the job is not that of its attempts.".to_owned());
    }
    faults
}

/// Nothing cheaper was eligible (I10): every ask before the chosen one has a reason, and none after it is named.
fn the_match(attempt: &Value, receipt: &Value) -> Faults {
    let Some(asks) = attempt["asks_considered"].as_array().filter(|asks| !asks.is_empty()) else {
        return Faults::new();
    };
    let mut faults = Faults::new();
    let chosen: Vec<usize> = (0..asks.len()).filter(|&index| asks[index]["verdict"] == "chosen").collect();
    if chosen != [asks.len() - 1] {
        faults.push("the chosen ask is not the last of those considered.".to_owned());
        return faults;
    }
    let last = &asks[asks.len() - 1];
    if last["island_id"] != attempt["island_id"] || last["ask"] != attempt["clearing_price"] {
        faults.push("it did not go to the Island, or not at the price, that was chosen.".to_owned());
    }
    let price = amount(&last["ask"]);
    for ask in asks {
        // Islands of last resort may ask for less and come after all others.
        if amount(&ask["ask"]) > price && ask["verdict"] != "last_resort" {
            faults.push(format!("the ask of {} is above the chosen one, and before it.", ask["ask"]));
        }
        if ask["verdict"] == "above_bid" {
            faults.push("an ask above the bid is before the chosen one.".to_owned());
        }
    }
    if let Some(bid) = amount(&receipt["bid"]["per_unit"])
        && price > Some(bid)
    {
        faults.push("the clearing price is above the bid.".to_owned());
    }
    faults
}
