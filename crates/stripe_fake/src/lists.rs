//! Lists, a page at a time, and fields that are expanded into the objects they name.

use serde_json::{Value, json};

use crate::error::ApiError;
use crate::params::{Params, number};
use crate::state::{Answer, State, int, text};

/// A page of `rows` (oldest first), newest first, as the parameters ask.
pub(crate) fn page<'a>(
    rows: impl DoubleEndedIterator<Item = &'a Value>,
    params: &Params,
    url: &str,
) -> Answer {
    let limit = params.int("limit")?.unwrap_or(10);
    if !(1..=100).contains(&limit) {
        let message = "This value must be between 1 and 100.";
        return Err(ApiError::bad("limit", message).code("parameter_invalid_integer"));
    }
    let limit = usize::try_from(limit).unwrap_or(10);
    let bounds = created(params)?;
    let rows: Vec<&Value> =
        rows.rev().filter(|row| bounds.iter().all(|bound| bound.holds(int(row, "created")))).collect();
    let find = |id: &str, param: &str| {
        rows.iter().position(|row| text(row, "id") == id).ok_or_else(|| {
            let kind = rows.first().map_or("object", |row| text(row, "object"));
            ApiError::no_such(kind, id, param)
        })
    };
    let (data, more) = if let Some(last) = params.text("ending_before") {
        let end = find(last, "ending_before")?;
        let start = end.saturating_sub(limit);
        (&rows[start..end], start > 0)
    } else {
        let start = match params.text("starting_after") {
            Some(first) => find(first, "starting_after")? + 1,
            None => 0,
        };
        let end = rows.len().min(start + limit);
        (&rows[start..end], end < rows.len())
    };
    Ok(json!({"object": "list", "data": data, "has_more": more, "url": format!("/v1/{url}")}))
}

/// All objects of a kind whose `fields` are what the parameters of the same names say.
pub(crate) fn list(state: &State, params: &Params, kind: &str, fields: &[&str], url: &str) -> Answer {
    let rows = state.all(kind).iter().filter(|row| {
        !row["deleted"].as_bool().unwrap_or_default()
            && fields.iter().all(|field| params.text(field).is_none_or(|wanted| text(row, field) == wanted))
    });
    page(rows, params, url)
}

/// A short list inside an object.
pub(crate) fn inner(data: &[Value], url: &str) -> Value {
    json!({"object": "list", "data": data, "has_more": false, "total_count": data.len(), "url": url})
}

struct Bound {
    kind: String,
    than: i64,
}

impl Bound {
    fn holds(&self, created: i64) -> bool {
        match self.kind.as_str() {
            "gt" => created > self.than,
            "gte" => created >= self.than,
            "lt" => created < self.than,
            "lte" => created <= self.than,
            _ => created == self.than,
        }
    }
}

fn created(params: &Params) -> Result<Vec<Bound>, ApiError> {
    let given = &params.value["created"];
    if let Some(text) = given.as_str() {
        return Ok(vec![Bound { kind: "is".to_owned(), than: number("created", text)? }]);
    }
    let bounds = given.as_object().into_iter().flatten().map(|(kind, than)| {
        let name = format!("created[{kind}]");
        if !["gt", "gte", "lt", "lte"].contains(&kind.as_str()) {
            let message = format!("Received unknown parameter: {name}");
            return Err(ApiError::bad(&name, message).code("parameter_unknown"));
        }
        Ok(Bound { kind: kind.clone(), than: number(&name, than.as_str().unwrap_or_default())? })
    });
    bounds.collect()
}

/// Expands the fields the parameters name.
pub(crate) fn expand(state: &State, params: &Params, object: &mut Value) -> Result<(), ApiError> {
    let wanted = match &params.value["expand"] {
        Value::Array(paths) => paths.clone(),
        path @ Value::String(_) => vec![path.clone()],
        _ => Vec::new(),
    };
    for path in &wanted {
        let path = path.as_str().unwrap_or_default();
        let steps: Vec<&str> = path.split('.').collect();
        if steps.len() > 4 {
            let message = "You cannot expand more than 4 levels of a property.";
            return Err(ApiError::bad("expand", message));
        }
        expand_path(state, object, &steps, path)?;
    }
    Ok(())
}

fn expand_path(state: &State, object: &mut Value, steps: &[&str], path: &str) -> Result<(), ApiError> {
    let Some((step, rest)) = steps.split_first() else { return Ok(()) };
    if let Value::Array(items) = object {
        return items.iter_mut().try_for_each(|item| expand_path(state, item, steps, path));
    }
    if !object.is_object() {
        return Ok(());
    }
    if object.get(*step).is_none() {
        match on_demand(state, object, step) {
            Some(found) => object[*step] = found,
            None => {
                let message = format!("This property cannot be expanded ({path}).");
                return Err(ApiError::bad("expand", message));
            }
        }
    }
    let field = &mut object[*step];
    if let Some(found) = field.as_str().and_then(|id| state.find_any(id)) {
        *field = found.clone();
    } else if let (Value::Array(items), true) = (&mut *field, rest.is_empty()) {
        for item in items {
            if let Some(found) = item.as_str().and_then(|id| state.find_any(id)) {
                *item = found.clone();
            }
        }
    } else if field.is_string() {
        return Err(ApiError::bad("expand", format!("This property cannot be expanded ({path}).")));
    }
    expand_path(state, field, rest, path)
}

/// What is only there when it is asked for.
fn on_demand(state: &State, object: &Value, field: &str) -> Option<Value> {
    let id = text(object, "id");
    match (text(object, "object"), field) {
        ("charge", "refunds") => {
            let refunds: Vec<Value> = state
                .all("refund")
                .iter()
                .rev()
                .filter(|refund| text(refund, "charge") == id)
                .cloned()
                .collect();
            Some(inner(&refunds, &format!("/v1/charges/{id}/refunds")))
        }
        ("charge", "dispute") => {
            let dispute = state.all("dispute").iter().rev().find(|dispute| text(dispute, "charge") == id);
            Some(dispute.cloned().unwrap_or(Value::Null))
        }
        ("checkout.session", "line_items") => {
            let lines = state.hidden.get(&(id.to_owned(), "line_items"))?.as_array()?;
            Some(inner(lines, &format!("/v1/checkout/sessions/{id}/line_items")))
        }
        ("identity.verification_session", "verified_outputs") => {
            let outputs = state.hidden.get(&(id.to_owned(), "verified_outputs"));
            Some(outputs.cloned().unwrap_or(Value::Null))
        }
        _ => None,
    }
}
