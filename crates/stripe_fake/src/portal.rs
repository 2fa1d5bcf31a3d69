//! The billing portal.

use serde_json::{Value, json};

use crate::params::Params;
use crate::state::{Answer, State};

pub(crate) fn create(s: &mut State, p: &Params) -> Answer {
    let customer = s.get_for("customer", p.need("customer")?, "customer")?;
    let id = s.id("bps_");
    let session = json!({
        "url": format!("{}/p/session/{id}", s.base),
        "id": id,
        "object": "billing_portal.session",
        "configuration": s.id("bpc_"),
        "created": s.now(),
        "customer": customer["id"],
        "flow": Value::Null,
        "livemode": false,
        "locale": p.json("locale"),
        "on_behalf_of": Value::Null,
        "return_url": p.json("return_url"),
    });
    s.put(&session);
    Ok(session)
}
