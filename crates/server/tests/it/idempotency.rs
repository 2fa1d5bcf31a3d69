//! Repeating a request that moves credits returns the first answer; the same key with another body is refused (I9).

use serde_json::json;

use crate::world::World;

const BODY: &str = r#"{"workload":"llm-chat","input":{"prompt":"hi"}}"#;

#[tokio::test]
async fn incident_026_a_repeated_submission_is_one_job() {
    let world = World::new().await;
    let mut island = world.island("palma", "1", 50).await;
    let ana = world.user("ana", "100").await;
    let key = [("idempotency-key", "once")];
    let repeat = || ana.request("POST", "/api/v1/jobs", &key, Some(BODY));
    let mut ids: Vec<String> = Vec::new();
    let mut first = None;
    while ids.len() < 20 {
        for (status, body) in futures_util::future::join_all((0..20).map(|_| repeat())).await {
            if status == 409 {
                // The first one was still being answered.
                assert_eq!(body["error"]["code"], json!("in_flight"));
                continue;
            }
            assert_eq!(status, 201, "{body}");
            ids.push(body["data"]["id"].to_string());
            assert_eq!(
                *first.get_or_insert_with(|| body.clone()),
                body,
                "the same body, whatever has become of the job"
            );
        }
    }
    ids.dedup();
    assert_eq!(ids.len(), 1, "{ids:?}");
    assert_eq!(ana.credits().await, ("99".to_owned(), "1".to_owned()));

    let other = r#"{"workload":"llm-chat","input":{"prompt":"ho"}}"#;
    let (status, body) = ana.request("POST", "/api/v1/jobs", &key, Some(other)).await;
    assert_eq!((status, &body["error"]["code"]), (422, &json!("idempotency_key_reused")));

    let work = island.work().await;
    island.output(work.attempt, 1, "x").await;
    island.done(work.attempt).await;
    ana.ended(ids[0].trim_matches('"')).await;
    assert_eq!(repeat().await, (201, first.unwrap()), "after the end too");
    assert_eq!(ana.credits().await, ("99".to_owned(), "0".to_owned()));

    // Another user's key of the same name is another key.
    let ben = world.user("ben", "5").await;
    let (status, body) = ben.request("POST", "/api/v1/jobs", &key, Some(BODY)).await;
    assert_eq!(status, 201);
    assert_ne!(body["data"]["id"].to_string(), ids[0]);
    world.finish().await;
}

#[tokio::test]
async fn a_repeated_completion_gets_the_first_text() {
    let world = World::new().await;
    let mut island = world.island("palma", "1", 50).await;
    let ana = world.user("ana", "100").await;
    let body = json!({"model": "default", "messages": [{"role": "user", "content": "hi"}]}).to_string();
    let ask = || ana.request("POST", "/v1/chat/completions", &[("idempotency-key", "k")], Some(&body));
    let first = {
        let (asked, ()) = tokio::join!(ask(), async {
            let work = island.work().await;
            // The same request while the first one runs: not charged again, told to wait.
            let (status, body) = ask().await;
            assert_eq!((status, &body["error"]["code"]), (409, &json!("in_flight")));
            island.output(work.attempt, 1, "only once").await;
            island.done(work.attempt).await;
        });
        asked
    };
    assert_eq!(first.0, 200, "{}", first.1);
    let again = ask().await;
    assert_eq!(again.1["choices"], first.1["choices"]);
    assert_eq!(again.1["id"], first.1["id"]);
    assert_eq!(ana.credits().await.0, "99");
    world.finish().await;
}

#[tokio::test]
async fn a_refused_request_leaves_its_key_free() {
    let world = World::new().await;
    let island = world.island("palma", "1", 1).await.works_by_itself();
    let ana = world.user("ana", "0").await;
    let submit = || ana.request("POST", "/api/v1/jobs", &[("idempotency-key", "k")], Some(BODY));
    assert_eq!(submit().await.0, 402);
    world.admin(&["grant", "--email", &ana.email, "--credits", "1", "--note", "x"]).await;
    let (status, body) = submit().await;
    assert_eq!(status, 201);
    ana.ended(body["data"]["id"].as_str().unwrap()).await;
    island.abort();
    world.finish().await;
}

/// Incident 26 again: repeats that arrive together with a request that is refused get the refusal, never a 500.
#[tokio::test]
async fn repeats_of_a_refused_request_are_refused_alike() {
    let world = World::new().await;
    let _island = world.island("palma", "1", 50).await;
    let ana = world.user("ana", "0").await;
    for round in 0..10 {
        let key = format!("round {round}");
        let headers = [("idempotency-key", key.as_str())];
        let submit = || ana.request("POST", "/api/v1/jobs", &headers, Some(BODY));
        let answers = futures_util::future::join_all((0..4).map(|_| submit())).await;
        // Those that came while another was being answered are told to come again.
        assert!(answers.iter().all(|(status, _)| matches!(status, 402 | 409)), "{answers:?}");
        assert_eq!(submit().await.0, 402);
    }
    // What was refused changed nothing, so the key is still free.
    world.admin(&["grant", "--email", &ana.email, "--credits", "5", "--note", "test"]).await;
    let (status, _) =
        ana.request("POST", "/api/v1/jobs", &[("idempotency-key", "round 0")], Some(BODY)).await;
    assert_eq!(status, 201);
    world.finish().await;
}
