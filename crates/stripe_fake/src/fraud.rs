//! Early fraud warnings.

use serde_json::json;

use crate::lists;
use crate::params::Params;
use crate::state::{Answer, State};

/// A new warning about a charge, with its event.
pub(crate) fn make(s: &mut State, charge: &str) -> Answer {
    let charge = s.get("charge", charge)?;
    let warning = json!({
        "id": s.id("issfr_"),
        "object": "radar.early_fraud_warning",
        "actionable": true,
        "charge": charge["id"],
        "created": s.now(),
        "fraud_type": "made_with_stolen_card",
        "livemode": false,
        "payment_intent": charge["payment_intent"],
    });
    s.put_and_emit(&warning, "radar.early_fraud_warning.created");
    Ok(warning)
}

pub(crate) fn list(s: &State, p: &Params) -> Answer {
    lists::list(
        s,
        p,
        "radar.early_fraud_warning",
        &["charge", "payment_intent"],
        "radar/early_fraud_warnings",
    )
}
