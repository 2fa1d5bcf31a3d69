//! Verification of who somebody is.

use serde_json::{Value, json};

use crate::error::ApiError;
use crate::lists;
use crate::params::Params;
use crate::state::{Answer, State, text};

const KIND: &str = "identity.verification_session";

pub(crate) fn create(s: &mut State, p: &Params) -> Answer {
    let kind = p.text("type").unwrap_or("document");
    if p.text("type").is_none() && p.text("verification_flow").is_none() {
        return Err(ApiError::missing("type"));
    }
    if !["document", "id_number"].contains(&kind) {
        return Err(ApiError::bad("type", "Invalid type: must be one of document or id_number"));
    }
    let metadata = p.metadata()?;
    let id = s.id("vs_");
    let options =
        if p.value["options"].is_object() { p.value["options"].clone() } else { json!({"document": {}}) };
    let session = json!({
        "id": id,
        "object": KIND,
        "client_reference_id": p.json("client_reference_id"),
        "client_secret": format!("{id}_secret_{}", s.letters(24)),
        "created": s.now(),
        "last_error": Value::Null,
        "last_verification_report": Value::Null,
        "livemode": false,
        "metadata": metadata,
        "options": typed(&options),
        "redaction": Value::Null,
        "related_customer": p.json("related_customer"),
        "status": "requires_input",
        "type": kind,
        "url": format!("{}/identity/{id}", s.base),
    });
    let return_url = p.json("return_url");
    s.hidden.insert((id, "return_url"), return_url);
    s.put_and_emit(&session, "identity.verification_session.created");
    Ok(session)
}

/// Options with truth instead of the form's texts.
fn typed(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            Value::Object(map.iter().map(|(name, value)| (name.clone(), typed(value))).collect())
        }
        Value::String(text) if text == "true" => json!(true),
        Value::String(text) if text == "false" => json!(false),
        other => other.clone(),
    }
}

pub(crate) fn list(s: &State, p: &Params) -> Answer {
    lists::list(
        s,
        p,
        KIND,
        &["status", "client_reference_id", "related_customer"],
        "identity/verification_sessions",
    )
}

pub(crate) fn update(s: &mut State, id: &str, p: &Params) -> Answer {
    let mut session = s.get(KIND, id)?;
    require_input(&session, "update")?;
    p.update_metadata(&mut session)?;
    s.put(&session);
    Ok(session)
}

fn require_input(session: &Value, verb: &str) -> Result<(), ApiError> {
    let status = text(session, "status");
    if status == "requires_input" && session["redaction"].is_null() {
        return Ok(());
    }
    let message = format!("You cannot {verb} this VerificationSession because it has a status of {status}.");
    Err(ApiError::refused("", message))
}

pub(crate) fn cancel(s: &mut State, id: &str) -> Answer {
    let mut session = s.get(KIND, id)?;
    require_input(&session, "cancel")?;
    session["status"] = json!("canceled");
    session["url"] = Value::Null;
    session["client_secret"] = Value::Null;
    s.put_and_emit(&session, "identity.verification_session.canceled");
    Ok(session)
}

/// Takes away what is known of the person. The answer says that it is going on; afterwards it is done.
pub(crate) fn redact(s: &mut State, id: &str) -> Answer {
    let mut session = s.get(KIND, id)?;
    if text(&session, "status") == "processing" {
        let message = "You cannot redact this VerificationSession because it has a status of processing.";
        return Err(ApiError::refused("", message));
    }
    if !session["redaction"].is_null() {
        return Ok(session);
    }
    session["url"] = Value::Null;
    session["client_secret"] = Value::Null;
    session["redaction"] = json!({"status": "processing"});
    let now = session.clone();
    session["redaction"] = json!({"status": "redacted"});
    let nobody = person("[redacted]", "[redacted]", "[redacted]", 1);
    if let Some(outputs) = s.hidden.get_mut(&(id.to_owned(), "verified_outputs")) {
        *outputs = nobody.clone();
    }
    if let Some(mut report) =
        s.find("identity.verification_report", text(&session, "last_verification_report")).cloned()
    {
        for (name, value) in nobody.as_object().into_iter().flatten() {
            report["document"][name] = value.clone();
        }
        s.put(&report);
    }
    s.put_and_emit(&session, "identity.verification_session.redacted");
    Ok(now)
}

fn person(first: &str, last: &str, country: &str, number: i64) -> Value {
    json!({
        "address": {"city": Value::Null, "country": country, "line1": Value::Null, "line2": Value::Null,
            "postal_code": Value::Null, "state": Value::Null},
        "dob": {"day": number, "month": number, "year": if number == 1 { 1 } else { 1990 }},
        "first_name": first,
        "id_number": Value::Null,
        "id_number_type": Value::Null,
        "last_name": last,
        "sex": Value::Null,
    })
}

/// The documents are there and are looked at.
pub(crate) fn process(s: &mut State, id: &str) -> Answer {
    let mut session = s.get(KIND, id)?;
    require_input(&session, "submit")?;
    session["status"] = json!("processing");
    session["url"] = Value::Null;
    session["client_secret"] = Value::Null;
    session["last_error"] = Value::Null;
    s.put_and_emit(&session, "identity.verification_session.processing");
    Ok(session)
}

fn undecided(session: &Value) -> Result<(), ApiError> {
    if text(session, "status") == "processing" { Ok(()) } else { require_input(session, "submit") }
}

/// The person is who they say.
pub(crate) fn verify(s: &mut State, id: &str, first: &str, last: &str, country: &str) -> Answer {
    let mut session = s.get(KIND, id)?;
    undecided(&session)?;
    let outputs = person(first, last, country, 2);
    let mut document = outputs.clone();
    document["status"] = json!("verified");
    document["error"] = Value::Null;
    document["issuing_country"] = json!(country);
    document["type"] = json!("passport");
    let report = report(s, &session, &document);
    session["status"] = json!("verified");
    session["url"] = Value::Null;
    session["client_secret"] = Value::Null;
    session["last_error"] = Value::Null;
    session["last_verification_report"] = report;
    s.hidden.insert((id.to_owned(), "verified_outputs"), outputs);
    s.put_and_emit(&session, "identity.verification_session.verified");
    Ok(session)
}

/// The check has failed; the person may try again.
pub(crate) fn reject(s: &mut State, id: &str, code: &str, reason: &str) -> Answer {
    let mut session = s.get(KIND, id)?;
    undecided(&session)?;
    let error = json!({"code": code, "reason": reason});
    let report = report(s, &session, &json!({"status": "unverified", "error": error}));
    session["status"] = json!("requires_input");
    session["last_error"] = error;
    session["last_verification_report"] = report;
    session["url"] = json!(format!("{}/identity/{id}", s.base));
    session["client_secret"] = json!(format!("{id}_secret_{}", s.letters(24)));
    s.put_and_emit(&session, "identity.verification_session.requires_input");
    Ok(session)
}

fn report(s: &mut State, session: &Value, document: &Value) -> Value {
    let report = json!({
        "id": s.id("vr_"),
        "object": "identity.verification_report",
        "client_reference_id": session["client_reference_id"],
        "created": s.now(),
        "document": document,
        "livemode": false,
        "options": session["options"],
        "type": session["type"],
        "verification_session": session["id"],
    });
    s.put(&report);
    report["id"].clone()
}
