//! Domain errors, turned into answers.

use axum::http::StatusCode;
use ledger::statement::StatementError;
use types::money::MicroCredits;

use crate::accounts::api_keys::KeyError;
use crate::accounts::magic_link::SignInError;
use crate::credits::MoveError;
use crate::credits::export::ExportError;
use crate::error::ApiError;
use crate::identity::IdentityError;
use crate::islands::IslandError;
use crate::islands::pairing::PairingError;
use crate::jobs::JobError;
use crate::payouts::PayoutError;
use crate::providers::ProviderError;
use crate::purchases::PurchaseError;

impl From<JobError> for ApiError {
    fn from(error: JobError) -> Self {
        let text = sentence(&error.to_string());
        match error {
            JobError::UnknownWorkload => Self::new(
                StatusCode::NOT_FOUND,
                "unknown_workload",
                "There is no such Cargo on this network.",
            ),
            JobError::Invalid { field, message } => Self::invalid(field, message),
            JobError::Unverified => Self::forbidden(
                "verification_required",
                "Please verify your identity before spending credits.",
            )
            .with("reason", "unverified")
            .with("verify_url", "/verify"),
            JobError::Frozen => Self::forbidden(
                "account_frozen",
                "This account is frozen and cannot spend. Please contact the operator.",
            ),
            JobError::InDebt { owed } => {
                Self::new(StatusCode::PAYMENT_REQUIRED, "in_debt", text).with_amount("owed", owed)
            }
            JobError::KeyRevoked => Self::unauthenticated("This API key has been revoked or has expired."),
            JobError::InsufficientCredits { required, available, reason } => {
                let text = over_the_limit(required, available, reason).unwrap_or(text);
                Self::new(StatusCode::PAYMENT_REQUIRED, "insufficient_credits", text)
                    .with_amount("required", required)
                    .with_amount("available", available)
                    .with("reason", reason)
            }
            JobError::TooManyJobs => {
                let error = Self::new(StatusCode::TOO_MANY_REQUESTS, "too_many_jobs", text);
                Self { retry_after_secs: Some(5), ..error }
            }
            JobError::TooManyBatches => {
                let error = Self::new(StatusCode::TOO_MANY_REQUESTS, "too_many_batches", text);
                Self { retry_after_secs: Some(5), ..error }
            }
            JobError::KeyTaken => Self::new(StatusCode::UNPROCESSABLE_ENTITY, "idempotency_key_reused", text),
            JobError::NotFound => Self::not_found("job"),
            JobError::NotEnded => Self::new(StatusCode::CONFLICT, "not_ended", text),
            JobError::NotWaiting => Self::new(StatusCode::CONFLICT, "not_waiting", text),
            JobError::Ended => Self::new(StatusCode::CONFLICT, "already_ended", text),
            JobError::Unavailable(text) => Self::unavailable(text),
            JobError::Replaced => Self::unavailable(&text),
            JobError::InDoubt => Self::in_doubt(),
            JobError::Internal => internal(),
        }
    }
}

impl From<PurchaseError> for ApiError {
    fn from(error: PurchaseError) -> Self {
        let text = error.to_string();
        match error {
            PurchaseError::UnknownPackage => Self::invalid("package", text),
            PurchaseError::KeyTaken => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, "idempotency_key_reused", sentence(&text))
            }
            PurchaseError::BadKey => Self::invalid("attempt", text),
            PurchaseError::NotFound => Self::not_found("purchase"),
            PurchaseError::Mismatch => Self::new(
                StatusCode::CONFLICT,
                "payment_mismatch",
                "The payment does not match the purchase. Please contact the operator.",
            ),
            PurchaseError::Provider(error) => error.into(),
            PurchaseError::Db(error) => error.into(),
        }
    }
}

impl From<StatementError> for ApiError {
    fn from(error: StatementError) -> Self {
        match error {
            StatementError::Cursor(_) => {
                Self::invalid("cursor", "must be the next_cursor of an earlier answer")
            }
            StatementError::Db(error) => error.into(),
        }
    }
}

impl From<ExportError> for ApiError {
    fn from(error: ExportError) -> Self {
        match error {
            ExportError::Statement(error) => error.into(),
            ExportError::Jobs(error) => error.into(),
            ExportError::Stopping => Self::unavailable("The server is restarting. Please try again."),
        }
    }
}

impl From<ProviderError> for ApiError {
    fn from(error: ProviderError) -> Self {
        tracing::error!(%error, "a provider did not do what was asked");
        if let ProviderError::Declined { message, reason, .. } = error {
            return Self::new(StatusCode::PAYMENT_REQUIRED, "card_declined", sentence(&message))
                .with("reason", reason);
        }
        Self::unavailable(
            "The provider could not be reached. Nothing was charged; please try again in a minute.",
        )
    }
}

impl From<IdentityError> for ApiError {
    fn from(error: IdentityError) -> Self {
        match error {
            IdentityError::AlreadyVerified => {
                Self::new(StatusCode::CONFLICT, "already_verified", "You are verified already.")
            }
            IdentityError::Provider(error) => error.into(),
            IdentityError::Db(error) => error.into(),
        }
    }
}

impl From<KeyError> for ApiError {
    fn from(error: KeyError) -> Self {
        let text = error.to_string();
        match error {
            KeyError::Name => Self::invalid("name", text),
            KeyError::Scopes => Self::invalid("scopes", text),
            KeyError::Limit(period, _) => Self::invalid(format!("limits.{}", period.name()), text),
            KeyError::NotFound => Self::not_found("API key"),
            KeyError::Limited => Self::forbidden("limited_key", &sentence(&text)),
            KeyError::Revoked | KeyError::Expired | KeyError::Replaced => {
                Self::unauthenticated(&sentence(&text))
            }
            KeyError::Elsewhere(_) => Self::forbidden("address_not_allowed", &sentence(&text)),
            KeyError::Beyond("scopes") => Self::forbidden("missing_scope", &sentence(&text)),
            KeyError::Beyond(field) => {
                Self::forbidden("beyond_own_key", &sentence(&text)).with("field", field)
            }
            KeyError::Expiry => Self::invalid("expires_at", text),
            KeyError::Networks(_) | KeyError::TooManyNetworks => Self::invalid("allowed_ips", text),
            KeyError::Grace => Self::invalid("grace_seconds", text),
            KeyError::TooMany => Self::new(StatusCode::CONFLICT, "too_many_keys", sentence(&text)),
            KeyError::Db(error) => error.into(),
        }
    }
}

impl From<IslandError> for ApiError {
    fn from(error: IslandError) -> Self {
        let text = error.to_string();
        match error {
            IslandError::Name => Self::invalid("name", text),
            IslandError::NotFound => Self::not_found("Island"),
            IslandError::TooMany => Self::new(StatusCode::CONFLICT, "too_many_islands", sentence(&text)),
            IslandError::Db(error) => error.into(),
        }
    }
}

impl From<PairingError> for ApiError {
    fn from(error: PairingError) -> Self {
        let text = error.to_string();
        let wait = |code, seconds| Self {
            retry_after_secs: Some(seconds),
            ..Self::new(StatusCode::TOO_MANY_REQUESTS, code, sentence(&text))
        };
        match error {
            PairingError::TooManyOpen => wait("too_many_pairings", 600),
            PairingError::TooManyMisses => wait("too_many_codes", 3600),
            PairingError::Unknown => Self::invalid("code", text),
            PairingError::Island(error) => error.into(),
            PairingError::Db(error) => error.into(),
        }
    }
}

impl From<PayoutError> for ApiError {
    fn from(error: PayoutError) -> Self {
        let text = sentence(&error.to_string());
        let conflict = |code| Self::new(StatusCode::CONFLICT, code, text.clone());
        match error {
            PayoutError::Off => conflict("payouts_off"),
            PayoutError::Unverified => {
                Self::forbidden("verification_required", &text).with("verify_url", "/verify")
            }
            PayoutError::Frozen => Self::forbidden("account_frozen", &text),
            PayoutError::InDebt(owed) => {
                Self::new(StatusCode::PAYMENT_REQUIRED, "in_debt", text).with_amount("owed", owed)
            }
            PayoutError::NotReady => conflict("payouts_not_set_up"),
            PayoutError::Open => conflict("payout_open"),
            PayoutError::BelowMinimum(minimum) => conflict("below_minimum").with_amount("minimum", minimum),
            PayoutError::TooMuch(available) => {
                conflict("not_enough_earnings").with_amount("available", available)
            }
            PayoutError::NotWhole => Self::invalid("credits", error.to_string()),
            PayoutError::TooLate => conflict("too_late"),
            PayoutError::NotFound => Self::not_found("payout"),
            PayoutError::Provider(error) => error.into(),
            PayoutError::Db(error) => error.into(),
        }
    }
}

impl From<MoveError> for ApiError {
    fn from(error: MoveError) -> Self {
        match error {
            MoveError::Nothing => {
                Self::new(StatusCode::CONFLICT, "nothing_to_move", "There are no earnings to move yet.")
            }
            MoveError::Db(error) => error.into(),
        }
    }
}

impl From<SignInError> for ApiError {
    fn from(error: SignInError) -> Self {
        let text = error.to_string();
        match error {
            SignInError::NotAnAddress => Self::invalid("email", text),
            SignInError::TooManyLinks => {
                let error = Self::new(StatusCode::TOO_MANY_REQUESTS, "too_many_links", sentence(&text));
                Self { retry_after_secs: Some(3600), ..error }
            }
            SignInError::DeadLink => Self::new(StatusCode::GONE, "dead_link", sentence(&text)),
            SignInError::Mail => Self::unavailable("The mail could not be sent. Please try again."),
            SignInError::Db(error) => error.into(),
        }
    }
}

fn internal() -> ApiError {
    ApiError::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        "internal",
        "Something went wrong on our side. Nothing was charged for this request.",
    )
}

/// What to say when it is not the wallet that stands in the way but a limit of the key.
fn over_the_limit(required: MicroCredits, available: MicroCredits, reason: &str) -> Option<String> {
    let period = match reason {
        "key_limit" => "",
        "key_limit_day" => " today",
        "key_limit_week" => " this week",
        "key_limit_month" => " this month",
        _ => return None,
    };
    Some(format!("This API key has reached its spending limit: {required} needed, {available} left{period}."))
}

/// With a capital letter in front and a full stop behind.
pub(super) fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let first: String = letters.next().map(|first| first.to_uppercase().collect()).unwrap_or_default();
    format!("{first}{}.", letters.as_str().trim_end_matches('.'))
}
