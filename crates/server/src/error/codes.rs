//! Every code that an error may carry: the one list of them, for the document of the API, the documentation and the tests.
//! An [`super::ApiError`] with a code that is not here, or with another status, is a mistake that tests find.

/// A code, and what to do about it.
#[derive(Clone, Copy, Debug)]
pub struct Code {
    /// As it stands in `code`; never changes.
    pub name: &'static str,
    /// With which HTTP statuses.
    pub statuses: &'static [u16],
    /// What has happened: a sentence.
    pub cause: &'static str,
    /// What to do about it: one sentence or two.
    pub cure: &'static str,
    /// What else the answer says, for programs.
    pub more: &'static [More],
}

/// Something that an error says besides its code.
#[derive(Clone, Copy, Debug)]
pub struct More {
    /// The field.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// What it means.
    pub meaning: &'static str,
}

/// What a field of an error is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Credits, as an exact number.
    Credits,
    /// A text.
    Text,
}

const fn code(
    name: &'static str,
    statuses: &'static [u16],
    cause: &'static str,
    cure: &'static str,
    more: &'static [More],
) -> Code {
    Code { name, statuses, cause, cure, more }
}

const fn credits(name: &'static str, meaning: &'static str) -> More {
    More { name, kind: Kind::Credits, meaning }
}

const fn text(name: &'static str, meaning: &'static str) -> More {
    More { name, kind: Kind::Text, meaning }
}

const JOB: More = text("job_id", "The job it is about.");
const JOB_ERROR: More = text("job_error", "Why the job ended: its `error_code`.");
const CHARGED: More = credits("charged", "What was charged for what had been delivered.");
const OWED: More = credits("owed", "How much is owed.");
const VERIFY: More = text("verify_url", "Where to verify your identity.");

/// All of them, by status.
pub const ALL: &[Code] = &[
    code(
        "invalid_json",
        &[400],
        "The body is not a JSON object.",
        "Send a JSON object, in UTF-8, with `Content-Type: application/json`.",
        &[],
    ),
    code(
        "unreadable",
        &[400, 409],
        "The request broke off before its end, or what it holds cannot be read.",
        "Send it again, whole.",
        &[],
    ),
    code(
        "bad_request",
        &[400, 404, 408, 411, 413, 414, 415, 417, 422, 426, 431],
        "The request cannot be understood, for example because its address is not UTF-8.",
        "Compare it with the documentation.",
        &[],
    ),
    code(
        "bad_signature",
        &[400],
        "What a provider sent is not signed by it.",
        "Look at the secrets of the provider's webhooks in the configuration.",
        &[],
    ),
    code(
        "no_websocket",
        &[400, 405, 426],
        "An Island called without asking for a WebSocket.",
        "Connect with a WebSocket client; the program `island` does it by itself.",
        &[],
    ),
    code(
        "unauthenticated",
        &[401],
        "There is no key, or it is not valid: mistyped, revoked, or of another server.",
        "Send the header `Authorization: Bearer ak_…` with a key made under Settings.",
        &[],
    ),
    code(
        "insufficient_credits",
        &[402],
        "There are not enough credits for this, or the key has reached its spending limit (`reason` says which).",
        "Buy credits, raise the limit of the key, or bid less. Nothing was charged.",
        &[
            credits("required", "How much this needs."),
            credits("available", "How much there is."),
            text("reason", "What stands in the way: the wallet, or a limit of the key."),
            JOB,
            JOB_ERROR,
        ],
    ),
    code(
        "in_debt",
        &[402],
        "A payment was taken back after its credits had been spent, so the account owes credits.",
        "Buy credits: they pay the debt first.",
        &[OWED, JOB, JOB_ERROR],
    ),
    code(
        "card_declined",
        &[402],
        "The card was declined.",
        "Pay with another card, or ask your bank. Nothing was charged.",
        &[text("reason", "Why, in a word of the card processor's.")],
    ),
    code(
        "missing_scope",
        &[403],
        "The key may not do this.",
        "Use a key with the scope that `scope` names, or make one.",
        &[text("scope", "The scope that is missing.")],
    ),
    code(
        "limited_key",
        &[403],
        "A key with a spending limit may not change what others of your account spend or may do.",
        "Use a key without a limit, or the pages.",
        &[],
    ),
    code(
        "beyond_own_key",
        &[403],
        "A key cannot give a key more than it has itself.",
        "Ask for an earlier end or fewer addresses, or use a key without such bounds.",
        &[text("field", "In which respect: `expires_at` or `allowed_ips`.")],
    ),
    code(
        "replaced_key",
        &[403],
        "The secret was replaced by a new one, so it manages no keys any more.",
        "Use the new secret.",
        &[],
    ),
    code(
        "address_not_allowed",
        &[403],
        "The key may not be used from this address.",
        "Call from an address that the key allows, or change `allowed_ips` of the key.",
        &[],
    ),
    code(
        "verification_required",
        &[403],
        "Credits can be spent, and earnings paid out, only after your identity was verified.",
        "Open the page that `verify_url` names and follow it; it takes some minutes.",
        &[text("reason", "`unverified`."), VERIFY, JOB, JOB_ERROR],
    ),
    code(
        "account_frozen",
        &[403],
        "The account is frozen and cannot spend.",
        "Ask the operator of this network.",
        &[JOB, JOB_ERROR],
    ),
    code(
        "refused",
        &[403],
        "The owner refused to add this Island.",
        "Begin the pairing anew if that was a mistake.",
        &[text("status", "`refused`.")],
    ),
    code(
        "csrf",
        &[403],
        "A form of a page is out of date or came from elsewhere.",
        "Reload the page and send the form again.",
        &[],
    ),
    code(
        "not_found",
        &[404],
        "There is nothing at this address, or it is not yours.",
        "Look at the id, and at whose key you are using.",
        &[],
    ),
    code(
        "unknown_workload",
        &[404],
        "There is no such Cargo on this network.",
        "`GET /api/v1/workloads` lists those there are.",
        &[],
    ),
    code(
        "model_not_found",
        &[404],
        "There is no such model on this network.",
        "`GET /v1/models` lists those there are; `default` is always one.",
        &[],
    ),
    code(
        "method_not_allowed",
        &[405],
        "This address does not know this method.",
        "The header `Allow` and the documentation say which it knows.",
        &[],
    ),
    code(
        "in_flight",
        &[409],
        "The first request with this `Idempotency-Key` is still being answered.",
        "Wait a moment, then repeat it with the same key: you get its answer.",
        &[JOB],
    ),
    code(
        "confirmation_required",
        &[409],
        "The ask changes by more than a factor of ten, which is mostly a slip of the comma.",
        "Send it again with `confirm: true` if it is meant.",
        &[credits("current", "What is asked now."), credits("wanted", "What was sent.")],
    ),
    code("not_ended", &[409], "The job has not ended.", "Ask again after its end.", &[]),
    code(
        "not_waiting",
        &[409],
        "The job does not wait for an Island any more.",
        "Nothing: its price is settled.",
        &[],
    ),
    code("already_ended", &[409], "The job has ended already.", "Look at the job: it is as it ended.", &[]),
    code(
        "bid_too_low",
        &[409],
        "The job waited as long as a job waits, and no Island asked as little as it bids. Nothing was charged.",
        "Bid at least as much as the message says; a quote tells it before.",
        &[JOB, JOB_ERROR],
    ),
    code(
        "no_match",
        &[409],
        "The job waited as long as a job waits, and no Island offers the region, model or trust it asks for. Nothing was charged.",
        "Ask for less: leave out `region`, `min_trust` or the model behind the slash.",
        &[JOB, JOB_ERROR],
    ),
    code(
        "cancelled",
        &[409],
        "The job was cancelled while this request waited for it.",
        "Send a new request if you still want it.",
        &[JOB, JOB_ERROR, CHARGED],
    ),
    code(
        "payment_mismatch",
        &[409],
        "The payment does not match the purchase.",
        "Ask the operator of this network.",
        &[],
    ),
    code("already_verified", &[409], "You are verified already.", "Nothing.", &[]),
    code(
        "too_many_webhooks",
        &[409],
        "The account has as many webhooks as there may be.",
        "Delete one first.",
        &[],
    ),
    code("webhook_off", &[409], "The webhook is switched off.", "Switch it on with `enabled: true`.", &[]),
    code(
        "webhook_full",
        &[409],
        "Too many events wait for the webhook.",
        "See that its receiver answers; what waits is then sent.",
        &[],
    ),
    code(
        "too_many_keys",
        &[409],
        "The account has as many API keys as it may have.",
        "Revoke some that are not used any more.",
        &[],
    ),
    code(
        "too_many_islands",
        &[409],
        "The account has as many Islands as it may have.",
        "Remove some that are not used any more.",
        &[],
    ),
    code(
        "no_saved_card",
        &[409],
        "No card is saved.",
        "Buy credits once on the page that `buy_url` names and let your card be saved.",
        &[text("buy_url", "Where to buy credits.")],
    ),
    code("code_redeemed", &[409], "You have redeemed this code already.", "Nothing.", &[]),
    code("nothing_to_move", &[409], "There are no earnings to move.", "Wait until there are.", &[]),
    code(
        "payouts_off",
        &[409],
        "This network does not pay out in money.",
        "Move earnings to the wallet.",
        &[],
    ),
    code(
        "payouts_not_set_up",
        &[409],
        "The account that payouts go to is not set up.",
        "Set it up with `POST /api/v1/payouts/account`.",
        &[],
    ),
    code("payout_open", &[409], "A payout is on its way.", "Wait for its end, or cancel it.", &[]),
    code(
        "below_minimum",
        &[409],
        "There is a least amount for a payout.",
        "Wait until there is as much as `minimum`.",
        &[credits("minimum", "The least that is paid out.")],
    ),
    code(
        "not_enough_earnings",
        &[409],
        "Less can be paid out now.",
        "Ask for what `available` says, or wait: new earnings can be paid out after some days.",
        &[credits("available", "How much can be paid out now.")],
    ),
    code("too_late", &[409], "The payout is on its way and cannot be stopped.", "Nothing.", &[]),
    code(
        "expired",
        &[410],
        "The pairing was not confirmed in time.",
        "Begin it anew.",
        &[text("status", "`expired`.")],
    ),
    code("dead_link", &[410], "The sign-in link was used or is too old.", "Ask for a new one.", &[]),
    code("code_used_up", &[410], "The code has been used up.", "Nothing.", &[]),
    code("code_expired", &[410], "The code has expired.", "Nothing.", &[]),
    code("too_large", &[413], "The request is too large.", "Send less.", &[]),
    code(
        "unsupported_media_type",
        &[415],
        "The body has a media type that is not read here.",
        "Send the one that the documentation names.",
        &[],
    ),
    code(
        "invalid_field",
        &[422],
        "A field is wrong: `errors` names it and says what is wrong with it.",
        "Correct it. Nothing was changed.",
        &[],
    ),
    code(
        "input_refused",
        &[422],
        "The Islands refused the input.",
        "Correct it; the message says what is wrong. Nothing was charged.",
        &[JOB, JOB_ERROR],
    ),
    code("invalid_form", &[422], "A form of a page could not be read.", "Reload the page.", &[]),
    code(
        "idempotency_key_reused",
        &[422],
        "This `Idempotency-Key` was used for another request.",
        "Make a new key for each thing you want done; repeat a request unchanged.",
        &[],
    ),
    code(
        "rate_limited",
        &[429],
        "Too many requests in this minute.",
        "Wait as many seconds as `Retry-After` says.",
        &[],
    ),
    code(
        "too_many_jobs",
        &[429],
        "As many jobs wait or run as an account may have.",
        "Wait until some have ended.",
        &[],
    ),
    code(
        "too_many_batches",
        &[429],
        "As many batches run as an account may have.",
        "Wait until some have ended.",
        &[],
    ),
    code("too_many_pairings", &[429], "Too many pairings are open.", "Try again in ten minutes.", &[]),
    code("too_many_codes", &[429], "Too many wrong codes were tried.", "Try again in an hour.", &[]),
    code("too_many_links", &[429], "Too many sign-in links were asked for.", "Try again in an hour.", &[]),
    code(
        "internal",
        &[500],
        "Something went wrong on our side. Nothing was charged for this request.",
        "Tell the operator the `request_id`.",
        &[],
    ),
    code(
        "unavailable",
        &[503],
        "It cannot be done now. Nothing was changed.",
        "Try again after as many seconds as `Retry-After` says.",
        &[],
    ),
    code(
        "in_doubt",
        &[503],
        "The database did not say whether this was saved.",
        "Repeat it with the same `Idempotency-Key`, or look before you repeat it.",
        &[],
    ),
    code(
        "no_island",
        &[503],
        "No Island within the bid was free in time. Nothing was charged.",
        "Try again later, or bid more.",
        &[JOB, JOB_ERROR],
    ),
    code(
        "job_failed",
        &[503],
        "The Islands that tried did not do it. You were not charged, or only for what was delivered.",
        "Try again.",
        &[JOB, JOB_ERROR, CHARGED],
    ),
];

/// The code of this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Code> {
    ALL.iter().find(|code| code.name == name)
}

/// Whether there is this code with this status.
#[must_use]
pub fn is_listed(name: &str, status: u16) -> bool {
    find(name).is_some_and(|code| code.statuses.contains(&status))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::{Path, PathBuf};

    use super::*;

    #[test]
    fn each_code_is_there_once_and_says_what_to_do() {
        let names: BTreeSet<&str> = ALL.iter().map(|code| code.name).collect();
        assert_eq!(names.len(), ALL.len());
        for code in ALL {
            assert!(!code.statuses.is_empty(), "{}", code.name);
            assert!(code.cause.ends_with('.') && code.cure.ends_with('.'), "{}", code.name);
        }
    }

    #[test]
    fn every_code_that_the_sources_name_is_listed() {
        let mut unknown = BTreeSet::new();
        for file in sources(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src"))) {
            let text = std::fs::read_to_string(&file).unwrap();
            for made in ["ApiError::new(", "Self::new(", "forbidden("] {
                for (at, _) in text.match_indices(made) {
                    let Some(name) = code_in(&text[at + made.len()..]) else { continue };
                    if find(&name).is_none() {
                        unknown.insert(format!("{}: {name}", file.display()));
                    }
                }
            }
        }
        assert!(unknown.is_empty(), "not in error/codes.rs: {unknown:#?}");
    }

    /// The first literal of a call that makes an error, if it looks like one that does.
    fn code_in(call: &str) -> Option<String> {
        let call = call.trim_start();
        let call = match call.split_once("StatusCode::") {
            Some((before, rest)) if before.chars().all(|c| c.is_alphanumeric() || c == ':') => {
                rest.split_once(',')?.1.trim_start()
            }
            _ => call,
        };
        let (name, _) = call.strip_prefix('"')?.split_once('"')?;
        let fits = !name.is_empty() && name.chars().all(|c| c.is_ascii_lowercase() || c == '_');
        fits.then(|| name.to_owned())
    }

    fn sources(folder: &Path) -> Vec<PathBuf> {
        let mut files = Vec::new();
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                files.extend(sources(&path));
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                files.push(path);
            }
        }
        files
    }
}
