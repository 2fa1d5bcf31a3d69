//! The sandbox payout provider: an account page of our own with one button, and transfers that move no money. An amount that ends
//! in .13 is refused, so that people can see what happens then.

use std::sync::Arc;

use db::{Db, DbError};
use types::id::PayoutId;
use types::money::Cents;
use types::rng::Random;
use types::time::Clock;

use super::provider::{
    AccountRequest, AccountState, Answer, BankPayment, LinkRequest, PayoutProvider, TransferRequest,
    TransferState,
};
use super::store;
use crate::mail::BoxFuture;
use crate::providers::ProviderError;
use crate::secrets;

/// Cents of amounts that are refused.
const UNLUCKY: i64 = 13;

/// An account, as the sandbox remembers it.
#[derive(Clone, Debug)]
pub struct SandboxAccount {
    /// Its id.
    pub id: String,
    /// Where to after the page.
    pub return_url: String,
    /// Whether the button was pressed.
    pub ready: bool,
}

/// The sandbox.
#[derive(Debug)]
pub struct Sandbox {
    /// Where it remembers.
    pub db: Db,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// For ids.
    pub random: Arc<dyn Random>,
    /// Where its page is.
    pub public_url: String,
}

impl PayoutProvider for Sandbox {
    fn name(&self) -> &'static str {
        "sandbox"
    }

    fn open<'a>(&'a self, request: &'a AccountRequest) -> BoxFuture<'a, Result<String, ProviderError>> {
        Box::pin(async move {
            let (id, user) = (secrets::new(&*self.random, "acct_sandbox_"), request.user.clone());
            let made = self
                .db
                .tx("sandbox_account", async move |tx| store::insert_sandbox_account(tx, &id, &user).await);
            made.await.map_err(unavailable)
        })
    }

    fn link<'a>(&'a self, request: &'a LinkRequest) -> BoxFuture<'a, Result<String, ProviderError>> {
        Box::pin(async move {
            let (id, back) = (request.account.clone(), request.return_url.clone());
            self.db
                .tx("sandbox_link", async move |tx| store::set_sandbox_return(tx, &id, &back).await)
                .await
                .map_err(unavailable)?;
            Ok(format!("{}/sandbox/payouts/{}", self.public_url, request.account))
        })
    }

    fn account<'a>(&'a self, account: &'a str) -> BoxFuture<'a, Result<AccountState, ProviderError>> {
        Box::pin(async move {
            let found = self.find_account(account).await.map_err(unavailable)?;
            let found = found.ok_or_else(|| ProviderError::NotFound(account.to_owned()))?;
            let missing = if found.ready { "" } else { "the button on the sandbox page" };
            Ok(AccountState { ready: found.ready, missing: missing.to_owned() })
        })
    }

    fn transfer<'a>(&'a self, request: &'a TransferRequest) -> BoxFuture<'a, Result<Answer, ProviderError>> {
        Box::pin(async move {
            if request.amount.get() % 100 == UNLUCKY {
                return Ok(Answer::Refused("the sandbox refuses amounts that end in .13".to_owned()));
            }
            let id = secrets::new(&*self.random, "tr_sandbox_");
            let (request, now) = (request.clone(), self.clock.now());
            let made = self.db.tx("sandbox_transfer", async move |tx| {
                store::insert_sandbox_transfer(tx, &id, &request, now).await
            });
            made.await.map(Answer::Made).map_err(unavailable)
        })
    }

    fn find(&self, payout: PayoutId) -> BoxFuture<'_, Result<Option<TransferState>, ProviderError>> {
        Box::pin(async move {
            let found =
                self.db.read("sandbox_find", async move |tx| store::sandbox_transfer_for(tx, payout).await);
            found.await.map_err(unavailable)
        })
    }

    fn read<'a>(&'a self, transfer: &'a str) -> BoxFuture<'a, Result<TransferState, ProviderError>> {
        Box::pin(async move {
            let id = transfer.to_owned();
            let found = self.db.read("sandbox_read", async move |tx| store::sandbox_transfer(tx, &id).await);
            found.await.map_err(unavailable)?.ok_or_else(|| ProviderError::NotFound(transfer.to_owned()))
        })
    }

    fn bank<'a>(
        &'a self,
        _account: &'a str,
        payment: &'a str,
    ) -> BoxFuture<'a, Result<BankPayment, ProviderError>> {
        // It knows no banks: a transfer has arrived when it is made.
        Box::pin(async move { Err(ProviderError::NotFound(payment.to_owned())) })
    }

    fn balance(&self) -> BoxFuture<'_, Result<Cents, ProviderError>> {
        Box::pin(async { Ok(Cents::new(i64::MAX)) })
    }
}

impl Sandbox {
    /// An account, for its page.
    ///
    /// # Errors
    /// A [`DbError`].
    pub async fn find_account(&self, id: &str) -> Result<Option<SandboxAccount>, DbError> {
        let id = id.to_owned();
        self.db.read("sandbox_account", async move |tx| store::sandbox_account(tx, &id).await).await
    }

    /// The button was pressed.
    ///
    /// # Errors
    /// A [`DbError`].
    pub async fn onboard(&self, id: &str) -> Result<(), DbError> {
        let id = id.to_owned();
        self.db.tx("sandbox_onboard", async move |tx| store::sandbox_onboarded(tx, &id).await).await
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the shape map_err wants")]
fn unavailable(error: DbError) -> ProviderError {
    ProviderError::Unavailable(error.to_string())
}
