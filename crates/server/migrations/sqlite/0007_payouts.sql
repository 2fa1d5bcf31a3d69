-- Where owners of Islands are paid to. ready: 1 when money can be sent there. missing: what is missing until then, in the
-- provider's words. schedule: empty when the owner has not chosen.
CREATE TABLE payout_accounts (
    user_id BIGINT NOT NULL REFERENCES users (id),
    provider TEXT NOT NULL,
    account_ref TEXT NOT NULL,
    ready BIGINT NOT NULL,
    missing TEXT NOT NULL,
    schedule TEXT NOT NULL DEFAULT '',
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (user_id, provider),
    UNIQUE (provider, account_ref)
);

-- Earnings that are paid out. id: also that of the ledger's transfer that takes the credits; return_id: of the one that puts them
-- back, 0 if none does. amount: micro-credits, 1 credit is 1 cent.
-- state: wanted (the provider was surely not asked), sending (it may have been), sent, paid (at the bank), failed, cancelled.
-- round: counts the answers that surely nothing was done; the key the provider is asked with is made of id and round.
-- due_at: when to take it up again. period: of a scheduled payout, so that there is one in each.
CREATE TABLE payouts (
    id BIGINT PRIMARY KEY,
    user_id BIGINT NOT NULL REFERENCES users (id),
    earnings_id BIGINT NOT NULL,
    amount BIGINT NOT NULL CHECK (amount > 0 AND amount = cents * 1000000),
    cents BIGINT NOT NULL,
    state TEXT NOT NULL,
    provider TEXT NOT NULL,
    account_ref TEXT NOT NULL,
    transfer_ref TEXT,
    bank_ref TEXT,
    error TEXT,
    attempt_key TEXT,
    period TEXT,
    round BIGINT NOT NULL DEFAULT 0,
    attempts BIGINT NOT NULL DEFAULT 0,
    due_at BIGINT NOT NULL,
    return_id BIGINT NOT NULL DEFAULT 0,
    created_at BIGINT NOT NULL,
    sent_at BIGINT,
    ended_at BIGINT,
    CHECK ((return_id <> 0) = (state IN ('failed', 'cancelled')))
);
CREATE INDEX payouts_by_user ON payouts (user_id, id);
CREATE UNIQUE INDEX payouts_by_attempt ON payouts (user_id, attempt_key) WHERE attempt_key IS NOT NULL;
CREATE UNIQUE INDEX payouts_by_period ON payouts (user_id, period) WHERE period IS NOT NULL;
-- One at a time: what the second may take is known when the first has ended.
CREATE UNIQUE INDEX payouts_one_open ON payouts (user_id) WHERE state IN ('wanted', 'sending');
CREATE INDEX payouts_due ON payouts (due_at) WHERE state IN ('wanted', 'sending');
CREATE INDEX payouts_by_account ON payouts (account_ref, state);

-- What was moved to the wallet lately is asked when it is reckoned how much of the earnings is old enough.
CREATE INDEX ledger_earnings_moved ON ledger_transfers (from_account, at) WHERE kind = 4;

-- The sandbox's own memory.
CREATE TABLE sandbox_payout_accounts (
    id TEXT PRIMARY KEY,
    user_ref TEXT NOT NULL UNIQUE,
    return_url TEXT NOT NULL,
    ready BIGINT NOT NULL
);
CREATE TABLE sandbox_transfers (
    id TEXT PRIMARY KEY,
    idempotency_key TEXT NOT NULL UNIQUE,
    account_ref TEXT NOT NULL,
    payout_ref TEXT NOT NULL,
    amount_cents BIGINT NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE INDEX sandbox_transfers_by_payout ON sandbox_transfers (payout_ref);
