//! Who pays owners of Islands: an account for each of them, and transfers into it.

use std::fmt;

use types::id::PayoutId;
use types::money::Cents;
use types::time::Timestamp;

use crate::mail::BoxFuture;
use crate::providers::ProviderError;

/// Whose account is wanted.
#[derive(Clone, Debug)]
pub struct AccountRequest {
    /// Our name for the owner.
    pub user: String,
    /// Their address.
    pub email: String,
    /// The account they had, if the provider does not know it any more.
    pub gone: Option<String>,
}

/// A page is wanted on which an owner gives what the provider asks for.
#[derive(Clone, Debug)]
pub struct LinkRequest {
    /// The account.
    pub account: String,
    /// Where to afterwards.
    pub return_url: String,
    /// Where to when the page is too old.
    pub refresh_url: String,
}

/// How an account stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccountState {
    /// Whether money can be sent there and on to the bank.
    pub ready: bool,
    /// What is missing until then, in the provider's words.
    pub missing: String,
}

/// Money is to be moved.
#[derive(Clone, Debug)]
pub struct TransferRequest {
    /// The same whenever the same transfer is asked for.
    pub key: String,
    /// For which payout.
    pub payout: PayoutId,
    /// To whom.
    pub account: String,
    /// How much.
    pub amount: Cents,
}

/// A transfer, as the provider has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransferState {
    /// The provider's name for it.
    pub id: String,
    /// The payout it was made for, if it is one of ours.
    pub payout: Option<PayoutId>,
    /// Where to.
    pub account: String,
    /// How much.
    pub amount: Cents,
    /// How much of it came back.
    pub reversed: Cents,
    /// Whether it is known to have arrived for good.
    pub arrived: bool,
    /// When it was made.
    pub made_at: Timestamp,
}

/// The answer to asking for a transfer. Not to know what happened is an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It was made, now or before.
    Made(TransferState),
    /// Surely not made, and may be later: the network has not enough money there.
    NotNow(String),
    /// Surely not made, and will not be.
    Refused(String),
}

/// A payment from an owner's account to their bank, made by the provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BankPayment {
    /// The provider's name for it.
    pub id: String,
    /// How it stands.
    pub stage: BankStage,
    /// When it was made: all that was in the account by then is in it.
    pub made_at: Timestamp,
}

/// How a payment to a bank stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BankStage {
    /// On its way.
    Open,
    /// There.
    Paid,
    /// Came back, with the reason. The money is in the owner's account at the provider.
    Failed(String),
}

/// Pays.
pub trait PayoutProvider: fmt::Debug + Send + Sync {
    /// As stored with payouts.
    fn name(&self) -> &'static str;

    /// Makes the account of an owner, or answers the one made before.
    fn open<'a>(&'a self, request: &'a AccountRequest) -> BoxFuture<'a, Result<String, ProviderError>>;

    /// The page on which the owner gives what is missing.
    fn link<'a>(&'a self, request: &'a LinkRequest) -> BoxFuture<'a, Result<String, ProviderError>>;

    /// How an account stands. [`ProviderError::NotFound`] when it is gone.
    fn account<'a>(&'a self, account: &'a str) -> BoxFuture<'a, Result<AccountState, ProviderError>>;

    /// Makes a transfer. The same key makes one, and whoever asks again has looked with [`Self::find`] first, because keys
    /// are forgotten some day.
    fn transfer<'a>(&'a self, request: &'a TransferRequest) -> BoxFuture<'a, Result<Answer, ProviderError>>;

    /// The transfer made for a payout, also when the answer was lost.
    fn find(&self, payout: PayoutId) -> BoxFuture<'_, Result<Option<TransferState>, ProviderError>>;

    /// A transfer by the provider's name.
    fn read<'a>(&'a self, transfer: &'a str) -> BoxFuture<'a, Result<TransferState, ProviderError>>;

    /// A payment from an account to its bank.
    fn bank<'a>(
        &'a self,
        account: &'a str,
        payment: &'a str,
    ) -> BoxFuture<'a, Result<BankPayment, ProviderError>>;

    /// What the network has there to pay with.
    fn balance(&self) -> BoxFuture<'_, Result<Cents, ProviderError>>;
}
