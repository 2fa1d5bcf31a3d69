//! Connections of Islands that break: nothing an Island sends is lost or taken twice, and nobody pays for what did not come.

use std::collections::HashMap;

use serde_json::{Value, json};
use types::id::AttemptId;
use types::island_protocol::{FromIsland, RECEIVED_EVERY, ToIsland};
use types::rng::{Random, SeededRandom};

use crate::world::island::{hello, hello_again};
use crate::world::{FakeIsland, User, World};

/// An agent that keeps what it says about attempts until it is told that it arrived, and says it again after a break.
struct Agent {
    url: String,
    token: String,
    ask: String,
    slots: u32,
    island: Option<FakeIsland>,
    session: Option<String>,
    said: Vec<FromIsland>,
    running: Vec<AttemptId>,
}

impl Agent {
    async fn start(world: &World, name: &str, ask: &str, slots: u32) -> Self {
        let token = world.island_token(&format!("{name}-owner@example.org"), name).await;
        let mut agent = Self {
            url: world.url.clone(),
            token,
            ask: ask.to_owned(),
            slots,
            island: None,
            session: None,
            said: Vec::new(),
            running: Vec::new(),
        };
        assert!(!agent.connect().await);
        agent
    }

    /// Connects; answers whether the session went on. What had not arrived is said again.
    async fn connect(&mut self) -> bool {
        let ends = self.said.iter().filter_map(|message| match message {
            FromIsland::Done { attempt_id, .. } => Some(*attempt_id),
            _ => None,
        });
        // Also those whose end may not have arrived.
        let listed = self.running.iter().copied().chain(ends).collect();
        let hello = hello_again(&self.ask, self.slots, self.session.clone(), listed);
        let (mut island, answer) = FakeIsland::greet(&self.url, &self.token, &hello).await;
        let Some(ToIsland::Welcome { session, resumed, received, .. }) = answer else {
            panic!("not welcome: {answer:?}");
        };
        if !resumed {
            self.said.clear();
            self.running.clear();
        }
        self.session = session;
        let arrived = usize::try_from(received).unwrap();
        for message in &self.said[arrived..] {
            island.say(message).await;
        }
        self.island = Some(island);
        resumed
    }

    fn island(&mut self) -> &mut FakeIsland {
        self.island.as_mut().expect("it is connected")
    }

    /// Cuts the connection, as a router that is switched off would.
    fn cut(&mut self) {
        self.island = None;
    }

    /// Says something about an attempt, now or when it is connected again.
    async fn say(&mut self, message: FromIsland) {
        self.said.push(message.clone());
        if let Some(island) = &mut self.island {
            island.try_say(&message).await;
        }
    }

    async fn output(&mut self, attempt: AttemptId, seq: u64, text: &str) {
        self.say(FromIsland::Output { attempt_id: attempt, seq, chunk: text.to_owned() }).await;
    }

    async fn done(&mut self, attempt: AttemptId) {
        self.running.retain(|&one| one != attempt);
        self.say(FromIsland::Done { attempt_id: attempt, usage: None, finish_reason: None }).await;
    }

    async fn work(&mut self) -> AttemptId {
        let attempt = self.island().work().await.attempt;
        self.running.push(attempt);
        attempt
    }

    /// Everything so far has arrived: the heartbeat's answer says so.
    async fn arrived(&mut self) {
        let (running, said) = (self.running.clone(), self.said.len());
        self.island().say(&FromIsland::Heartbeat { running }).await;
        loop {
            match self.island().hear().await.expect("the coordinator is there") {
                ToIsland::Received { messages, today: Some(_) } => {
                    return assert_eq!(usize::try_from(messages).unwrap(), said);
                }
                _ => continue,
            }
        }
    }
}

fn chat() -> Value {
    json!({"model": "llm-chat", "stream": true, "messages": [{"role": "user", "content": "hi"}]})
}

async fn hosts(ana: &User) -> Value {
    ana.get("/api/v1/market/rates/llm-chat").await.1["data"][0]["num_hosts"].clone()
}

#[tokio::test]
async fn a_stream_goes_on_after_the_islands_connection_broke() {
    let world = World::new().await;
    let mut agent = Agent::start(&world, "palma", "3", 1).await;
    let ana = world.user("ana", "100").await;
    let mut stream = ana.chat_stream(&chat()).await;
    let attempt = agent.work().await;
    agent.output(attempt, 1, "one ").await;
    agent.output(attempt, 2, "two ").await;
    agent.arrived().await;
    agent.cut();
    // Out of the book at once, though what runs there may go on (incident 96).
    while hosts(&ana).await != json!(0) {}
    assert_eq!(ana.credits().await, ("97".to_owned(), "3".to_owned()));
    // Two of these cannot be sent now.
    agent.output(attempt, 3, "three ").await;
    agent.output(attempt, 4, "four").await;
    assert!(agent.connect().await, "it goes on");
    assert_eq!(hosts(&ana).await, json!(1));
    agent.done(attempt).await;
    let mut text = String::new();
    while let Some(event) = stream.next().await {
        text.push_str(event["choices"][0]["delta"]["content"].as_str().unwrap_or(""));
    }
    assert_eq!(text, "one two three four");
    assert_eq!(ana.credits().await, ("97".to_owned(), "0".to_owned()));
    assert_eq!(world.account("palma-owner").await["earnings"], json!(2.7));
    world.finish().await;
}

/// What arrived is not taken again, though the Island has not heard that it did.
#[tokio::test]
async fn an_end_that_arrived_before_the_break_is_not_taken_twice() {
    let world = World::new().await;
    let mut agent = Agent::start(&world, "palma", "3", 2).await;
    let ana = world.user("ana", "100").await;
    let job = ana.job(json!({})).await;
    let attempt = agent.work().await;
    agent.output(attempt, 1, "x").await;
    agent.done(attempt).await;
    assert_eq!(ana.ended(&job).await["status"], json!("completed"));
    agent.cut();
    // It lists the attempt still, because it does not know that its end arrived; it is not told to stop it.
    assert!(agent.connect().await);
    let next = ana.job(json!({})).await;
    match agent.island().hear().await {
        Some(ToIsland::Assign { attempt_id, .. }) => {
            agent.output(attempt_id, 1, "y").await;
            agent.done(attempt_id).await;
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(ana.ended(&next).await["output"], json!("y"));
    assert_eq!(ana.credits().await, ("94".to_owned(), "0".to_owned()));
    world.finish().await;
}

#[tokio::test]
async fn a_wish_to_cancel_that_could_not_be_told_is_told_when_the_island_is_back() {
    let world = World::new().await;
    let mut agent = Agent::start(&world, "palma", "3", 1).await;
    let ana = world.user("ana", "100").await;
    let job = ana.job(json!({})).await;
    let attempt = agent.work().await;
    agent.cut();
    while hosts(&ana).await != json!(0) {}
    let (status, body) = ana.request("DELETE", &format!("/api/v1/jobs/{job}"), &[], None).await;
    assert_eq!((status, &body["data"]["status"]), (200, &json!("cancelled")));
    assert!(agent.connect().await);
    agent.island().told_to_stop(attempt).await;
    // Late words reach nobody and are no offence.
    agent.output(attempt, 1, "late").await;
    agent.done(attempt).await;
    agent.arrived().await;
    assert_eq!(ana.credits().await, ("100".to_owned(), "0".to_owned()));
    world.finish().await;
}

#[tokio::test]
async fn what_the_island_has_forgotten_is_lost_and_what_we_do_not_know_is_stopped() {
    let world = World::new().await;
    let mut agent = Agent::start(&world, "palma", "1", 1).await;
    let mut spare = world.island("spare", "2", 1).await;
    let ana = world.user("ana", "100").await;
    let job = ana.job(json!({})).await;
    let attempt = agent.work().await;
    agent.cut();
    let strange: AttemptId = "att_0000000000123".parse().unwrap();
    agent.running = vec![strange];
    assert!(agent.connect().await);
    agent.island().told_to_stop(strange).await;
    // The other Island is asked at once: nobody waits for the lease.
    let work = spare.work().await;
    assert_ne!(work.attempt, attempt);
    spare.output(work.attempt, 1, "fine").await;
    spare.done(work.attempt).await;
    assert_eq!(ana.ended(&job).await["cost"], json!(2));
    world.finish().await;
}

#[tokio::test]
async fn a_session_goes_on_for_its_own_island_only() {
    let world = World::new().await;
    let mut agent = Agent::start(&world, "palma", "1", 1).await;
    let ana = world.user("ana", "100").await;
    let job = ana.job(json!({})).await;
    let attempt = agent.work().await;
    agent.output(attempt, 1, "half ").await;
    agent.arrived().await;
    agent.cut();
    // Another Island that has learnt the name gets nothing by it.
    let token = world.island_token("mallory@example.org", "mallory").await;
    let hello = hello_again("9", 1, agent.session.clone(), vec![attempt]);
    let (mut mallory, answer) = FakeIsland::greet(&world.url, &token, &hello).await;
    let Some(ToIsland::Welcome { resumed, session, received, .. }) = answer else { panic!("{answer:?}") };
    assert!(!resumed && received == 0 && session != agent.session);
    mallory.output(attempt, 2, "lies").await;
    mallory.done(attempt).await;
    // Nor does a wrong name, for the Island itself: what ran is given up.
    let right = agent.session.replace("is_0000000000000000000000000000000000000000".to_owned());
    assert_ne!(right, agent.session);
    assert!(!agent.connect().await);
    let job = ana.ended(&job).await;
    assert_eq!((&job["status"], &job["error_code"]), (&json!("failed"), &json!("island_lost")));
    assert_eq!(ana.credits().await, ("100".to_owned(), "0".to_owned()));
    world.finish().await;
}

/// A connection that is dead for the Island may be alive for us.
#[tokio::test]
async fn a_half_dead_connection_is_replaced_and_not_listened_to_any_more() {
    let world = World::new().await;
    let mut agent = Agent::start(&world, "palma", "1", 1).await;
    let ana = world.user("ana", "100").await;
    let job = ana.job(json!({})).await;
    let attempt = agent.work().await;
    agent.output(attempt, 1, "one ").await;
    agent.arrived().await;
    let mut old = agent.island.take().unwrap();
    assert!(agent.connect().await);
    // What the old one still brings is not counted and not shown.
    old.try_say(&FromIsland::Output { attempt_id: attempt, seq: 2, chunk: "lies ".to_owned() }).await;
    agent.output(attempt, 2, "two").await;
    agent.done(attempt).await;
    assert_eq!(ana.ended(&job).await["output"], json!("one two"));
    let mut refused = Value::Null;
    while let Some(message) = old.hear().await {
        if let ToIsland::Refused { code, .. } = message {
            refused = json!(code);
        }
    }
    assert_eq!(refused, json!("replaced"));
    assert_eq!(hosts(&ana).await, json!(1), "the new one is in the book");
    world.finish().await;
}

/// The book forgets what ran when the Island left it; its slots are in use all the same.
#[tokio::test]
async fn slots_in_use_before_the_break_are_in_use_after_it() {
    let world = World::new().await;
    let mut agent = Agent::start(&world, "palma", "1", 1).await;
    let ana = world.user("ana", "100").await;
    let first = ana.job(json!({})).await;
    let attempt = agent.work().await;
    agent.cut();
    assert!(agent.connect().await);
    let second = ana.job(json!({})).await;
    ana.reaches(&second, "pending").await;
    agent.output(attempt, 1, "x").await;
    agent.done(attempt).await;
    assert_eq!(ana.ended(&first).await["status"], json!("completed"));
    let attempt = agent.work().await;
    agent.output(attempt, 1, "y").await;
    agent.done(attempt).await;
    assert_eq!(ana.ended(&second).await["output"], json!("y"));
    world.finish().await;
}

#[tokio::test]
async fn an_island_that_does_not_come_back_in_time_loses_its_session() {
    let world = World::with("[islands]\nheartbeat_secs = 1\nlease_secs = 1").await;
    let mut agent = Agent::start(&world, "palma", "1", 1).await;
    let ana = world.user("ana", "100").await;
    let job = ana.job(json!({})).await;
    let attempt = agent.work().await;
    agent.output(attempt, 1, "half ").await;
    agent.arrived().await;
    agent.cut();
    let job = ana.ended(&job).await;
    assert_eq!((&job["status"], &job["error_code"]), (&json!("failed"), &json!("lease_expired")));
    assert_eq!(ana.credits().await, ("100".to_owned(), "0".to_owned()));
    let mut clock = tokio::time::interval(std::time::Duration::from_millis(200));
    for _ in 0..10 {
        clock.tick().await;
    }
    assert!(!agent.connect().await, "nobody waited any longer");
    world.finish().await;
}

#[tokio::test]
async fn agents_of_version_1_go_on_working_without_sessions() {
    let world = World::new().await;
    let token = world.island_token("old-owner@example.org", "old").await;
    let mut greeting = hello("1", 1);
    if let FromIsland::Hello { protocol, .. } = &mut greeting {
        *protocol = 1;
    }
    let (mut old, answer) = FakeIsland::greet(&world.url, &token, &greeting).await;
    let Some(ToIsland::Welcome { protocol: 1, session: None, resumed: false, .. }) = answer else {
        panic!("{answer:?}")
    };
    let ana = world.user("ana", "100").await;
    let job = ana.job(json!({})).await;
    let work = old.work().await;
    for seq in 1..=2 * RECEIVED_EVERY {
        old.output(work.attempt, seq, "x").await;
    }
    old.say(&FromIsland::Heartbeat { running: vec![work.attempt] }).await;
    let mut stream = ana.stream(&job).await;
    stream.next_of("token").await;
    drop(old);
    // Without a session there is nothing to wait for.
    let job = ana.ended(&job).await;
    assert_eq!((&job["status"], &job["error_code"]), (&json!("failed"), &json!("island_lost")));
    world.finish().await;
}

#[tokio::test]
async fn what_arrived_is_acknowledged_often() {
    let world = World::new().await;
    let mut agent = Agent::start(&world, "palma", "1", 1).await;
    let ana = world.user("ana", "100").await;
    let job = ana.job(json!({})).await;
    let attempt = agent.work().await;
    for seq in 1..=RECEIVED_EVERY {
        agent.output(attempt, seq, "x").await;
    }
    match agent.island().hear().await {
        Some(ToIsland::Received { messages, today: None }) => assert_eq!(messages, RECEIVED_EVERY),
        other => panic!("{other:?}"),
    }
    agent.done(attempt).await;
    ana.ended(&job).await;
    agent.running.clear();
    agent.island().say(&FromIsland::Heartbeat { running: Vec::new() }).await;
    match agent.island().hear().await {
        Some(ToIsland::Received { messages, today: Some(today) }) => {
            assert_eq!(messages, RECEIVED_EVERY + 1);
            assert_eq!((today.jobs, today.earned.get()), (1, 900_000));
        }
        other => panic!("{other:?}"),
    }
    world.finish().await;
}

/// Cuts at random moments, messages said twice, lies about others' attempts, over many jobs: each job that completes has
/// exactly the words that were meant for it, and is paid once.
#[tokio::test]
async fn any_number_of_cuts_loses_and_doubles_nothing() {
    const ROUNDS: usize = 14;
    let world = World::with("[islands]\nconnects_per_minute = 10000").await;
    let mut agent = Agent::start(&world, "palma", "1", 3).await;
    let mut liar = world.island("liar", "90", 1).await;
    let ana = world.user("ana", "1000").await;
    let random = SeededRandom::new(20_261_122);
    let one_in = |number: u8| {
        let mut byte = [0];
        random.fill(&mut byte);
        byte[0] % number == 0
    };
    let (mut jobs, mut written, mut cuts) = (Vec::new(), HashMap::<AttemptId, u64>::new(), 0);
    for _ in 0..ROUNDS {
        for _ in 0..3 {
            jobs.push(ana.job(json!({})).await);
            agent.work().await;
        }
        while !agent.running.is_empty() {
            let last = agent.running.len() - 1;
            agent.running.rotate_left(usize::from(one_in(2)).min(last));
            let attempt = agent.running[0];
            let number = *written.entry(attempt).and_modify(|seq| *seq += 1).or_insert(1);
            agent.output(attempt, number, &format!("{number},")).await;
            if one_in(5) {
                liar.output(attempt, number + 1, "lies").await;
                liar.done(attempt).await;
            }
            if number >= 6 {
                agent.done(attempt).await;
            }
            if agent.island.is_none() {
                // What was said meanwhile nobody has heard; it is said again.
                if one_in(2) {
                    assert!(agent.connect().await);
                }
            } else if one_in(7) {
                if one_in(2) {
                    agent.arrived().await;
                }
                agent.cut();
                cuts += 1;
            }
        }
        if agent.island.is_none() {
            assert!(agent.connect().await);
        }
    }
    agent.arrived().await;
    assert!(cuts > 10, "{cuts} cuts");
    for job in &jobs {
        let job = ana.ended(job).await;
        assert_eq!((&job["status"], &job["attempts"]), (&json!("completed"), &json!(1)));
        assert_eq!((&job["output"], &job["cost"]), (&json!("1,2,3,4,5,6,"), &json!(1)));
    }
    assert_eq!(ana.credits().await, ((1000 - jobs.len()).to_string(), "0".to_owned()));
    assert_eq!(world.account("liar-owner").await["earnings"], json!(0));
    world.finish().await;
}
