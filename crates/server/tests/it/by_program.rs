//! What a person does on a page, a program does too: verification, own Islands, pairing, letters, conversations.

use serde_json::{Value, json};

use crate::world::browser::{Browser, path_of};
use crate::world::{FakeIsland, World};

const JSON: &[(&str, &str)] = &[];

#[tokio::test]
async fn a_program_leads_its_user_through_the_verification() {
    let world = World::with("[mail]\ntransport = \"file\"\n").await;
    world.admin(&["user", "create", "--email", "ana@example.org"]).await;
    let ana = world.key_for("ana@example.org", &[]).await;
    let status = async || ana.get("/api/v1/verification/status").await.1["data"].clone();
    let nothing = json!({"status": "unverified", "can_spend": false, "verified_at": null, "country": null, "reason": null});
    assert_eq!(status().await, nothing);
    let begin = async || ana.request("POST", "/api/v1/verification/sessions", JSON, None).await;
    let (code, begun) = begin().await;
    assert_eq!((code, &begun["data"]["status"]), (201, &json!("pending")), "{begun}");
    assert_eq!(status().await["status"], "pending");
    // One that is open is gone on with.
    assert_eq!(begin().await, (code, begun.clone()));
    let page = path_of(begun["data"]["url"].as_str().unwrap());
    let mut browser = Browser::new(&world.url);
    let refused = browser.send(&page, &page, &[("action", "reject"), ("reason", "face_mismatch")]).await;
    assert_eq!(refused.status, 303, "{}", refused.text);
    let rejected = status().await;
    assert_eq!(
        (&rejected["status"], &rejected["can_spend"]),
        (&json!("rejected"), &json!(false)),
        "{rejected}"
    );
    assert!(rejected["reason"].is_string(), "{rejected}");
    // Another try.
    let (code, begun) = begin().await;
    assert_eq!(code, 201, "{begun}");
    let page = path_of(begun["data"]["url"].as_str().unwrap());
    let verified =
        browser.send(&page, &page, &[("action", "approve"), ("name", "Ana"), ("country", "DE")]).await;
    assert_eq!(verified.status, 303, "{}", verified.text);
    let verified = status().await;
    assert_eq!(
        (&verified["status"], &verified["can_spend"]),
        (&json!("verified"), &json!(true)),
        "{verified}"
    );
    assert_eq!(
        (&verified["country"], verified["verified_at"].is_string()),
        (&json!("DE"), true),
        "{verified}"
    );
    let (code, refused) = begin().await;
    assert_eq!((code, &refused["error"]["code"]), (409, &json!("already_verified")), "{refused}");
    world.finish().await;
}

#[tokio::test]
async fn a_program_looks_after_islands() {
    let world = World::new().await;
    let ana = world.user("ana", "0").await;
    let ben = world.user("ben", "0").await;
    let (status, made) = ana.post("/api/v1/hosts", &json!({"name": " Palma "})).await;
    assert_eq!((status, &made["data"]["name"]), (201, &json!("Palma")), "{made}");
    let island = FakeIsland::connect(&world.url, made["data"]["token"].as_str().unwrap(), "1", 1).await;
    let mine = ana.get("/api/v1/hosts?mine=true").await.1["data"].clone();
    assert_eq!((mine.as_array().unwrap().len(), &mine[0]["status"]), (1, &json!("online")), "{mine}");
    assert_eq!(ben.get("/api/v1/hosts?mine=true").await.1["data"], json!([]));
    assert_eq!(ana.get("/api/v1/hosts?mine=perhaps").await.0, 422);
    for name in ["", "a\u{e4}", &"x".repeat(65)] {
        let (status, refused) = ana.post("/api/v1/hosts", &json!({"name": name})).await;
        assert_eq!((status, &refused["error"]["param"]), (422, &json!("name")), "{refused}");
    }
    drop(island);

    // A machine that shows a code: looked at, refused; another confirmed, which fetches its token.
    let pair = async || -> Value {
        let request = world.http.post(format!("{}/api/v1/pairing", world.url));
        let request = request.header("content-type", "application/json");
        request
            .body("{\"name\":\"box\",\"public\":{\"gpu_model\":\"RTX\"}}")
            .send()
            .await
            .unwrap()
            .json()
            .await
            .unwrap()
    };
    let poll = async |begun: &Value| {
        let body = json!({"poll_token": begun["poll_token"]}).to_string();
        let request = world.http.post(format!("{}/api/v1/pairing/poll", world.url)).body(body);
        let response = request.header("content-type", "application/json").send().await.unwrap();
        (response.status().as_u16(), response.json::<Value>().await.unwrap())
    };
    let begun = pair().await;
    assert_eq!(poll(&begun).await.0, 202);
    let code = json!({"code": begun["code"]});
    let (status, machine) = ana.post("/api/v1/pairing/look", &code).await;
    let machine = &machine["data"];
    assert_eq!(
        (status, &machine["name"], &machine["capabilities"]["gpu_model"]),
        (200, &json!("box"), &json!("RTX"))
    );
    assert_eq!(ana.post("/api/v1/pairing/refuse", &code).await.1["data"]["status"], "refused");
    assert_eq!(poll(&begun).await.0, 403);
    assert_eq!(ana.post("/api/v1/pairing/look", &code).await.0, 422, "it is worth nothing any more");
    let begun = pair().await;
    let confirm = json!({"code": begun["code"], "name": "Hvar"});
    let (status, confirmed) = ana.post("/api/v1/pairing/confirm", &confirm).await;
    assert_eq!((status, &confirmed["data"]["name"]), (201, &json!("Hvar")), "{confirmed}");
    let (status, paired) = poll(&begun).await;
    assert_eq!((status, &paired["island_id"]), (200, &confirmed["data"]["id"]), "{paired}");
    FakeIsland::connect(&world.url, paired["token"].as_str().unwrap(), "1", 1).await;
    // Whoever tries codes is stopped.
    for _ in 0..10 {
        ben.post("/api/v1/pairing/look", &json!({"code": "ABCDEF"})).await;
    }
    let (status, refused) = ben.post("/api/v1/pairing/look", &json!({"code": "ABCDEF"})).await;
    assert_eq!((status, &refused["error"]["code"]), (429, &json!("too_many_codes")), "{refused}");

    // Letters about them.
    assert_eq!(ana.get("/api/v1/account/letters").await.1["data"]["islands"], true);
    let set = ana.request("PUT", "/api/v1/account/letters", JSON, Some("{\"islands\": false}")).await;
    assert_eq!((set.0, &set.1["data"]["islands"]), (200, &json!(false)), "{set:?}");
    assert_eq!(ana.get("/api/v1/account/letters").await.1["data"]["islands"], false);
    for wrong in ["{}", "{\"islands\": \"no\"}", "{\"islands\": true, \"mail\": true}"] {
        assert_eq!(ana.request("PUT", "/api/v1/account/letters", JSON, Some(wrong)).await.0, 422, "{wrong}");
    }
    world.finish().await;
}

#[tokio::test]
async fn a_program_moves_earnings_and_ends_sessions() {
    let world = World::with("[mail]\ntransport = \"file\"\n").await;
    let island = world.island("ana", "4", 1).await.works_by_itself();
    let owner = world.key_for("ana-owner@example.org", &[]).await;
    let (status, refused) = owner.request("POST", "/api/v1/earnings/move", JSON, None).await;
    assert_eq!((status, &refused["error"]["code"]), (409, &json!("nothing_to_move")), "{refused}");
    let ben = world.user("ben", "10").await;
    let job = ben.job(json!({})).await;
    ben.ended(&job).await;
    let (status, moved) = owner.request("POST", "/api/v1/earnings/move", JSON, None).await;
    assert_eq!((status, &moved["data"]["moved"]), (200, &json!(3.6)), "{moved}");
    assert_eq!(owner.credits().await, ("3.6".to_owned(), "0".to_owned()));

    let mut browser = Browser::new(&world.url);
    browser.sign_in("ben@example.org", world.folder.path()).await;
    let ended = ben.request("DELETE", "/api/v1/account/sessions", JSON, None).await;
    assert_eq!((ended.0, &ended.1["data"]["ended"]), (200, &json!(1)), "{ended:?}");
    assert_eq!(browser.get("/settings").await.status, 303);
    let named = ben.request("PATCH", "/api/v1/account", JSON, Some("{\"name\": \" Ben \"}")).await;
    assert_eq!((named.0, &named.1["data"]["name"]), (200, &json!("Ben")), "{named:?}");
    assert_eq!(ben.get("/api/v1/account").await.1["data"]["name"], "Ben");
    for wrong in [
        json!({}),
        json!({"name": "x".repeat(81)}),
        json!({"name": "a\u{7}"}),
        json!({"name": "x", "email": "y"}),
    ] {
        let refused = ben.request("PATCH", "/api/v1/account", JSON, Some(&wrong.to_string())).await;
        assert_eq!(refused.0, 422, "{wrong}");
    }
    island.abort();
    world.finish().await;
}
