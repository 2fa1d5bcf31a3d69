//! Identity verification by Stripe Identity. Documents, pictures and dates of birth stay there; we read the verdict, a name and a
//! country.

use std::sync::Arc;

use super::provider::{IdentityProvider, IdentityRequest, IdentitySession, Verdict};
use crate::mail::BoxFuture;
use crate::providers::ProviderError;
use crate::providers::stripe::Stripe;
use crate::providers::stripe::objects::Verification;

/// Identity verification by Stripe.
#[derive(Debug)]
pub struct StripeIdentity {
    /// The connection.
    pub stripe: Arc<Stripe>,
}

const SESSIONS: &str = "/v1/identity/verification_sessions";

impl IdentityProvider for StripeIdentity {
    fn name(&self) -> &'static str {
        "stripe"
    }

    fn open<'a>(
        &'a self,
        request: &'a IdentityRequest,
    ) -> BoxFuture<'a, Result<IdentitySession, ProviderError>> {
        Box::pin(async move {
            let form = vec![
                ("type", "document".to_owned()),
                ("options[document][require_matching_selfie]", "true".to_owned()),
                ("client_reference_id", request.user.clone()),
                ("metadata[user]", request.user.clone()),
                ("metadata[round]", request.round.clone()),
                ("provided_details[email]", request.email.clone()),
                ("return_url", request.return_url.clone()),
            ];
            let key = format!("identity-{}", request.round);
            let opened: Verification = self.stripe.post(SESSIONS, form, &key).await?;
            let url = opened
                .url
                .ok_or_else(|| ProviderError::Strange("a verification without a page".to_owned()))?;
            Ok(IdentitySession { session: opened.id, url })
        })
    }

    fn resume<'a>(&'a self, session: &'a str) -> BoxFuture<'a, Result<Option<String>, ProviderError>> {
        Box::pin(async move {
            match self.session(session, "").await {
                // Its page works as long as something is to be put in, also after a try that did not succeed.
                Ok(session) if session.status == "requires_input" => Ok(session.url),
                Ok(_) | Err(ProviderError::NotFound(_)) => Ok(None),
                Err(error) => Err(error),
            }
        })
    }

    fn erase<'a>(&'a self, session: &'a str) -> BoxFuture<'a, Result<(), ProviderError>> {
        Box::pin(async move {
            let path = format!("{SESSIONS}/{}/redact", crate::providers::stripe::segment(session)?);
            let key = format!("redact-{session}");
            self.stripe.post::<Verification>(&path, Vec::new(), &key).await.map(drop)
        })
    }

    fn read<'a>(&'a self, session: &'a str) -> BoxFuture<'a, Result<Verdict, ProviderError>> {
        Box::pin(async move { Ok(verdict(self.session(session, "verified_outputs").await?)) })
    }
}

impl StripeIdentity {
    async fn session(&self, id: &str, expand: &str) -> Result<Verification, ProviderError> {
        let path = format!("{SESSIONS}/{}", crate::providers::stripe::segment(id)?);
        let query = if expand.is_empty() { Vec::new() } else { vec![("expand[]", expand.to_owned())] };
        self.stripe.get(&path, query).await
    }
}

/// What a session means for us. It waits for input before the first try and after each that did not succeed.
fn verdict(session: Verification) -> Verdict {
    if session.redaction.is_some() {
        return Verdict::Erased;
    }
    match (session.status.as_str(), session.last_error) {
        ("verified", _) => {
            let outputs = session.verified_outputs;
            let name = outputs.as_ref().map(|outputs| {
                [outputs.first_name.as_deref(), outputs.last_name.as_deref()]
                    .map(Option::unwrap_or_default)
                    .join(" ")
            });
            let country = outputs.and_then(|outputs| outputs.address?.country);
            Verdict::Verified {
                name: name.unwrap_or_default().trim().to_owned(),
                country: country.unwrap_or_default(),
            }
        }
        ("requires_input", Some(problem)) => Verdict::Rejected {
            reason: problem
                .reason
                .or(problem.code)
                .unwrap_or_else(|| "The check did not succeed.".to_owned()),
        },
        ("canceled", _) => Verdict::Rejected { reason: "The check was cancelled.".to_owned() },
        _ => Verdict::Undecided,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_status_has_its_verdict() {
        let of = |session: serde_json::Value| verdict(serde_json::from_value(session).unwrap());
        let rejected = |reason: &str| Verdict::Rejected { reason: reason.to_owned() };
        assert_eq!(of(json!({"id": "vs_1", "status": "requires_input"})), Verdict::Undecided);
        assert_eq!(of(json!({"id": "vs_1", "status": "processing", "last_error": null})), Verdict::Undecided);
        assert_eq!(
            of(
                json!({"id": "vs_1", "status": "requires_input", "last_error": {"code": "document_expired", "reason": "Too old."}})
            ),
            rejected("Too old.")
        );
        assert_eq!(of(json!({"id": "vs_1", "status": "canceled"})), rejected("The check was cancelled."));
        let verified = json!({"id": "vs_1", "status": "verified", "verified_outputs":
            {"first_name": "Ana", "last_name": "Lima", "address": {"country": "PT"}}});
        assert_eq!(of(verified), Verdict::Verified { name: "Ana Lima".to_owned(), country: "PT".to_owned() });
        let erased = json!({"id": "vs_1", "status": "verified", "redaction": {"status": "redacted"}});
        assert_eq!(of(erased), Verdict::Erased);
    }
}
