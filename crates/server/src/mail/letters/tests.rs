//! Renders every letter there is. A new [`Kind`] does not compile without a sample here.

use super::*;
use types::money::{Cents, Credits, MicroCredits};

const SITE: &str = "https://islands.example";
const HOSTILE: &str = "<script>alert(1)</script>\r\nBcc: everybody@example.org\n\n\u{202e}\"'&";

/// A letter with these texts from outside, and the facts both of its parts must tell.
fn sample(kind: Kind, text: &str) -> (Box<dyn Letter>, Vec<&'static str>) {
    let (site, line) = (SITE.to_owned(), Line::from(text));
    let (cents, credits) = (Cents::new(123_499), Credits::new(1100));
    let micros = MicroCredits::new(1_234_500_000);
    let threshold = MicroCredits::new(50_000_000);
    match kind {
        Kind::SignIn => {
            let link = format!("{SITE}/login/abc");
            (Box::new(SignIn { site, link }), vec!["https://islands.example/login/abc", "fifteen minutes"])
        }
        Kind::LowBalance => {
            let letter = LowBalance { site, available: micros, threshold };
            (Box::new(letter), vec!["1,234.50", "50.00", "https://islands.example/credits"])
        }
        Kind::BalanceExhausted => {
            let letter = BalanceExhausted { site, available: MicroCredits::new(500_000) };
            (Box::new(letter), vec!["0.50", "https://islands.example/credits"])
        }
        Kind::AccountFrozen => {
            let letter = AccountFrozen { site, reason: line.clone(), contact: line };
            (Box::new(letter), vec!["New jobs are refused"])
        }
        Kind::IdentityNeedsInput => {
            (Box::new(IdentityNeedsInput { site, reason: line }), vec!["https://islands.example/verify"])
        }
        Kind::KeyLimit => {
            let (key, prefix, key_id) = (line, "ak_1a2b3".to_owned(), "key_1".to_owned());
            let resets_at = Some(types::time::Timestamp::default());
            let (period, used, limit) = ("day", threshold, micros);
            let letter =
                KeyLimit { site, key, prefix, key_id, period, used, limit, reached: true, resets_at };
            let said = ["1,234.50", "50.00", "ak_1a2b3", "https://islands.example/settings/keys/key_1"];
            (Box::new(letter), said.to_vec())
        }
        Kind::WebhookOff => {
            let letter = WebhookOff { site, url: line.clone(), reason: line };
            (Box::new(letter), vec!["https://islands.example/settings/webhooks"])
        }
        Kind::PayoutSent => {
            let letter =
                PayoutSent { site, amount: cents, destination: line, arrives: Line::from("2026-11-26") };
            (Box::new(letter), vec!["$1,234.99", "2026-11-26", "https://islands.example/islands"])
        }
        Kind::IslandGone => {
            let letter = IslandGone { site, island: line, last_seen: Line::from("2026-11-22 12:00 UTC") };
            (Box::new(letter), vec!["2026-11-22 12:00 UTC", "https://islands.example/islands"])
        }
        Kind::IslandBack => {
            let letter = IslandBack { site, island: line, since: Line::from("2026-11-22 12:00 UTC") };
            (Box::new(letter), vec!["2026-11-22 12:00 UTC", "https://islands.example/islands"])
        }
        Kind::PayoutFailed => (
            Box::new(PayoutFailed { site, amount: cents, reason: line }),
            vec!["$1,234.99", "Nothing is lost"],
        ),
        Kind::EarningsStatement => {
            let letter = EarningsStatement {
                site,
                month: line,
                earned: micros,
                jobs: 42,
                paid_out: cents,
                balance: threshold,
            };
            (Box::new(letter), vec!["42", "1,234.50", "$1,234.99", "50.00"])
        }
        _ => payment_sample(kind, line, (cents, credits, micros)),
    }
}

fn payment_sample(
    kind: Kind,
    line: Line,
    (amount, credits, micros): (Cents, Credits, MicroCredits),
) -> (Box<dyn Letter>, Vec<&'static str>) {
    let (site, package, reason) = (SITE.to_owned(), line.clone(), line.clone());
    let letter: Box<dyn Letter> = match kind {
        Kind::Receipt => {
            let letter = Receipt {
                site,
                number: Line::from("R-7"),
                date: "2026-11-22".to_owned(),
                description: line,
                credits,
                amount,
                tax: Some(Line::from("includes 19% VAT: $197.18")),
                test_mode: true,
                pdf: b"%PDF-".to_vec(),
            };
            let facts = vec!["R-7", "2026-11-22", "1,100", "$1,234.99", "19% VAT: $197.18", "TEST MODE"];
            return (Box::new(letter), facts);
        }
        Kind::PaymentFailed => Box::new(PaymentFailed { site, package, amount }),
        Kind::TopUpDone => {
            Box::new(TopUpDone { site, credits, amount, available: micros, threshold: MicroCredits::new(1) })
        }
        Kind::TopUpDeclined => Box::new(TopUpDeclined { site, amount, reason, available: micros }),
        Kind::TopUpNeedsConfirmation => {
            let confirm_url = "https://pay.example/confirm?a=1&b=2".to_owned();
            Box::new(TopUpNeedsConfirmation { site, amount, credits, confirm_url })
        }
        Kind::TopUpPaused => return (Box::new(TopUpPaused { site, reason, until: None }), vec!["paused"]),
        Kind::RefundMade => Box::new(RefundMade { site, package, amount, credits: micros }),
        Kind::DisputeOpened => Box::new(DisputeOpened { site, package, amount, frozen: micros }),
        Kind::DisputeDecided => {
            let outcome = DisputeOutcome::PaymentStands;
            Box::new(DisputeDecided { site, package, amount, credits: micros, outcome })
        }
        Kind::Debt => {
            return (Box::new(Debt { site, debt: micros }), vec!["1,234.50", "$12.35", "pay it first"]);
        }
        Kind::SignIn
        | Kind::LowBalance
        | Kind::BalanceExhausted
        | Kind::AccountFrozen
        | Kind::PayoutSent
        | Kind::PayoutFailed
        | Kind::EarningsStatement
        | Kind::IslandGone
        | Kind::IslandBack
        | Kind::KeyLimit
        | Kind::WebhookOff
        | Kind::IdentityNeedsInput => panic!("{kind:?} has a sample elsewhere"),
    };
    (letter, vec!["$1,234.99"])
}

#[test]
fn every_letter_tells_its_facts_in_both_parts() {
    for &kind in Kind::ALL {
        let (letter, facts) = sample(kind, "Ana's Voyager");
        assert_eq!(letter.kind(), kind);
        assert_eq!(Kind::from_name(kind.name()), Some(kind));
        let mail = letter.to_mail().unwrap();
        assert!(!mail.subject.is_empty() && mail.subject.len() < 80, "{kind:?}: {}", mail.subject);
        let html = mail.html.replace("&#38;", "&").replace("&#39;", "'");
        for fact in facts {
            assert!(mail.text.contains(fact), "{kind:?} lacks {fact} in\n{}", mail.text);
            assert!(html.contains(fact), "{kind:?} lacks {fact} in\n{html}");
        }
        // An address to go on from stands on a line of its own, and nothing else does.
        let addresses: Vec<&str> = mail.text.lines().filter(|line| line.starts_with("http")).collect();
        assert_eq!(addresses.len(), 1, "{kind:?}: {addresses:?}");
        assert!(mail.text.is_ascii(), "{kind:?}: text that needs no encoding is read by everything");
        assert_eq!(mail.attachment.is_some(), kind == Kind::Receipt);
    }
}

#[test]
fn nothing_remote_is_loaded_and_dark_screens_are_thought_of() {
    for &kind in Kind::ALL {
        let html = sample(kind, "Ana").0.to_mail().unwrap().html.to_lowercase();
        for remote in ["<img", "src=", "url(", "<link", "@import", "<script", "<iframe", "background=\""] {
            assert!(!html.contains(remote), "{kind:?} has {remote}");
        }
        assert!(html.contains("prefers-color-scheme: dark") && html.contains("width=device-width"));
        assert!(html.lines().all(|line| line.len() < 900), "mail servers break longer lines");
    }
}

#[test]
fn hostile_text_is_only_text() {
    for &kind in Kind::ALL {
        let (letter, _) = sample(kind, HOSTILE);
        let mail = letter.to_mail().unwrap();
        assert!(!mail.html.contains("<script"), "{kind:?}");
        assert!(!mail.subject.contains(char::is_control), "{kind:?}: {:?}", mail.subject);
        for part in [&mail.text, &mail.html] {
            assert!(!part.lines().any(|line| line.starts_with("Bcc:")), "{kind:?}");
            assert!(!part.contains('\u{202e}'), "{kind:?}");
        }
    }
}

#[test]
fn both_ends_of_a_dispute_are_told() {
    let decided = |outcome| DisputeDecided {
        site: SITE.to_owned(),
        package: Line::from("Starter"),
        amount: Cents::new(499),
        credits: MicroCredits::new(500_000_000),
        outcome,
    };
    let won = decided(DisputeOutcome::PaymentStands).to_mail().unwrap();
    let lost = decided(DisputeOutcome::MoneyReturned).to_mail().unwrap();
    assert!(won.text.contains("Credits free again: 500.00"), "{}", won.text);
    assert!(lost.text.contains("Credits taken back: 500.00"), "{}", lost.text);
}

#[test]
fn an_address_that_is_none_is_left_out() {
    for url in ["javascript:alert(1)", "", "https://x.example/\r\nBcc: a@b", "data:text/html,x"] {
        let content = Content::new(SITE, "x").link("Open", url);
        assert!(content.action.is_none(), "{url}");
    }
}
