//! The pages Stripe would show to people: plain, with a button for everything that can happen.

use axum::body::Body;
use axum::http::{Method, Response, StatusCode};
use serde_json::Value;

use crate::card::Card;
use crate::state::{Answer, State, int, text, yes};
use crate::{StripeFake, accounts, checkout, identity, intents, methods};

/// What a browser gets.
enum Page {
    Html(String),
    Redirect(String),
    Missing(String),
}

/// Answers a browser.
pub(crate) fn answer(fake: &StripeFake, method: &Method, path: &str, form: &Value) -> Response<Body> {
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    let state = &mut *fake.lock();
    checkout::expire_due(state);
    let form = (*method == Method::POST).then_some(form);
    let page = match *parts {
        ["c", "pay", id] => pay(state, id, form),
        ["identity", id] => verify(state, id, form),
        ["p", "session", id] => portal(state, id, form),
        ["setup", "e", _, id] => onboard(state, id, form),
        ["express", id] => {
            Ok(titled("Express", &format!("<p>The dashboard of <code>{}</code></p>", escape(id))))
        }
        ["3ds", id] => authenticate(state, id, form),
        ["receipts", id] => receipt(state, id),
        _ => Ok(Page::Missing("There is no such page.".to_owned())),
    };
    match page {
        Ok(page) => respond(page),
        Err(message) => respond(Page::Missing(message)),
    }
}

fn respond(page: Page) -> Response<Body> {
    let builder = Response::builder();
    let response = match page {
        Page::Html(html) => builder.header("content-type", "text/html; charset=utf-8").body(Body::from(html)),
        Page::Redirect(to) => {
            builder.status(StatusCode::SEE_OTHER).header("location", to).body(Body::empty())
        }
        Page::Missing(message) => builder
            .status(StatusCode::NOT_FOUND)
            .header("content-type", "text/html; charset=utf-8")
            .body(Body::from(html("Something went wrong", &format!("<p>{}</p>", escape(&message))))),
    };
    response.unwrap_or_else(|_| Response::new(Body::empty()))
}

fn html(title: &str, body: &str) -> String {
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title} - fake Stripe</title>\
         <meta name=\"viewport\" content=\"width=device-width\"></head><body><main><h1>{title}</h1>{body}</main></body></html>"
    )
}

fn titled(title: &str, body: &str) -> Page {
    Page::Html(html(title, body))
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn button(action: &str, label: &str) -> String {
    format!("<button name=\"action\" value=\"{action}\">{label}</button> ")
}

fn money(object: &Value, field: &str) -> String {
    let cents = int(object, field);
    format!("{}.{:02} {}", cents / 100, cents % 100, escape(&text(object, "currency").to_uppercase()))
}

/// What went wrong, for a person.
fn told(answer: Answer) -> Result<Value, String> {
    answer.map_err(|error| error.body.get("message").and_then(Value::as_str).unwrap_or_default().to_owned())
}

fn pay(s: &mut State, id: &str, form: Option<&Value>) -> Result<Page, String> {
    let session = told(s.get("checkout.session", id))?;
    let success = text(&session, "success_url").replace("{CHECKOUT_SESSION_ID}", id);
    let cancel = text(&session, "cancel_url").to_owned();
    match text(&session, "status") {
        "complete" => {
            let body = format!("<p>You have paid.</p><p><a href=\"{}\">Back</a></p>", escape(&success));
            return Ok(titled("Thank you", &body));
        }
        "expired" => {
            let body =
                format!("<p>This checkout has expired.</p><p><a href=\"{}\">Back</a></p>", escape(&cancel));
            return Ok(titled("Expired", &body));
        }
        _ => {}
    }
    let mut note = "";
    match form.map(|form| text(form, "action")) {
        Some("cancel") => return Ok(Page::Redirect(cancel)),
        Some("decline") => {
            told(checkout::pay(s, id, &Card::declined("generic_decline")))?;
            note = "<p role=\"alert\">Your card was declined.</p>";
        }
        Some(action) => {
            let card = if action == "later" { Card::Delayed } else { Card::Ok };
            told(checkout::pay(s, id, &card))?;
            return Ok(Page::Redirect(success));
        }
        None => {}
    }
    let lines = s.hidden.get(&(id.to_owned(), "line_items")).and_then(Value::as_array);
    let lines: String = lines
        .into_iter()
        .flatten()
        .map(|line| {
            format!(
                "<li>{} × {}: {}</li>",
                int(line, "quantity"),
                escape(text(line, "description")),
                money(line, "amount_total")
            )
        })
        .collect();
    let body = format!(
        "{note}<ul>{lines}</ul><p>Total <strong>{}</strong></p><form method=\"post\">{}{}{}{}</form>",
        money(&session, "amount_total"),
        button("pay", "Pay"),
        button("decline", "Decline"),
        button("later", "Pay later"),
        button("cancel", "Cancel"),
    );
    Ok(titled("Checkout", &body))
}

fn verify(s: &mut State, id: &str, form: Option<&Value>) -> Result<Page, String> {
    let session = told(s.get("identity.verification_session", id))?;
    let back = s.hidden.get(&(id.to_owned(), "return_url")).and_then(Value::as_str).unwrap_or("/").to_owned();
    if text(&session, "status") != "requires_input" {
        let body =
            format!("<p>There is nothing left to do.</p><p><a href=\"{}\">Back</a></p>", escape(&back));
        return Ok(titled("Identity", &body));
    }
    let Some(form) = form else {
        let body = format!(
            "<form method=\"post\"><p><label>First name <input name=\"first_name\" value=\"Jenny\"></label></p>\
             <p><label>Last name <input name=\"last_name\" value=\"Rosen\"></label></p>\
             <p><label>Country <input name=\"country\" value=\"US\"></label></p>{}{}{}{}</form>",
            button("verify", "Verify"),
            button("reject", "Reject"),
            button("process", "Submit for review"),
            button("leave", "Leave"),
        );
        return Ok(titled("Identity", &body));
    };
    let given = |name: &str, other: &str| form[name].as_str().unwrap_or(other).to_owned();
    match text(form, "action") {
        "verify" => {
            let (first, last) = (given("first_name", "Jenny"), given("last_name", "Rosen"));
            told(identity::process(s, id))?;
            told(identity::verify(s, id, &first, &last, &given("country", "US")))?;
        }
        "reject" => {
            told(identity::process(s, id))?;
            let reason = "The document could not be verified.";
            told(identity::reject(s, id, "document_unverified_other", reason))?;
        }
        "process" => {
            told(identity::process(s, id))?;
        }
        _ => {}
    }
    Ok(Page::Redirect(back))
}

fn portal(s: &mut State, id: &str, form: Option<&Value>) -> Result<Page, String> {
    let session = told(s.get("billing_portal.session", id))?;
    if let Some(method) = form.map(|form| text(form, "method")).filter(|method| !method.is_empty()) {
        told(methods::detach(s, method))?;
    }
    let customer = text(&session, "customer");
    let cards: String = s
        .all("payment_method")
        .iter()
        .filter(|method| text(method, "customer") == customer)
        .map(|method| {
            let (id, last4) = (text(method, "id"), text(&method["card"], "last4"));
            format!("<li>Card •••• {last4} <button name=\"method\" value=\"{id}\">Remove</button></li>")
        })
        .collect();
    let back = session["return_url"].as_str().unwrap_or("/");
    let body = format!(
        "<form method=\"post\"><ul>{cards}</ul></form><p><a href=\"{}\">Return</a></p>",
        escape(back)
    );
    Ok(titled("Billing", &body))
}

fn onboard(s: &mut State, id: &str, form: Option<&Value>) -> Result<Page, String> {
    let key = (id.to_owned(), "account_link");
    let link = s.hidden.get(&key).cloned().ok_or("There is no such link.")?;
    if int(&link, "expires_at") <= s.now() || yes(&link, "used") {
        return Ok(Page::Redirect(text(&link, "refresh_url").to_owned()));
    }
    let Some(form) = form else {
        let body = format!(
            "<form method=\"post\">{}{}</form>",
            button("onboard", "Onboard"),
            button("leave", "Leave")
        );
        return Ok(titled("Account", &body));
    };
    if text(form, "action") == "onboard" {
        told(accounts::onboard(s, text(&link, "account")))?;
    }
    let back = text(&link, "return_url").to_owned();
    let mut used = link;
    used["used"] = Value::Bool(true);
    s.hidden.insert(key, used);
    Ok(Page::Redirect(back))
}

fn authenticate(s: &mut State, id: &str, form: Option<&Value>) -> Result<Page, String> {
    let Some(form) = form else {
        let body = format!(
            "<form method=\"post\">{}{}</form>",
            button("agree", "Complete"),
            button("refuse", "Fail")
        );
        return Ok(titled("3D Secure", &body));
    };
    told(intents::authenticate(s, id, text(form, "action") == "agree"))?;
    Ok(titled("3D Secure", "<p>Done.</p>"))
}

fn receipt(s: &State, id: &str) -> Result<Page, String> {
    let charge = told(s.get("charge", id))?;
    Ok(titled("Receipt", &format!("<p>{}</p>", money(&charge, "amount"))))
}
