//! The OpenAPI document: it is whole, it is the one in `docs`, its examples work, and browsers may do what it says. That answers
//! are as it says is looked at in every test (`world::contract`).

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::{Value, json};
use server::api::operation::document::DOCUMENT;

use crate::world::World;

/// (method, path, what it is), of every operation.
fn operations() -> Vec<(String, String, Value)> {
    let mut all = Vec::new();
    for (path, methods) in DOCUMENT["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            all.push((method.to_ascii_uppercase(), path.clone(), operation.clone()));
        }
    }
    assert!(all.len() > 40);
    all
}

/// Follows a reference.
fn resolved(schema: &Value) -> &Value {
    match schema["$ref"].as_str() {
        Some(place) => resolved(DOCUMENT.pointer(place.trim_start_matches('#')).expect(place)),
        None => schema,
    }
}

#[test]
fn the_document_in_docs_is_the_one_that_is_served() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/openapi.json");
    let now = format!("{:#}\n", *DOCUMENT);
    if std::env::var_os("UPDATE_OPENAPI").is_some() {
        std::fs::write(&file, &now).unwrap();
    }
    let kept = std::fs::read_to_string(&file).unwrap_or_default();
    let line = kept.lines().zip(now.lines()).position(|(kept, now)| kept != now);
    assert!(
        kept == now,
        "the API is no longer what docs/openapi.json says (line {:?} is the first that differs). Look whether clients can live \
         with that, then accept it: UPDATE_OPENAPI=1 cargo test -p server --test it -- openapi::the_document",
        line.map(|line| line + 1)
    );
}

#[test]
fn everything_is_described() {
    let mut lacking = Vec::new();
    let mut names = BTreeSet::new();
    let chapters: BTreeSet<&str> =
        DOCUMENT["tags"].as_array().unwrap().iter().map(|tag| tag["name"].as_str().unwrap()).collect();
    for (method, path, operation) in operations() {
        let what = format!("{method} {path}");
        assert!(names.insert(operation["operationId"].as_str().unwrap().to_owned()), "{what}");
        let tag = operation["tags"][0].as_str().unwrap();
        if !chapters.contains(tag) {
            lacking.push(format!("{what}: the chapter {tag}"));
        }
        if operation["summary"].as_str().is_none_or(str::is_empty) {
            lacking.push(format!("{what}: a summary"));
        }
        for parameter in operation["parameters"].as_array().unwrap() {
            if parameter["description"].as_str().is_none_or(str::is_empty) {
                lacking.push(format!("{what}: what {} is", parameter["name"]));
            }
        }
        let wanted: BTreeSet<&str> =
            path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')).collect();
        let given: BTreeSet<&str> = operation["parameters"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|parameter| parameter["in"] == "path")
            .map(|parameter| parameter["name"].as_str().unwrap())
            .collect();
        assert_eq!(wanted, given, "{what}");
        for (status, response) in operation["responses"].as_object().unwrap() {
            let response = resolved(response);
            if response["description"].as_str().is_none_or(str::is_empty) {
                lacking.push(format!("{what}: when it answers {status}"));
            }
            for (media, content) in response["content"].as_object().into_iter().flatten() {
                if !content["schema"].is_object() {
                    lacking.push(format!("{what}: what {media} with {status} looks like"));
                }
            }
        }
        if matches!(method.as_str(), "POST" | "PUT" | "PATCH")
            && operation["requestBody"]["content"]["application/json"].is_object()
            && !operation["requestBody"]["content"]["application/json"]["example"].is_object()
        {
            lacking.push(format!("{what}: an example"));
        }
    }
    for (name, schema) in DOCUMENT["components"]["schemas"].as_object().unwrap() {
        for (field, schema) in schema["properties"].as_object().into_iter().flatten() {
            let told = schema["description"].is_string() || schema["$ref"].is_string();
            if !told {
                lacking.push(format!("{name}.{field}: what it is"));
            }
        }
    }
    assert!(lacking.is_empty(), "the document lacks: {lacking:#?}");
}

#[test]
fn every_reference_leads_somewhere() {
    fn look(value: &Value) {
        match value {
            Value::Object(fields) => {
                if let Some(place) = fields.get("$ref").and_then(Value::as_str) {
                    assert!(DOCUMENT.pointer(place.trim_start_matches('#')).is_some(), "{place}");
                }
                fields.values().for_each(look);
            }
            Value::Array(values) => values.iter().for_each(look),
            _ => {}
        }
    }
    look(&DOCUMENT);
}

/// A path with something in the place of its parameters, as their schemas want it.
fn filled(path: &str, operation: &Value) -> String {
    let mut path = path.to_owned();
    for parameter in operation["parameters"].as_array().unwrap() {
        let name = parameter["name"].as_str().unwrap();
        let pattern = resolved(&parameter["schema"])["pattern"].as_str().unwrap_or_default();
        let value = match pattern.strip_prefix('^').and_then(|rest| rest.split_once("_[0-9a-z]{13}$")) {
            Some((prefix, _)) => format!("{prefix}_0123456789abc"),
            None => "llm-chat".to_owned(),
        };
        path = path.replace(&format!("{{{name}}}"), &value);
    }
    path
}

/// An example must get past every check of the body: what stops it may only be who sends it, or that what it names is not there.
#[tokio::test]
async fn examples_are_understood_and_unknown_fields_are_not() {
    let world = World::new().await;
    let ana = world.user("ana", "0").await;
    let (mut tried, mut refused) = (0, 0);
    for (method, path, operation) in operations() {
        let content = &operation["requestBody"]["content"]["application/json"];
        if !content["example"].is_object() || operation["x-access"] == "signed" {
            continue;
        }
        let (what, path) = (format!("{method} {path}"), filled(&path, &operation));
        if resolved(&content["schema"])["additionalProperties"] == json!(false) {
            let mut more = content["example"].clone();
            more["surprise"] = json!(1);
            let (status, body) = ana.request(&method, &path, &[], Some(&more.to_string())).await;
            assert_eq!((status, &body["code"]), (422, &json!("invalid_field")), "{what}: {body}");
            assert!(body["errors"]["surprise"].is_array(), "{what}: {body}");
            refused += 1;
        }
        let example = content["example"].to_string();
        let (status, body) = ana.request(&method, &path, &[], Some(&example)).await;
        let is_field_of_code = body["errors"]["code"].is_array() || body["errors"]["attempt"].is_array();
        assert!(
            status < 500 && status != 400 && (status != 422 || is_field_of_code),
            "{what}: {status} {body}"
        );
        tried += 1;
    }
    assert!(tried > 5 && refused > 3, "{tried} {refused}");
    world.finish().await;
}

#[tokio::test]
async fn browsers_may_call_every_operation_from_any_page_without_cookies() {
    let world = World::new().await;
    let header = |response: &reqwest::Response, name: &str| {
        response.headers().get(name).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default()
    };
    for (method, path, operation) in operations() {
        if !path.starts_with("/api/") && !path.starts_with("/v1/") {
            continue;
        }
        let url = format!("{}{}", world.url, filled(&path, &operation));
        let preflight = world
            .http
            .request(reqwest::Method::OPTIONS, &url)
            .header("origin", "https://elsewhere.example")
            .header("access-control-request-method", &method)
            .header("access-control-request-headers", "authorization, content-type, x-stainless-os");
        let response = preflight.send().await.unwrap();
        assert_eq!(response.status(), 204, "{method} {path}");
        assert_eq!(header(&response, "access-control-allow-origin"), "*");
        assert_eq!(header(&response, "access-control-allow-credentials"), "");
        assert!(header(&response, "access-control-allow-methods").contains(&method), "{method} {path}");
        assert!(header(&response, "access-control-allow-headers").contains("x-stainless-os"));
        // The request itself, which without a key is mostly an error; the browser must be able to read that too.
        let verb = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        let request = world.http.request(verb, &url).header("origin", "https://elsewhere.example");
        let response = request.timeout(crate::world::PATIENCE).send().await.unwrap();
        assert!(response.status().as_u16() < 500, "{method} {path}: {}", response.status());
        assert_eq!(header(&response, "access-control-allow-origin"), "*", "{method} {path}");
        assert_eq!(header(&response, "access-control-allow-credentials"), "");
        let exposed = header(&response, "access-control-expose-headers");
        let documented = DOCUMENT["components"]["headers"].as_object().unwrap();
        for name in documented.keys() {
            assert!(exposed.contains(&name.to_ascii_lowercase()), "{name} is not exposed: {exposed}");
        }
    }
    // A method that is not known is an error that a page can read, and says which are.
    let response = world.http.put(format!("{}/api/v1/account", world.url)).send().await.unwrap();
    assert_eq!(response.status(), 405);
    assert_eq!(header(&response, "access-control-allow-origin"), "*");
    assert!(header(&response, "allow").contains("GET"), "{:?}", response.headers());
    world.finish().await;
}

#[tokio::test]
async fn the_network_tells_anybody_how_large_it_is() {
    let world = World::new().await;
    let _palma = world.island("palma", "1", 1).await;
    let response = world.http.get(format!("{}/api/v1/network/stats", world.url)).send().await.unwrap();
    assert_eq!(response.status(), 200);
    let stats: Value = response.json().await.unwrap();
    assert_eq!(stats["online_islands"], 1, "{stats}");
    assert_eq!(stats["jobs_completed"], 0, "{stats}");
    assert!(stats["regions"].is_u64(), "{stats}");
    world.finish().await;
}

#[tokio::test]
async fn what_came_of_a_job_can_be_asked_for_alone_once_it_has_ended() {
    let world = World::new().await;
    let ana = world.user("ana", "100").await;
    let job = ana.job(json!({"bid_price": 1})).await;
    let (status, body) = ana.get(&format!("/api/v1/jobs/{job}/output")).await;
    assert_eq!((status, &body["code"]), (409, &json!("not_ended")), "{body}");
    let (status, _) =
        ana.request("DELETE", &format!("/api/v1/jobs/{job}"), &[("idempotency-key", "k")], None).await;
    assert_eq!(status, 200);
    let (status, body) = ana.get(&format!("/api/v1/jobs/{job}/output")).await;
    assert_eq!((status, &body["data"]["status"]), (200, &json!("cancelled")), "{body}");
    let ben = world.user("ben", "0").await;
    assert_eq!(ben.get(&format!("/api/v1/jobs/{job}/output")).await.0, 404);
    world.finish().await;
}
