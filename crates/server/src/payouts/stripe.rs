//! Payouts through Stripe Connect: an Express account for each owner, transfers into it, and Stripe's own payouts from there to
//! the bank.

use std::sync::Arc;

use types::id::PayoutId;
use types::money::Cents;
use types::time::Clock;

use super::provider::{
    AccountRequest, AccountState, Answer, BankPayment, BankStage, LinkRequest, PayoutProvider,
    TransferRequest, TransferState,
};
use crate::mail::BoxFuture;
use crate::providers::ProviderError;
use crate::providers::stripe::objects::{Account, BankPayout, Link, Named, StripeBalance, Transfer};
use crate::providers::stripe::{Form, Stripe, segment};
use crate::purchases::CURRENCY;

/// Payouts through Stripe.
#[derive(Debug)]
pub struct StripePayouts {
    /// The connection.
    pub stripe: Arc<Stripe>,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

impl PayoutProvider for StripePayouts {
    fn name(&self) -> &'static str {
        "stripe"
    }

    fn open<'a>(&'a self, request: &'a AccountRequest) -> BoxFuture<'a, Result<String, ProviderError>> {
        Box::pin(async move {
            let form = vec![
                ("type", "express".to_owned()),
                ("email", request.email.clone()),
                ("capabilities[transfers][requested]", "true".to_owned()),
                ("metadata[user]", request.user.clone()),
            ];
            let key = match &request.gone {
                None => format!("payout-account-{}", request.user),
                Some(gone) => format!("payout-account-{}-after-{gone}", request.user),
            };
            let account: Named = self.stripe.post("/v1/accounts", form, &key).await?;
            Ok(account.id)
        })
    }

    fn link<'a>(&'a self, request: &'a LinkRequest) -> BoxFuture<'a, Result<String, ProviderError>> {
        Box::pin(async move {
            let form = vec![
                ("account", request.account.clone()),
                ("type", "account_onboarding".to_owned()),
                ("return_url", request.return_url.clone()),
                ("refresh_url", request.refresh_url.clone()),
            ];
            // Each visit is a page of its own.
            let key = format!("payout-link-{}-{}", request.account, self.clock.now().as_millis());
            let link: Link = self.stripe.post("/v1/account_links", form, &key).await?;
            Ok(link.url)
        })
    }

    fn account<'a>(&'a self, account: &'a str) -> BoxFuture<'a, Result<AccountState, ProviderError>> {
        Box::pin(async move {
            let path = format!("/v1/accounts/{}", segment(account)?);
            match self.stripe.get::<Account>(&path, Vec::new()).await {
                Ok(account) => Ok(state_of(&account)),
                // So Stripe says that there is no such account, or that it is no longer connected with this one.
                Err(ProviderError::Refused { status: 403, message }) => Err(ProviderError::NotFound(message)),
                Err(error) => Err(error),
            }
        })
    }

    fn transfer<'a>(&'a self, request: &'a TransferRequest) -> BoxFuture<'a, Result<Answer, ProviderError>> {
        Box::pin(async move {
            let form = vec![
                ("amount", request.amount.get().to_string()),
                ("currency", CURRENCY.to_owned()),
                ("destination", request.account.clone()),
                ("transfer_group", group(request.payout)),
                ("metadata[payout]", request.payout.to_string()),
            ];
            let made = self.stripe.post::<Transfer>("/v1/transfers", form, &request.key).await;
            match made {
                Ok(transfer) => Ok(Answer::Made(transfer_of(transfer))),
                Err(
                    error @ (ProviderError::Refused { .. }
                    | ProviderError::NotFound(_)
                    | ProviderError::Declined { .. }),
                ) => self.why(request, &error).await,
                Err(error) => Err(error),
            }
        })
    }

    fn find(&self, payout: PayoutId) -> BoxFuture<'_, Result<Option<TransferState>, ProviderError>> {
        Box::pin(async move {
            let asked: Form<'_> = vec![("transfer_group", group(payout))];
            let found: Vec<Transfer> = self.stripe.list("/v1/transfers", &asked).await?;
            if found.len() > 1 {
                tracing::error!(%payout, "there are {} transfers for payout {payout}", found.len());
            }
            Ok(found.into_iter().map(transfer_of).find(|transfer| transfer.payout == Some(payout)))
        })
    }

    fn read<'a>(&'a self, transfer: &'a str) -> BoxFuture<'a, Result<TransferState, ProviderError>> {
        Box::pin(async move {
            let path = format!("/v1/transfers/{}", segment(transfer)?);
            Ok(transfer_of(self.stripe.get(&path, Vec::new()).await?))
        })
    }

    fn bank<'a>(
        &'a self,
        account: &'a str,
        payment: &'a str,
    ) -> BoxFuture<'a, Result<BankPayment, ProviderError>> {
        Box::pin(async move {
            let path = format!("/v1/payouts/{}", segment(payment)?);
            let payout: BankPayout = self.stripe.get_as(segment(account)?, &path).await?;
            let reason = payout.failure_message.unwrap_or_else(|| "The bank did not take it.".to_owned());
            let stage = match payout.status.as_str() {
                "paid" => BankStage::Paid,
                "failed" | "canceled" => BankStage::Failed(reason),
                _ => BankStage::Open,
            };
            Ok(BankPayment { id: payout.id, stage, made_at: payout.created.time() })
        })
    }

    fn balance(&self) -> BoxFuture<'_, Result<Cents, ProviderError>> {
        Box::pin(async move {
            let balance: StripeBalance = self.stripe.get("/v1/balance", Vec::new()).await?;
            let ours = balance.available.iter().filter(|part| part.currency == CURRENCY);
            Ok(Cents::new(ours.map(|part| part.amount).sum()))
        })
    }
}

impl StripePayouts {
    /// What a refusal means is read from the state of things and not from its words.
    async fn why(&self, request: &TransferRequest, error: &ProviderError) -> Result<Answer, ProviderError> {
        if let Some(transfer) = self.find(request.payout).await? {
            return Ok(Answer::Made(transfer));
        }
        // A key that may not do this, or is wrong: the operator's matter, not the owner's.
        if matches!(error, ProviderError::Refused { status: 401 | 403, .. }) {
            return Ok(Answer::NotNow(error.to_string()));
        }
        match self.account(&request.account).await {
            Ok(state) if state.ready => {}
            Ok(state) => {
                return Ok(Answer::Refused(format!("the payout account is not ready: {}", state.missing)));
            }
            Err(ProviderError::NotFound(_)) => {
                return Ok(Answer::Refused("the payout account is gone".to_owned()));
            }
            Err(error) => return Err(error),
        }
        let balance = self.balance().await?;
        if balance < request.amount {
            return Ok(Answer::NotNow(format!("the network has {balance} available at Stripe")));
        }
        Ok(Answer::Refused(error.to_string()))
    }
}

fn group(payout: PayoutId) -> String {
    format!("payout-{payout}")
}

fn state_of(account: &Account) -> AccountState {
    let transfers = account.capabilities.get("transfers").is_some_and(|state| state == "active");
    if transfers && account.payouts_enabled {
        return AccountState { ready: true, missing: String::new() };
    }
    let due = account.requirements.clone().unwrap_or_default();
    let missing = match (due.currently_due.is_empty(), due.disabled_reason) {
        (false, _) => due.currently_due.join(", "),
        (true, Some(reason)) => reason,
        (true, None) => "being checked by Stripe".to_owned(),
    };
    AccountState { ready: false, missing }
}

fn transfer_of(transfer: Transfer) -> TransferState {
    TransferState {
        payout: transfer.metadata.get("payout").and_then(|text| text.parse().ok()),
        account: transfer.destination.map(|to| to.id().to_owned()).unwrap_or_default(),
        id: transfer.id,
        amount: Cents::new(transfer.amount),
        reversed: Cents::new(transfer.amount_reversed),
        arrived: false,
        made_at: transfer.created.time(),
    }
}
