//! The reference, rendered once: the operations in their order, with what the OpenAPI document says of them.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use pages::Template;
use pages::docs::{
    AnswerView, BodyView, CodeView, Entry, ErrorTable, FieldView, OperationView, Operations, ParameterView,
    Tabs, inline,
};
use serde_json::Value;

use super::samples::{self, Call};
use super::schema;
use crate::api::operation::document::DOCUMENT;
use crate::api::operation::{Access, Operation, Repeat};
use crate::api::operations;
use crate::error::codes::{self, Code};

/// The operations of one tag.
#[derive(Clone, Debug)]
pub struct Chapter {
    /// The last part of its address.
    pub slug: String,
    /// Its name.
    pub title: &'static str,
    /// What it is about, as markup.
    pub about: String,
    /// Its operations, as markup.
    pub html: String,
    /// Its operations, to be found.
    pub entries: Vec<Entry>,
}

impl Chapter {
    /// Its address.
    pub fn href(&self) -> String {
        format!("/docs/reference/{}", self.slug)
    }

    /// Its operations for the navigation: anchor and words.
    pub fn inside(&self) -> Vec<(String, String)> {
        let anchor = |entry: &Entry| entry.href.split_once('#').map(|(_, anchor)| anchor.to_owned());
        self.entries.iter().filter_map(|entry| Some((anchor(entry)?, entry.title.clone()))).collect()
    }
}

static CHAPTERS: LazyLock<Vec<Chapter>> = LazyLock::new(|| {
    let operations = operations();
    // In the order of the document; a chapter it does not know comes last.
    let told = DOCUMENT["tags"].as_array();
    let place = |tag: &str| told.and_then(|tags| tags.iter().position(|told| told["name"] == tag));
    let mut tags: Vec<&'static str> = Vec::new();
    for operation in &operations {
        if !tags.contains(&operation.tag) {
            tags.push(operation.tag);
        }
    }
    tags.sort_by_key(|tag| place(tag).unwrap_or(usize::MAX));
    let of_tag = |tag| operations.iter().filter(move |operation| operation.tag == tag);
    tags.into_iter().map(|tag| chapter(tag, &of_tag(tag).collect::<Vec<_>>())).collect()
});

/// All chapters, in the order of the documentation.
pub fn chapters() -> &'static [Chapter] {
    &CHAPTERS
}

fn chapter(tag: &'static str, operations: &[&Operation]) -> Chapter {
    let slug = slug(tag);
    let views: Vec<OperationView> = operations.iter().map(|operation| view(operation)).collect();
    let entries = views.iter().map(|view| entry(&slug, tag, view)).collect();
    let told = DOCUMENT["tags"].as_array().into_iter().flatten().find(|told| told["name"] == tag);
    Chapter {
        about: inline(told.and_then(|told| told["description"].as_str()).unwrap_or_default()),
        html: Operations { operations: views }.render().unwrap_or_default(),
        entries,
        title: if tag.is_empty() { "Other" } else { tag },
        slug,
    }
}

fn slug(tag: &str) -> String {
    if tag.is_empty() { "other".to_owned() } else { tag.to_lowercase().replace(' ', "-") }
}

fn entry(slug: &str, tag: &str, view: &OperationView) -> Entry {
    let fields = view.body.iter().flat_map(|body| &body.fields);
    let fields = fields.chain(view.parameters.iter().map(|parameter| &parameter.field));
    let fields = fields.chain(view.answers.iter().flat_map(|answer| &answer.fields));
    let names: BTreeSet<&str> = fields.map(|field| field.name.as_str()).collect();
    let names = names.into_iter().collect::<Vec<_>>().join(" ");
    let codes: Vec<&str> = view.errors.iter().map(|(_, code)| code.as_str()).collect();
    let words = format!(
        "{} {} {} {} {tag} {names} {}",
        view.method,
        view.path,
        view.summary,
        view.name,
        codes.join(" ")
    );
    Entry {
        name: view.name.clone(),
        href: format!("/docs/reference/{slug}#{}", view.name),
        title: view.summary.clone(),
        about: view.path.clone(),
        method: view.method.clone(),
        words: words.to_lowercase(),
        fits: true,
    }
}

fn view(operation: &Operation) -> OperationView {
    let addresses: Vec<String> =
        operation.bases.iter().map(|base| format!("{base}{}", operation.path.replace("{*", "{"))).collect();
    let path = addresses.first().cloned().unwrap_or_default();
    let method = operation.method.as_str().to_owned();
    let described = &DOCUMENT["paths"][&path][method.to_lowercase()];
    let parameters: Vec<ParameterView> =
        described["parameters"].as_array().into_iter().flatten().map(|told| parameter(told, &path)).collect();
    let body = described["requestBody"]["content"].as_object().and_then(|content| content.iter().next());
    let body = body.map(|(media, content)| body_view(media, content));
    let answers = answers(described);
    let needs_key = matches!(operation.access, Access::Read | Access::Write | Access::Manage);
    let call = Call {
        method: &method,
        path: &path,
        needs_key,
        streams: answers.iter().any(|answer| answer.media == "text/event-stream") && operation.body.is_none(),
        binary: answers.first().is_some_and(|answer| answer.media == "application/pdf"),
        body: operation.body.as_ref().and_then(|body| body.example.as_ref()),
        examples: &parameters,
    };
    let panels = samples::all(&call);
    OperationView {
        name: operation.name.to_owned(),
        also: addresses.get(1).cloned(),
        summary: operation.summary.to_owned(),
        about: inline(operation.description),
        access: access(operation.access).to_owned(),
        needs_key,
        repeatable: operation.repeat != Repeat::Plain,
        spends: operation.access == Access::Write && method == "POST",
        samples: Tabs {
            id: format!("{}-example", operation.name),
            label: format!("Example: {}", operation.summary),
            panels,
        }
        .html(),
        can_try: !matches!(operation.access, Access::Island | Access::Signed),
        errors: errors(described),
        method,
        path,
        parameters,
        body,
        answers,
    }
}

const fn access(access: Access) -> &'static str {
    match access {
        Access::Public => "No key needed",
        Access::Read => "Key with the scope read",
        Access::Write => "Key with the scope write",
        Access::Manage => "Key with the scope manage or write",
        Access::Island => "The token of an Island",
        Access::Signed => "Signed by the provider",
    }
}

fn parameter(told: &Value, path: &str) -> ParameterView {
    let text = |name: &str| told[name].as_str().unwrap_or_default().to_owned();
    let name = text("name");
    let about = told["description"].as_str().unwrap_or_default();
    let field = schema::field(&DOCUMENT, &name, &told["schema"], told["required"] == true);
    let field = FieldView { about: if about.is_empty() { field.about } else { inline(about) }, ..field };
    let example = told["example"].as_str().or(told["schema"]["examples"][0].as_str());
    let example = example.map_or_else(|| samples::placeholder(&name, path), str::to_owned);
    let place = text("in");
    let example = if place == "path" { example } else { String::new() };
    ParameterView { choices: schema::choices(&DOCUMENT, &told["schema"]), place, field, example }
}

fn body_view(media: &str, content: &Value) -> BodyView {
    BodyView {
        media: media.to_owned(),
        fields: schema::fields(&DOCUMENT, &content["schema"]),
        example: content.get("example").map(samples::json).unwrap_or_default(),
    }
}

/// The answers that are no errors.
fn answers(described: &Value) -> Vec<AnswerView> {
    let responses = described["responses"].as_object().into_iter().flatten();
    let good = responses.filter(|(status, _)| status.starts_with(['1', '2', '3']));
    good.map(|(status, told)| {
        let content = told["content"].as_object().and_then(|content| content.iter().next());
        AnswerView {
            status: status.clone(),
            about: inline(told["description"].as_str().unwrap_or_default()),
            media: content.map(|(media, _)| media.clone()).unwrap_or_default(),
            fields: content.map(|(_, told)| schema::fields(&DOCUMENT, shape(told))).unwrap_or_default(),
        }
    })
    .collect()
}

/// What a body looks like; of a stream, the JSON of its events.
fn shape(told: &Value) -> &Value {
    let event = &told["schema"]["properties"]["data"]["contentSchema"];
    if event.is_null() { &told["schema"] } else { event }
}

/// The codes of the errors, as the document lists them for each status.
fn errors(described: &Value) -> Vec<(u16, String)> {
    let responses = described["responses"].as_object().into_iter().flatten();
    let coded = responses.filter_map(|(status, told)| {
        // Errors that many operations share stand in one place.
        let place = told["$ref"].as_str().and_then(|place| DOCUMENT.pointer(place.strip_prefix('#')?));
        let schema = &place.unwrap_or(told)["content"]["application/json"]["schema"];
        let codes = schema["allOf"][1]["properties"]["code"]["enum"].as_array()?;
        Some((status.parse().ok()?, codes))
    });
    coded
        .flat_map(|(status, codes)| {
            codes.iter().filter_map(move |code| Some((status, code.as_str()?.to_owned())))
        })
        .collect()
}

/// Every error code, what it means and what to do, as markup.
pub fn error_table() -> &'static str {
    static TABLE: LazyLock<String> = LazyLock::new(|| {
        let view = |code: &Code| CodeView {
            code: code.name.to_owned(),
            status: code.statuses.iter().map(u16::to_string).collect::<Vec<_>>().join(", "),
            cause: inline(code.cause),
            cure: inline(code.cure),
            more: code.more.iter().map(|more| (more.name.to_owned(), inline(more.meaning))).collect(),
        };
        ErrorTable { codes: codes::ALL.iter().map(view).collect() }.render().unwrap_or_default()
    });
    &TABLE
}

/// The names of all error codes, to be searched in.
pub fn error_names() -> String {
    codes::ALL.iter().map(|code| code.name).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_of_the_document_is_in_it() {
        let listed: BTreeSet<String> = chapters()
            .iter()
            .flat_map(|chapter| {
                chapter.entries.iter().map(|entry| format!("{} {}", entry.method, entry.about))
            })
            .collect();
        for operation in operations() {
            let path = format!("{}{}", operation.bases[0], operation.path.replace("{*", "{"));
            assert!(listed.contains(&format!("{} {path}", operation.method)), "{path}");
        }
    }

    #[test]
    fn every_error_code_of_the_document_is_in_the_table() {
        let table = error_table();
        let listed = chapters().iter().flat_map(|chapter| chapter.html.split("/docs/errors#").skip(1));
        let mut seen = 0;
        for code in listed.filter_map(|rest| rest.split('"').next()) {
            assert!(table.contains(&format!("<tr id=\"{code}\">")), "{code}");
            seen += 1;
        }
        assert!(seen > 100, "{seen} links to codes");
    }

    #[test]
    fn every_operation_can_be_rendered() {
        for chapter in chapters() {
            for entry in &chapter.entries {
                let anchor = entry.href.split_once('#').unwrap().1;
                assert!(chapter.html.contains(&format!("id=\"{anchor}\"")), "{}", entry.href);
            }
        }
    }
}
