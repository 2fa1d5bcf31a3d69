//! What an Island makes of its backend's answers.

use std::sync::atomic::Ordering;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use island::{BackendKind, Config};
use serde_json::{Value, json};
use types::island_protocol::{FromIsland, ReportedUsage};

use crate::coordinator::{Coordinator, Outcome, Visit, attempt};
use crate::upstream::{Call, Upstream};
use crate::{Island, config, openai};

/// An Island in the middle of its work.
struct World {
    _coordinator: Coordinator,
    upstream: Upstream,
    visit: Visit,
    _island: Island,
}

impl World {
    async fn start() -> Self {
        let (coordinator, upstream) = (Coordinator::start().await, Upstream::start().await);
        let island = Island::start(config(&coordinator, openai(&upstream.base_url)));
        let (visit, _) = coordinator.welcome().await;
        Self { _coordinator: coordinator, upstream, visit, _island: island }
    }

    async fn call(&mut self, number: i64, workload: &str, input: &Value) -> Call {
        self.visit.assign(number, workload, input).await;
        self.upstream.call().await
    }

    /// A job whose backend answers with this.
    async fn answered(&mut self, number: i64, workload: &str, status: &str, body: &str) -> Outcome {
        let input = json!({"prompt": "Hi", "width": 8, "height": 4});
        let mut call = self.call(number, workload, &input).await;
        call.answer(status, "application/json", body.as_bytes()).await;
        self.visit.outcome(number).await
    }
}

fn done(usage: Option<(u64, u64)>, finish_reason: Option<&str>) -> String {
    let usage = usage.map(|(prompt, completion)| ReportedUsage {
        prompt_tokens: Some(prompt),
        completion_tokens: Some(completion),
    });
    let finish_reason = finish_reason.map(str::to_owned);
    format!("{:?}", FromIsland::Done { attempt_id: attempt(1), usage, finish_reason })
}

#[tokio::test]
async fn a_chat_arrives_whole_even_if_split_at_every_byte() {
    let mut world = World::start().await;
    let input =
        json!({"prompt": "Grüße?", "system_prompt": "Be brief.", "max_tokens": 9, "temperature": 0.5});
    let mut call = world.call(1, "llm-chat", &input).await;
    assert!(call.head.starts_with("POST /v1/chat/completions HTTP/1.1\r\n"), "{}", call.head);
    assert!(call.head.contains("authorization: Bearer sk-secret\r\n"), "{}", call.head);
    assert_eq!(
        call.body,
        json!({
            "model": "default", "stream": true, "stream_options": {"include_usage": true},
            "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Grüße?"}],
            "max_tokens": 9, "temperature": 0.5,
        })
    );
    call.begin_stream().await;
    let stream = concat!(
        ": hello\r\n\r\n",
        "data: {\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\r\n\r\n",
        "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Grüße 😀\"}}]}\n\n",
        "data:{\"choices\":[{\"index\":0,\"delta\":{\"content\":\"\\n\\u20ac \\\"x\\\"\"}}]}\r\r",
        "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}],\"usage\":null}\n\n",
        "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":11,\"completion_tokens\":7,\"total_tokens\":18}}\n\n",
        "data: [DONE]\n\n",
    );
    for byte in stream.as_bytes() {
        call.chunk(&[*byte]).await;
    }
    let outcome = world.visit.outcome(1).await;
    assert_eq!(outcome.chunks, ["Grüße 😀", "\n€ \"x\""]);
    assert_eq!(format!("{:?}", outcome.last), done(Some((11, 7)), Some("stop")));
}

#[tokio::test]
async fn tokens_do_not_wait_for_each_other() {
    let mut world = World::start().await;
    let mut call = world.call(1, "llm-chat", &json!({"prompt": "Hi"})).await;
    call.begin_stream().await;
    for (number, text) in (1..).zip(["one", "two", "three"]) {
        call.say(text).await;
        // The server says nothing more until this has come through.
        let message = world.visit.hear().await;
        let FromIsland::Output { seq, chunk, .. } = message else { panic!("{message:?}") };
        assert_eq!((seq, chunk.as_str()), (number, text));
    }
    call.finish().await;
    assert_eq!(format!("{:?}", world.visit.outcome(1).await.last), done(None, Some("stop")));
}

#[tokio::test]
async fn what_arrives_together_is_sent_together() {
    let mut world = World::start().await;
    let mut call = world.call(1, "llm-chat", &json!({"messages": [{"role": "user", "content": "Hi"}]})).await;
    assert_eq!(call.body["messages"], json!([{"role": "user", "content": "Hi"}]));
    let event = |text: &str| format!("data: {}\n\n", json!({"choices": [{"delta": {"content": text}}]}));
    call.begin_stream().await;
    call.chunk([event("a"), event("b"), event("c")].concat().as_bytes()).await;
    call.finish().await;
    assert_eq!(world.visit.outcome(1).await.chunks, ["abc"]);
}

#[tokio::test]
async fn servers_that_do_not_stream_are_understood() {
    let mut world = World::start().await;
    let body = json!({
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello"}, "finish_reason": "length"}],
        "usage": {"prompt_tokens": 2, "completion_tokens": 1},
    });
    let outcome = world.answered(1, "llm-chat", "200 OK", &body.to_string()).await;
    assert_eq!(outcome.chunks, ["Hello"]);
    assert_eq!(format!("{:?}", outcome.last), done(Some((2, 1)), Some("length")));
    let body = r#"{"choices":[{"message":{"content":null,"tool_calls":[{}]},"finish_reason":"tool_calls"}]}"#;
    let outcome = world.answered(1, "llm-chat", "200 OK", body).await;
    assert_eq!(outcome.text(), "");
    // The network of this test speaks the protocol of before there were calls of tools.
    let last = format!("{:?}", outcome.last);
    assert!(last.contains("too old for calls of tools") && last.contains("retryable: true"), "{last}");
}

#[tokio::test]
async fn a_refused_input_is_final_and_everything_else_is_not() {
    let mut world = World::start().await;
    let body = r#"{"error":{"message":"sk-secret: the input is too long"}}"#;
    let statuses = [
        ("400 Bad Request", false),
        ("401 Unauthorized", true),
        ("403 Forbidden", true),
        ("404 Not Found", true),
        ("413 Payload Too Large", false),
        ("422 Unprocessable Entity", false),
        ("429 Too Many Requests", true),
        ("500 Internal Server Error", true),
        ("503 Service Unavailable", true),
        ("302 Found", true),
    ];
    for (workload, number) in [("llm-chat", 1), ("sdxl", 2)] {
        for (status, expected) in statuses {
            let (error, retryable) = world.answered(number, workload, status, body).await.failure();
            assert_eq!(retryable, expected, "{status}: {error}");
            assert_eq!(error.contains("the input is too long"), !expected, "{status}: {error}");
            assert!(!error.contains("sk-secret") && !error.contains("127.0.0.1"), "{error}");
        }
    }
}

#[tokio::test]
async fn answers_that_are_none_can_be_tried_elsewhere() {
    let mut world = World::start().await;
    let cases = [
        ("llm-chat", "{}", "no chat completion"),
        ("llm-chat", "<html>", "no chat completion"),
        ("llm-chat", r#"{"error":"boom"}"#, "reported an error"),
        ("sdxl", "{}", "no image"),
        ("sdxl", r#"{"data":[]}"#, "no image"),
        ("sdxl", r#"{"data":[{"b64_json":"not base64!"}]}"#, "no image"),
        ("sdxl", r#"{"data":[{"b64_json":"aGVsbG8gd29ybGQ="}]}"#, "no image"),
        ("sdxl", r#"{"data":[{"url":"http://169.254.169.254/secret"}]}"#, "not fetched"),
    ];
    for (workload, body, expected) in cases {
        let (error, retryable) = world.answered(1, workload, "200 OK", body).await.failure();
        assert!(retryable && error.contains(expected), "{body}: {error}");
        // A server that finds fault with an input is well; else it would soon be left to rest.
        world.answered(1, "llm-chat", "400 Bad Request", "{}").await;
    }
}

#[tokio::test]
async fn a_broken_stream_fails_after_what_it_brought() {
    let mut world = World::start().await;
    let input = json!({"prompt": "Hi"});
    // The connection breaks.
    let mut call = world.call(1, "llm-chat", &input).await;
    call.begin_stream().await;
    call.say("half an").await;
    drop(call);
    let outcome = world.visit.outcome(1).await;
    assert_eq!(outcome.text(), "half an");
    let (error, retryable) = outcome.failure();
    assert!(retryable && error.contains("broke off"), "{error}");
    // The stream ends properly, the answer does not.
    let outcome = world.call_with(2, b"data: {\"choices\":[{\"delta\":{\"content\":\"half\"}}]}\n\n").await;
    assert_eq!(outcome.text(), "half");
    let (error, retryable) = outcome.failure();
    assert!(retryable && error.contains("broke off"), "{error}");
    // The server reports an error behind some text, all in one read.
    let events = b"data: {\"choices\":[{\"delta\":{\"content\":\"half\"}}]}\n\ndata: {\"error\":{\"message\":\"boom\"}}\n\n";
    let outcome = world.call_with(3, events).await;
    assert_eq!(outcome.text(), "half");
    let (error, retryable) = outcome.failure();
    assert!(retryable && error.contains("reported an error"), "{error}");
    // A server that forgets `[DONE]` but names the reason for the end is done.
    let events = b"data: {\"choices\":[{\"delta\":{\"content\":\"all\"},\"finish_reason\":\"stop\"}]}";
    let outcome = world.call_with(4, events).await;
    assert_eq!(outcome.text(), "all");
    assert!(matches!(outcome.last, FromIsland::Done { .. }), "{:?}", outcome.last);
}

impl World {
    async fn call_with(&mut self, number: i64, events: &[u8]) -> Outcome {
        let mut call = self.call(number, "llm-chat", &json!({"prompt": "Hi"})).await;
        call.answer("200 OK", "text/event-stream", events).await;
        self.visit.outcome(number).await
    }
}

#[tokio::test]
async fn an_absent_or_sleeping_server_is_no_fault_of_the_input() {
    let coordinator = Coordinator::start().await;
    let upstream = Upstream::start().await;
    let _island = Island::start(config(&coordinator, openai(&upstream.base_url)));
    let (mut visit, _) = coordinator.welcome().await;
    // It goes away behind the Island's back.
    upstream.stop().await;
    visit.assign(1, "llm-chat", &json!({"prompt": "Hi"})).await;
    let (error, retryable) = visit.outcome(1).await.failure();
    assert!(retryable && error.contains("could not be reached"), "{error}");
    let message = visit.hear().await;
    assert!(matches!(&message, FromIsland::Offers { offers } if offers.is_empty()), "{message:?}");

    let (coordinator, upstream) = (Coordinator::start().await, Upstream::start().await);
    let kind =
        BackendKind::OpenAi { base_url: upstream.base_url.clone(), api_key: None, request_timeout_secs: 1 };
    let _island = Island::start(config(&coordinator, kind));
    let (mut visit, _) = coordinator.welcome().await;
    visit.assign(1, "llm-chat", &json!({"prompt": "Hi"})).await;
    let mut call = upstream.call().await;
    assert!(!call.head.contains("authorization"), "{}", call.head);
    let (error, retryable) = visit.outcome(1).await.failure();
    assert!(retryable && error.contains("in time"), "{error}");
    call.closed().await;
}

#[tokio::test]
async fn connections_to_the_backend_are_used_again() {
    let coordinator = Coordinator::start().await;
    let (base_url, connections) =
        Upstream::serve(b"data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\ndata: [DONE]\n\n").await;
    let _island = Island::start(config(&coordinator, openai(&base_url)));
    let (mut visit, _) = coordinator.welcome().await;
    for number in 1..=50 {
        visit.assign(number, "llm-chat", &json!({"prompt": "Hi"})).await;
        assert_eq!(visit.outcome(number).await.text(), "a");
    }
    // A job that comes before the end of the last answer was seen needs a connection of its own.
    let connections = connections.load(Ordering::Relaxed);
    assert!(connections <= 10, "{connections} connections for 50 jobs");
}

/// Servers that allow only so many requests on a connection close it in the moment it is used again.
#[tokio::test]
async fn a_request_on_a_connection_that_just_closed_is_sent_again() {
    let coordinator = Coordinator::start().await;
    let (base_url, connections) = Upstream::serve_once_each(
        b"data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\ndata: [DONE]\n\n",
    )
    .await;
    let _island = Island::start(config(&coordinator, openai(&base_url)));
    let (mut visit, _) = coordinator.welcome().await;
    for number in 1..=20 {
        visit.assign(number, "llm-chat", &json!({"prompt": "Hi"})).await;
        let outcome = visit.outcome(number).await;
        assert!(matches!(outcome.last, FromIsland::Done { .. }), "{number}: {:?}", outcome.last);
        assert_eq!(outcome.text(), "a");
    }
    assert!(connections.load(Ordering::Relaxed) >= 20);
}

/// The header of a WebP of 640 by 480 pixels, and some bytes.
const WEBP: &[u8] = b"RIFF\0\0\0\0WEBPVP8X\0\0\0\0\0\0\0\0\x7f\x02\0\xdf\x01\0 and so on";

fn is_the_webp(outcome: &Outcome) -> bool {
    matches!(
        outcome.others.as_slice(),
        [
            FromIsland::Progress { step: 0, total: 20, .. },
            FromIsland::Image { image_data, format, width: 640, height: 480, seed: Some(3), .. },
        ] if format == "webp" && STANDARD.decode(image_data).unwrap() == WEBP
    )
}

#[tokio::test]
async fn images_are_measured_and_passed_on() {
    let mut world = World::start().await;
    let input = json!({
        "prompt": "a fish", "negative_prompt": "a bird", "width": 1024, "height": 512,
        "steps": 20, "seed": 3, "guidance_scale": 7.5,
    });
    let bodies = [
        json!({"data": [{"b64_json": STANDARD.encode(WEBP)}]}),
        json!({"data": [{"b64_json": format!("data:image/webp;base64,{}", STANDARD.encode(WEBP))}]}),
    ];
    for body in bodies {
        let mut call = world.call(1, "sdxl", &input).await;
        assert!(call.head.starts_with("POST /v1/images/generations "), "{}", call.head);
        assert_eq!(
            call.body,
            json!({
                "model": "default", "prompt": "a fish", "n": 1, "size": "1024x512",
                "response_format": "b64_json", "negative_prompt": "a bird", "steps": 20, "seed": 3,
                "guidance_scale": 7.5,
            })
        );
        call.answer("200 OK", "application/json", body.to_string().as_bytes()).await;
        let outcome = world.visit.outcome(1).await;
        assert!(is_the_webp(&outcome), "{:?}", outcome.others);
        assert_eq!(format!("{:?}", outcome.last), done(None, None));
    }
    // A server that keeps the file for itself is asked for it, on whatever connection.
    let mut call = world.call(1, "sdxl", &input).await;
    let head = "HTTP/1.1 200 OK\r\nconnection: close\r\n";
    call.answer_raw(head, br#"{"data":[{"url":"/files/fish.webp"}]}"#).await;
    let mut file = world.upstream.call().await;
    assert!(file.head.starts_with("GET /files/fish.webp "), "{}", file.head);
    file.answer("200 OK", "image/webp", WEBP).await;
    assert!(is_the_webp(&world.visit.outcome(1).await));
}

#[tokio::test]
async fn the_demo_says_that_it_is_one() {
    let coordinator = Coordinator::start().await;
    let _island = Island::start(config(&coordinator, BackendKind::Demo { delay_ms: 1 }));
    let (mut visit, _) = coordinator.welcome().await;
    visit.assign(1, "llm-chat", &json!({"prompt": "How are you?"})).await;
    let first = visit.outcome(1).await;
    assert!(first.text().starts_with("[demo island] No model ran"), "{}", first.text());
    assert!(first.text().contains("How are you?"), "{}", first.text());
    assert!((20..=60).contains(&first.chunks.len()), "{}", first.chunks.len());
    let words = u64::try_from(first.text().split_whitespace().count()).unwrap();
    assert_eq!(format!("{:?}", first.last), done(Some((3, words)), Some("stop")));

    let input = json!({"messages": [{"role": "user", "content": "How are you?"}], "max_tokens": 4});
    visit.assign(1, "llm-chat", &input).await;
    let second = visit.outcome(1).await;
    assert_eq!(second.text(), "[demo island] No model ");
    assert_eq!(format!("{:?}", second.last), done(Some((3, 4)), Some("length")));
}

#[tokio::test]
async fn the_demo_draws_real_images() {
    let coordinator = Coordinator::start().await;
    let _island = Island::start(config(&coordinator, BackendKind::Demo { delay_ms: 0 }));
    let (mut visit, _) = coordinator.welcome().await;
    let input = json!({"prompt": "a fish", "width": 96, "height": 48, "steps": 3, "seed": 5});
    visit.assign(1, "sdxl", &input).await;
    let mut outcome = visit.outcome(1).await;
    assert!(matches!(outcome.last, FromIsland::Done { .. }), "{:?}", outcome.last);
    let Some(FromIsland::Image { image_data, format, width, height, seed, .. }) = outcome.others.pop() else {
        panic!("no image last: {:?}", outcome.others);
    };
    assert_eq!((format.as_str(), width, height, seed), ("png", 96, 48, Some(5)));
    let file = STANDARD.decode(image_data).unwrap();
    let mut reader = png::Decoder::new(std::io::Cursor::new(file)).read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut pixels).unwrap();
    assert_eq!((info.width, info.height), (96, 48));
    let steps: Vec<(u32, u32)> = outcome
        .others
        .iter()
        .map(|message| match message {
            FromIsland::Progress { step, total, .. } => (*step, *total),
            other => panic!("no progress: {other:?}"),
        })
        .collect();
    assert_eq!(steps, [(0, 3), (1, 3), (2, 3), (3, 3)]);

    visit.assign(1, "sdxl", &json!({"prompt": "a fish", "width": 100_000, "height": 48})).await;
    assert!(!visit.outcome(1).await.failure().1);
}

#[test]
fn the_demo_backend_is_a_whole_offer() {
    let backends = vec![Config::demo_backend()];
    let config =
        Config { coordinator: "http://h".to_owned(), token: "t".into(), backends, ..Config::default() };
    config.check().unwrap();
}
