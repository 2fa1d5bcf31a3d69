//! How a card behaves.

use serde_json::{Value, json};

/// How a card, or another way to pay, behaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Card {
    /// It pays.
    Ok,
    /// It is declined with this decline code: `generic_decline`, `insufficient_funds`, `expired_card`, `lost_card` …
    Declined(String),
    /// A checkout is completed, and the money comes or fails to come later.
    Delayed,
    /// Whoever owns it has to be there: off session it is declined with `authentication_required`.
    Authentication,
}

impl Card {
    /// A card that is declined.
    #[must_use]
    pub fn declined(code: &str) -> Self {
        Self::Declined(code.to_owned())
    }

    /// The card behind one of the names everybody may use in test mode.
    pub(crate) fn of_token(token: &str) -> Option<Self> {
        Some(match token {
            "pm_card_ok" | "pm_card_visa" | "pm_card_mastercard" => Self::Ok,
            "pm_card_chargeDeclined" | "pm_card_visa_chargeDeclined" => Self::declined("generic_decline"),
            "pm_card_chargeDeclinedInsufficientFunds" | "pm_card_visa_chargeDeclinedInsufficientFunds" => {
                Self::declined("insufficient_funds")
            }
            "pm_card_chargeDeclinedExpiredCard" | "pm_card_visa_chargeDeclinedExpiredCard" => {
                Self::declined("expired_card")
            }
            "pm_card_chargeDeclinedLostCard" | "pm_card_visa_chargeDeclinedLostCard" => {
                Self::declined("lost_card")
            }
            "pm_card_chargeDeclinedStolenCard" | "pm_card_visa_chargeDeclinedStolenCard" => {
                Self::declined("stolen_card")
            }
            "pm_card_authenticationRequired" => Self::Authentication,
            _ => return None,
        })
    }

    /// The last digits of the number Stripe gives such a card in test mode.
    pub(crate) fn last4(&self) -> &'static str {
        match self {
            Self::Ok => "4242",
            Self::Declined(code) => match code.as_str() {
                "insufficient_funds" => "9995",
                "lost_card" => "9987",
                "stolen_card" => "9979",
                "expired_card" => "0069",
                _ => "0002",
            },
            Self::Delayed => "6789",
            Self::Authentication => "3184",
        }
    }
}

/// The error's code that belongs to a decline code.
pub(crate) fn error_code(decline: &str) -> &str {
    match decline {
        "expired_card"
        | "incorrect_cvc"
        | "processing_error"
        | "incorrect_number"
        | "authentication_required" => decline,
        _ => "card_declined",
    }
}

/// What Stripe says to a decline code.
pub(crate) fn message(decline: &str) -> &'static str {
    match decline {
        "insufficient_funds" => "Your card has insufficient funds.",
        "expired_card" => "Your card has expired.",
        "incorrect_cvc" => "Your card's security code is incorrect.",
        "processing_error" => "An error occurred while processing your card. Try again in a little bit.",
        "authentication_required" => "Your card was declined. This transaction requires authentication.",
        _ => "Your card was declined.",
    }
}

/// What a failed attempt leaves behind, as an error object without its HTTP part.
pub(crate) fn decline_error(decline: &str, charge: &str, method: &Value) -> Value {
    json!({
        "type": "card_error",
        "code": error_code(decline),
        "decline_code": decline,
        "message": message(decline),
        "charge": charge,
        "doc_url": format!("https://stripe.com/docs/error-codes/{}", error_code(decline).replace('_', "-")),
        "payment_method": method,
    })
}
