//! Every page in every interesting state, with sample data. The test checks them, the example writes them to
//! files to look at. What a user could have typed contains markup somewhere, so that escaping is seen.

mod job;
mod market;
mod money;

use pages::chat::{Again, Answer, CargoOption, Chat, Conversation, ConversationLink, Problem, Receipt, Turn};
use pages::error::ErrorPage;
use pages::image::{Image, ImageView};
use pages::landing::{Landing, Rate};
use pages::login::{Login, LoginConfirm, LoginExpired, LoginSent};
use pages::pair::{Pair, PairState};
use pages::quickstart::Quickstart;
use pages::verify::{Verify, VerifyState};
use pages::{Flash, Layout, Nav, Template, UserView, When};

/// Markup that must never come out as markup.
pub const HOSTILE: &str = "<script>alert('x')</script>";

/// A page: name of its file, and its text.
pub type Sample = (&'static str, String);

pub fn all() -> askama::Result<Vec<Sample>> {
    let mut pages = signed_out()?;
    pages.extend(chats()?);
    pages.extend(others()?);
    pages.extend(job::pages()?);
    pages.extend(money::pages()?);
    pages.extend(market::pages()?);
    Ok(pages)
}

pub fn public(title: &str) -> Layout {
    Layout { title: title.into(), csrf: "sample-csrf".into(), ..Layout::default() }
}

pub fn member(title: &str, active: Nav) -> Layout {
    let user = UserView {
        email: "robin.lindqvist@example.org".into(),
        initials: "RL".into(),
        available: "494.00".into(),
        held: None,
        usd: "≈ $4.94".into(),
        low: false,
        version: 12,
    };
    Layout { user: Some(user), active, ..public(title) }
}

/// A member with little left, something held, in test mode.
pub fn poor(title: &str, active: Nav) -> Layout {
    let mut layout = member(title, active);
    layout.test_mode = true;
    if let Some(user) = &mut layout.user {
        user.available = "7.25".into();
        user.held = Some("2.50".into());
        user.usd = "≈ $0.07".into();
        user.low = true;
        user.email = "a.very.long.address.of.somebody@department.university.example".into();
    }
    layout
}

pub fn when(text: &str) -> When {
    When { iso: "2026-11-22T11:58:00Z".into(), text: text.into() }
}

pub fn receipt(island: &str, seconds: &str, cost: &str) -> Receipt {
    Receipt { island: island.into(), seconds: seconds.into(), cost: cost.into() }
}

fn signed_out() -> askama::Result<Vec<Sample>> {
    let rate = |name: &str, ask: Option<&str>, unit: &str, islands: &str| Rate {
        name: name.into(),
        best_ask: ask.map(Into::into),
        unit: unit.into(),
        islands_online: islands.into(),
    };
    let rates = vec![
        rate("LLM Chat Standard", Some("1.50"), "request", "14"),
        rate("LLM Chat High quality", Some("6.00"), "request", "5"),
        rate("Image generation", Some("12.00"), "image", "3"),
        rate("Embeddings", None, "1k tokens", "0"),
    ];
    let email = "robin@example.org".to_owned();
    let mut demo = public("Check your mail");
    demo.test_mode = true;
    Ok(vec![
        ("landing", Landing { layout: public("AI jobs on other people’s machines"), rates }.render()?),
        ("landing_empty", Landing { layout: public("Welcome"), rates: Vec::new() }.render()?),
        ("login", Login { layout: public("Sign in"), email: String::new(), error: None }.render()?),
        (
            "login_error",
            Login {
                layout: public("Sign in"),
                email: HOSTILE.into(),
                error: Some("This is not an e-mail address. It should look like name@example.org.".into()),
            }
            .render()?,
        ),
        (
            "login_sent",
            LoginSent { layout: public("Check your mail"), email: email.clone(), demo_link: None }
                .render()?,
        ),
        (
            "login_sent_demo",
            LoginSent {
                layout: demo,
                email: email.clone(),
                demo_link: Some("/login/confirm?token=abc&x=1".into()),
            }
            .render()?,
        ),
        (
            "login_confirm",
            LoginConfirm { layout: public("Sign in"), email: email.clone(), token: "tok".into() }.render()?,
        ),
        (
            "login_expired",
            LoginExpired { layout: public("Link expired"), email: email.clone(), used: false }.render()?,
        ),
        ("login_used", LoginExpired { layout: public("Link used"), email, used: true }.render()?),
        ("not_found", ErrorPage::not_found(public(""), "req_01hq3f9".into()).render()?),
        ("docs_public", docs(public("Documentation"))?),
    ])
}

fn cargos() -> Vec<CargoOption> {
    vec![
        CargoOption {
            slug: "llm-chat".into(),
            name: "LLM Chat Standard".into(),
            best_ask: Some("2".into()),
            unit: None,
            own_bid: Some("2.5".into()),
            selected: true,
        },
        CargoOption {
            slug: "llm-chat-hq".into(),
            name: "LLM Chat High quality".into(),
            best_ask: None,
            unit: Some("1,000 tokens".into()),
            own_bid: None,
            selected: false,
        },
    ]
}

fn conversations(current: Option<usize>) -> Vec<ConversationLink> {
    ["How do tides work?", "Duplicate files in Python, with a very long title that has to be cut", HOSTILE]
        .iter()
        .enumerate()
        .map(|(at, title)| ConversationLink {
            id: format!("con_{at}"),
            title: (*title).into(),
            current: current == Some(at),
        })
        .collect()
}

const ANSWER: &str = "Tides are the sea **rising and falling**, about twice a day. In short:\n\n1. The Moon pulls \
the water a little.\n2. The water bulges towards the Moon, and also on the far side.\n3. The Earth turns *under* \
those bulges.\n\nYou can compute the height with a sum of cosines, see \
[harmonic analysis](https://example.org/tides) or call `height(t)`:\n\n```python\ndef height(t):\n    return \
sum(a * cos(w * t + p) for a, w, p in parts)  # metres above chart datum, for one harbour\n```\n\nSpring tides \
come with a new or a full Moon.";

fn turns(last: Answer) -> Vec<Turn> {
    vec![
        Turn::User { text: "How do tides work?\nKeep it short, please.".into() },
        Turn::Answer(Box::new(Answer {
            id: "msg_1".into(),
            text: ANSWER.into(),
            receipt: Some(receipt("Palma", "2.4", "2")),
            ..Answer::default()
        })),
        Turn::User { text: format!("And what does {HOSTILE} do?") },
        Turn::Answer(Box::new(last)),
    ]
}

fn chat(layout: Layout, last: Answer) -> Chat {
    Chat {
        layout,
        conversations: conversations(Some(0)),
        conversation: Some(Conversation { id: "con_0".into(), title: "How do tides work?".into() }),
        turns: turns(last),
        cargos: cargos(),
        bid: "2.5".into(),
    }
}

fn chats() -> askama::Result<Vec<Sample>> {
    let empty = Chat {
        layout: member("Chat", Nav::Chat),
        conversations: Vec::new(),
        conversation: None,
        turns: Vec::new(),
        cargos: cargos(),
        bid: String::new(),
    };
    let good = Answer {
        id: "msg_2".into(),
        text: format!("It would show a box, if this page let it: `{HOSTILE}`."),
        receipt: Some(receipt("Brač", "0.9", "1")),
        again: Again::Regenerate,
        ..Answer::default()
    };
    let failed = Answer {
        id: "msg_2".into(),
        error: Some(Problem {
            text: "You need 2.00 credits, you have 0.50.".into(),
            link: Some(("/credits".into(), "Buy credits".into())),
        }),
        again: Again::Retry,
        ..Answer::default()
    };
    let running = Answer { id: "msg_2".into(), running_job: Some("job_1".into()), ..Answer::default() };
    Ok(vec![
        ("chat_empty", empty.render()?),
        ("chat", chat(member("How do tides work?", Nav::Chat), good).render()?),
        ("chat_failed", chat(poor("How do tides work?", Nav::Chat), failed).render()?),
        ("chat_running", chat(member("How do tides work?", Nav::Chat), running).render()?),
    ])
}

fn images() -> Vec<ImageView> {
    (0..4)
        .map(|at| ImageView {
            job_id: format!("job_{at}"),
            prompt: format!("A lighthouse number {at} {HOSTILE}"),
            seed: Some("42".into()),
            size: (at > 0).then(|| "1024 × 768".into()),
            receipt: receipt("Naxos", "11.2", "12"),
        })
        .collect()
}

fn image(layout: Layout, recent: Vec<ImageView>, running: bool) -> Image {
    Image {
        layout,
        best_ask: Some("12.00".into()),
        slug: "sdxl".into(),
        bid: String::new(),
        running_job: running.then(|| "job_9".into()),
        recent,
    }
}

fn quickstart(layout: Layout, done: bool) -> Quickstart {
    Quickstart {
        layout,
        verified: done,
        verification_pending: !done,
        bought: done,
        chatted: false,
        has_island: done,
        has_key: done,
        base_url: "http://127.0.0.1:4000".into(),
    }
}

fn pair(state: PairState) -> askama::Result<String> {
    Pair { layout: member("Pair a machine", Nav::Islands), state }.render()
}

fn verify(state: VerifyState) -> askama::Result<String> {
    Verify { layout: member("Verification", Nav::Settings), state }.render()
}

fn others() -> askama::Result<Vec<Sample>> {
    let mut flashed = member("Error", Nav::None);
    flashed.flash = Some(Flash::bad("The form had expired. Nothing was changed; please send it again."));
    Ok(vec![
        ("image", image(member("Image", Nav::Image), images(), false).render()?),
        ("image_empty", image(poor("Image", Nav::Image), Vec::new(), false).render()?),
        ("image_running", image(member("Image", Nav::Image), images(), true).render()?),
        ("quickstart", quickstart(poor("Quickstart", Nav::Quickstart), false).render()?),
        ("quickstart_done", quickstart(member("Quickstart", Nav::Quickstart), true).render()?),
        ("pair", pair(PairState::Enter { code: String::new() })?),
        (
            "pair_confirm",
            pair(PairState::Confirm {
                code: "A3X9K2".into(),
                name: "Palma".into(),
                facts: vec![("Asks from".into(), "203.0.113.7".into()), ("Agent".into(), "1.2.0".into())],
            })?,
        ),
        ("pair_done", pair(PairState::Done { name: "Palma".into() })?),
        ("verify", verify(VerifyState::Unverified)?),
        (
            "verify_pending",
            verify(VerifyState::Pending { continue_url: Some("/sandbox/identity/vs_1".into()) })?,
        ),
        (
            "verify_done",
            verify(VerifyState::Verified { date: "22 Nov 2026".into(), country: "Portugal".into() })?,
        ),
        (
            "verify_rejected",
            verify(VerifyState::Rejected { reason: "The document could not be read.".into() })?,
        ),
        ("error", ErrorPage::internal(flashed, "req_01hq3f9".into()).render()?),
        ("docs", docs(member("Documentation", Nav::Docs))?),
    ])
}

/// The quickstart, as a page.
fn docs(layout: Layout) -> askama::Result<String> {
    let guide = &pages::docs::guides::all()[0];
    let html = pages::docs::at_home(&guide.html, "https://archipelago.example.org");
    let side = pages::docs::Side::default();
    pages::docs::GuidePage { layout, side, title: guide.title.clone(), html, next: None }.render()
}
