//! What OpenAI clients ask beyond a plain chat: tools, JSON mode, vectors, and what the answers say of cost and of retrying.

use serde_json::{Value, json};
use types::island_protocol::{FromIsland, Offer};

use crate::world::{FakeIsland, User, World};

/// A chat Cargo by tokens, and one of vectors; a token is four bytes.
const CARGOS: &str = r#"
[jobs]
attempts = 1
[[workloads]]
slug = "llm-chat"
name = "Chat"
description = "-"
kind = "chat"
ceiling = "100"
unit = "1k_tokens"
prompt_percent = 0
answer_tokens = 1000

[[workloads]]
slug = "text-embedding"
aliases = ["text-embedding-3-small"]
name = "Vectors"
description = "-"
kind = "embedding"
ceiling = "100"
unit = "1k_tokens"
"#;

fn tool() -> Value {
    json!({"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}})
}

fn chat(more: &Value) -> Value {
    let mut body = json!({"model": "llm-chat", "messages": [{"role": "user", "content": "Hi"}]});
    for (name, value) in more.as_object().unwrap() {
        body[name] = value.clone();
    }
    body
}

/// Calls a tool in two pieces: 7 bytes of a name and 13 of arguments.
async fn call_weather(island: &mut FakeIsland, text: &str) -> Value {
    let work = island.work().await;
    let mut seq = 1;
    if !text.is_empty() {
        island.output(work.attempt, seq, text).await;
        seq += 1;
    }
    let begin = json!({"index": 0, "id": "call_1", "type": "function", "function": {"name": "weather", "arguments": ""}});
    island.delta(work.attempt, seq, json!({"tool_calls": [begin]})).await;
    let rest = json!({"index": 0, "function": {"arguments": r#"{"at":"Hvar"}"#}});
    island.delta(work.attempt, seq + 1, json!({"tool_calls": [rest]})).await;
    let finish_reason = Some("tool_calls".to_owned());
    island.say(&FromIsland::Done { attempt_id: work.attempt, usage: None, finish_reason }).await;
    serde_json::from_str(&work.input).unwrap()
}

fn calls() -> Value {
    json!([{"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": r#"{"at":"Hvar"}"#}}])
}

#[tokio::test]
async fn tools_go_to_the_island_and_their_calls_come_back() {
    let world = World::with(CARGOS).await;
    let mut island = world.island("fake", "10", 1).await;
    let ana = world.user("ana", "100").await;
    let messages = json!([
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "Hi"}]},
        {"role": "assistant", "content": null, "tool_calls": calls()},
        {"role": "tool", "tool_call_id": "call_1", "content": "Sun"},
    ]);
    let form = json!({"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "object"}}});
    let body = chat(&json!({
        "messages": messages, "tools": [tool()], "tool_choice": "auto", "parallel_tool_calls": false,
        "response_format": form, "max_completion_tokens": 50, "seed": 7, "stop": ["x"], "user": "somebody",
    }));
    let asked = tokio::spawn(async move {
        let answer = ana
            .request("POST", "/v1/chat/completions", &[("idempotency-key", "k")], Some(&body.to_string()))
            .await;
        (ana, body, answer)
    });
    let input = call_weather(&mut island, "").await;
    assert_eq!(
        (&input["messages"], &input["tools"][0], &input["response_format"]),
        (&messages, &tool(), &form)
    );
    assert_eq!((&input["tool_choice"], &input["parallel_tool_calls"]), (&json!("auto"), &json!(false)));
    assert_eq!((&input["seed"], &input["stop"], &input["user"]), (&json!(7), &json!(["x"]), &Value::Null));
    let (ana, body, (status, answer)) = asked.await.unwrap();
    assert_eq!(status, 200, "{answer}");
    let choice = &answer["choices"][0];
    assert_eq!((&choice["message"]["content"], &choice["message"]["tool_calls"]), (&Value::Null, &calls()));
    assert_eq!(choice["finish_reason"], "tool_calls");
    // 20 bytes are 5 tokens, at 10 credits a thousand.
    assert_eq!(
        (&answer["usage"]["completion_tokens"], &answer["usage"]["credits_used"]),
        (&json!(5), &json!(0.05))
    );
    // The same again, and by the job itself.
    let (status, again) = ana
        .request("POST", "/v1/chat/completions", &[("idempotency-key", "k")], Some(&body.to_string()))
        .await;
    assert_eq!((status, &again["choices"], &again["usage"]), (200, &answer["choices"], &answer["usage"]));
    let id = answer["id"].as_str().unwrap().trim_start_matches("chatcmpl-").to_owned();
    let (_, job) = ana.get(&format!("/api/v1/jobs/{id}")).await;
    assert_eq!((&job["data"]["output"], &job["data"]["message"]["tool_calls"]), (&Value::Null, &calls()));
    let mut stream = ana.stream(&id).await;
    let event = stream.next_of("token").await;
    assert_eq!((&event["content"], &event["delta"]["tool_calls"]), (&json!(""), &calls()));
    world.finish().await;
}

#[tokio::test]
async fn a_stream_brings_the_pieces_of_calls_as_they_came() {
    let world = World::with(CARGOS).await;
    let mut island = world.island("fake", "10", 1).await;
    let ana = world.user("ana", "100").await;
    let body = chat(&json!({"tools": [tool()], "stream": true, "stream_options": {"include_usage": true}}));
    let mut stream = ana.chat_stream(&body).await;
    call_weather(&mut island, "Let me look.").await;
    let mut chunks = Vec::new();
    while let Some(chunk) = stream.next().await {
        chunks.push(chunk);
    }
    assert_eq!(chunks.pop(), Some(json!("[DONE]")));
    let usage = chunks.pop().unwrap();
    assert_eq!((&usage["choices"], &usage["usage"]["credits_used"]), (&json!([]), &json!(0.08)));
    let end = chunks.pop().unwrap();
    assert_eq!((&end["choices"][0]["finish_reason"], &end["usage"]), (&json!("tool_calls"), &Value::Null));
    let deltas: Vec<&Value> = chunks.iter().map(|chunk| &chunk["choices"][0]["delta"]).collect();
    assert_eq!(deltas[0], &json!({"role": "assistant", "content": "Let me look."}));
    assert_eq!(deltas[1]["tool_calls"][0]["function"], json!({"name": "weather", "arguments": ""}));
    assert_eq!(
        deltas[2],
        &json!({"tool_calls": [{"index": 0, "function": {"arguments": r#"{"at":"Hvar"}"#}}]})
    );
    world.finish().await;
}

#[tokio::test]
async fn what_no_message_can_be_is_not_paid() {
    let world = World::with(CARGOS).await;
    let mut island = world.island("fake", "10", 1).await;
    let ana = world.user("ana", "100").await;
    let before = ana.credits().await;
    let job = ana.job(json!({})).await;
    let work = island.work().await;
    island.delta(work.attempt, 1, json!({"tool_calls": [{"index": 500}]})).await;
    island.told_to_stop(work.attempt).await;
    let ended = ana.ended(&job).await;
    assert_eq!((&ended["status"], &ended["message"]), (&json!("failed"), &Value::Null));
    assert_eq!(ana.credits().await, before);
    world.finish().await;
}

fn vectors_offer() -> Offer {
    Offer { workload: "text-embedding".to_owned(), ask: "10".to_owned(), slots: 2, models: Vec::new() }
}

async fn embedder(world: &World) -> FakeIsland {
    let token = world.island_token("owner@example.org", "fake").await;
    FakeIsland::offering(&world.url, &token, vectors_offer()).await
}

fn ask(ana: User, body: Value) -> tokio::task::JoinHandle<(User, u16, Value)> {
    tokio::spawn(async move {
        let (status, answer) = ana.post("/v1/embeddings", &body).await;
        (ana, status, answer)
    })
}

#[tokio::test]
async fn texts_become_vectors_and_cost_by_their_length() {
    let world = World::with(CARGOS).await;
    let mut island = embedder(&world).await;
    let ana = world.user("ana", "100").await;
    // 8 and 5 bytes: 13 are 4 tokens, at 10 credits a thousand.
    let body = json!({"model": "text-embedding-3-small", "input": ["lighthou", "tides"], "dimensions": 2});
    let asked = ask(ana, body.clone());
    let work = island.work().await;
    let input: Value = serde_json::from_str(&work.input).unwrap();
    assert_eq!(input, json!({"input": ["lighthou", "tides"], "dimensions": 2}));
    island.embeddings(work.attempt, 1, &[&[0.1, -2.0]]).await;
    island.embeddings(work.attempt, 2, &[&[0.5, 1e-7]]).await;
    island.done(work.attempt).await;
    let (ana, status, answer) = asked.await.unwrap();
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer["data"][0], json!({"object": "embedding", "index": 0, "embedding": [0.1, -2.0]}));
    assert_eq!(answer["data"][1]["embedding"], json!([0.5, 1e-7]));
    // The Island counted one token, and fewer is what counts.
    assert_eq!(
        (
            &answer["usage"]["prompt_tokens"],
            &answer["usage"]["total_tokens"],
            &answer["usage"]["credits_used"]
        ),
        (&json!(1), &json!(1), &json!(0.01))
    );
    let (_, job) = ana.get(&format!("/api/v1/jobs/{}", answer["job_id"].as_str().unwrap())).await;
    let output: Value = serde_json::from_str(job["data"]["output"].as_str().unwrap()).unwrap();
    assert_eq!(output["data"], answer["data"]);
    // As a job, and in base64.
    let job = ana.job(json!({"workload": "text-embedding", "input": {"input": "lighthouses"}})).await;
    let work = island.work().await;
    island.embeddings(work.attempt, 1, &[&[1.0]]).await;
    island.say(&FromIsland::Done { attempt_id: work.attempt, usage: None, finish_reason: None }).await;
    assert_eq!(ana.ended(&job).await["usage"]["prompt_tokens"], 3);
    let asked = ask(ana, json!({"input": "a", "encoding_format": "base64"}));
    let work = island.work().await;
    island.embeddings(work.attempt, 1, &[&[1.0]]).await;
    island.done(work.attempt).await;
    let (_, status, answer) = asked.await.unwrap();
    assert_eq!((status, &answer["data"][0]["embedding"]), (200, &json!("AACAPw==")));
    world.finish().await;
}

#[tokio::test]
async fn fewer_vectors_than_texts_are_no_answer() {
    let world = World::with(CARGOS).await;
    let mut island = embedder(&world).await;
    let mut ana = world.user("ana", "100").await;
    let before = ana.credits().await;
    let wrongs: [&[&[f32]]; 4] =
        [&[&[1.0]], &[&[1.0], &[1.0, 2.0]], &[&[1.0], &[2.0], &[3.0]], &[&[f32::NAN], &[1.0]]];
    for wrong in wrongs {
        let asked = ask(ana, json!({"input": ["a", "b"]}));
        let work = island.work().await;
        island.embeddings(work.attempt, 1, wrong).await;
        // Of an attempt that was stopped for what it said this is a late word.
        island.done(work.attempt).await;
        let (back, status, answer) = asked.await.unwrap();
        assert_eq!((status, &answer["error"]["code"]), (503, &json!("job_failed")), "{wrong:?}: {answer}");
        ana = back;
        // An Island that failed is asked again once it has come back.
        island = embedder(&world).await;
    }
    assert_eq!(ana.credits().await, before);
    world.finish().await;
}

#[tokio::test]
async fn what_nobody_offers_is_no_failure_of_ours() {
    let world = World::with("[jobs]\nwait_secs = 1").await;
    let ana = world.user("ana", "100").await;
    let before = ana.credits().await;
    let ask = async |more: Value| {
        let mut body = json!({"model": "llm-chat", "messages": [{"role": "user", "content": "Hello"}]});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let request = world.http.post(format!("{}/v1/chat/completions", world.url));
        let response = request.bearer_auth(&ana.key).json(&body).send().await.unwrap();
        let again = response.headers().get("x-should-retry").map(|value| value.to_str().unwrap().to_owned());
        let (status, body) = (response.status().as_u16(), response.json::<Value>().await.unwrap());
        let error = &body["error"];
        let text = |name: &str| error[name].as_str().unwrap_or_default().to_owned();
        (status, text("code"), text("message"), again.unwrap_or_default(), text("job_id"))
    };
    // Nobody is there at all: that is our trouble.
    let (status, code, ..) = ask(json!({})).await;
    assert_eq!((status, &*code), (503, "no_island"));
    let island = world.island("dear", "2.5", 1).await;
    let cases = [
        (json!({"max_price": 2}), "bid_too_low", "a bid of 2.5 credits"),
        (json!({"region": "mars"}), "no_match", "region"),
        (json!({"model": "llm-chat/nobody-has-it"}), "no_match", "model"),
        (json!({"min_trust": "approved"}), "no_match", "trust"),
    ];
    for (wanted, expected, says) in cases {
        let (status, code, message, again, job) = ask(wanted).await;
        assert_eq!((status, &*code, &*again), (409, expected, "false"), "{message}");
        assert!(message.contains(says), "{message}");
        let job = ana.get(&format!("/api/v1/jobs/{job}")).await.1["data"].clone();
        assert_eq!((&job["status"], &job["error_code"]), (&json!("timeout"), &json!(expected)), "{job}");
    }
    assert_eq!(ana.credits().await, before);
    drop(island);
    world.finish().await;
}

#[tokio::test]
async fn errors_say_what_an_openai_client_needs() {
    let world = World::with(CARGOS).await;
    let ana = world.user("ana", "1").await;
    let cases = [
        ("chat/completions", chat(&json!({"n": 2})), 422, "invalid_field", json!("n")),
        ("chat/completions", chat(&json!({"tools": [1]})), 422, "invalid_field", json!("tools[0].type")),
        ("chat/completions", chat(&json!({"messages": [5]})), 422, "invalid_field", json!("messages[0]")),
        ("chat/completions", chat(&json!({"model": "gpt"})), 404, "model_not_found", json!("model")),
        (
            "chat/completions",
            chat(&json!({"model": "text-embedding"})),
            404,
            "model_not_found",
            json!("model"),
        ),
        ("embeddings", json!({"input": [1, 2]}), 422, "invalid_field", json!("input[0]")),
        (
            "embeddings",
            json!({"input": "a", "encoding_format": "x"}),
            422,
            "invalid_field",
            json!("encoding_format"),
        ),
        ("embeddings", json!({"model": "llm-chat", "input": "a"}), 404, "model_not_found", json!("model")),
        ("responses", json!({"input": "a"}), 404, "not_found", Value::Null),
    ];
    for (path, body, status, code, param) in cases {
        for prefix in ["/v1", "/api/v1"] {
            let (found, answer) = ana.post(&format!("{prefix}/{path}"), &body).await;
            let error = &answer["error"];
            assert_eq!(
                (found, &error["code"], &error["param"]),
                (status, &json!(code), &param),
                "{path} {body}: {answer}"
            );
            assert!(error["message"].is_string() && error["type"].is_string(), "{answer}");
        }
    }
    let (_, models) = ana.get("/v1/models").await;
    let ids: Vec<&str> =
        models["data"].as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["llm-chat", "text-embedding", "text-embedding-3-small"]);
    assert_eq!(ana.get("/v1/models/text-embedding-3-small").await.0, 200);
    let (_, answer) = ana.post("/v1/responses", &json!({})).await;
    assert!(answer["error"]["message"].as_str().unwrap().contains("/v1/chat/completions"), "{answer}");
    world.finish().await;
}

#[tokio::test]
async fn bids_come_by_header_too_and_a_cancelled_job_is_not_asked_again() {
    let world = World::with(CARGOS).await;
    let mut island = world.island("fake", "10", 1).await;
    let ana = world.user("ana", "100").await;
    let send = |headers: &[(&'static str, &'static str)]| {
        let mut request = ana.http().post(format!("{}/v1/chat/completions", ana.url())).bearer_auth(&ana.key);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        tokio::spawn(
            request.header("content-type", "application/json").body(chat(&json!({})).to_string()).send(),
        )
    };
    for header in ["x-bid-price", "x-max-price"] {
        let asked = send(&[(header, "42.5")]);
        let work = island.work().await;
        island.output(work.attempt, 1, "Hello").await;
        island.done(work.attempt).await;
        let response = asked.await.unwrap().unwrap();
        let id = response.headers()["x-job-id"].to_str().unwrap().to_owned();
        assert_eq!(response.headers()["x-credits-used"], "0.01");
        let (_, job) = ana.get(&format!("/api/v1/jobs/{id}")).await;
        assert_eq!(job["data"]["bid_price"], json!(42.5), "{header}");
    }
    let asked = send(&[]);
    let _work = island.work().await;
    let (_, jobs) = ana.get("/api/v1/jobs?limit=1").await;
    let id = jobs["data"][0]["id"].as_str().unwrap().to_owned();
    ana.request("DELETE", &format!("/api/v1/jobs/{id}"), &[], None).await;
    let response = asked.await.unwrap().unwrap();
    assert_eq!(
        (response.status().as_u16(), &response.headers()["x-should-retry"]),
        (409, &"false".parse().unwrap())
    );
    world.finish().await;
}
