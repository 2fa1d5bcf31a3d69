-- Who a user is at a provider.
CREATE TABLE provider_customers (
    user_id BIGINT NOT NULL REFERENCES users (id),
    provider TEXT NOT NULL,
    customer_ref TEXT NOT NULL,
    PRIMARY KEY (user_id, provider)
);

-- A purchase is a lot of credits tied to one payment. What becomes of the payment afterwards moves these, in micro-credits
-- and cents; each is what has been done so far, so that it can be compared with what should be.
ALTER TABLE purchases ADD COLUMN charge_ref TEXT;
ALTER TABLE purchases ADD COLUMN customer_ref TEXT;
ALTER TABLE purchases ADD COLUMN taken BIGINT NOT NULL DEFAULT 0;
ALTER TABLE purchases ADD COLUMN refunded_cents BIGINT NOT NULL DEFAULT 0;
ALTER TABLE purchases ADD COLUMN lost_cents BIGINT NOT NULL DEFAULT 0;
ALTER TABLE purchases ADD COLUMN disputed_cents BIGINT NOT NULL DEFAULT 0;
-- the credits a dispute reserves, and the hold that reserves them; 0 when there is none
ALTER TABLE purchases ADD COLUMN frozen BIGINT NOT NULL DEFAULT 0;
ALTER TABLE purchases ADD COLUMN freeze_id BIGINT NOT NULL DEFAULT 0;
CREATE INDEX purchases_by_payment ON purchases (payment_ref);
CREATE INDEX purchases_by_charge ON purchases (charge_ref);
CREATE INDEX purchases_disputed ON purchases (id) WHERE disputed_cents > 0;
CREATE INDEX purchases_frozen ON purchases (freeze_id) WHERE freeze_id <> 0;

-- Refunds, disputes and warnings, by the provider's names. Each only moves on, whatever order its news arrive in.
-- kind: refund, dispute, warning. stage: 0 open, 1 reversed, 2 void.
CREATE TABLE payment_facts (
    provider TEXT NOT NULL,
    fact_ref TEXT NOT NULL,
    purchase_id BIGINT NOT NULL,
    kind TEXT NOT NULL,
    amount_cents BIGINT NOT NULL,
    stage BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (provider, fact_ref)
);
CREATE INDEX payment_facts_by_purchase ON payment_facts (purchase_id);

-- Refunds the operator asked for. Written before the provider is asked, so that a crash in between loses none.
-- state: wanted, done, refused.
CREATE TABLE refunds (
    id BIGINT PRIMARY KEY,
    purchase_id BIGINT NOT NULL,
    amount_cents BIGINT NOT NULL CHECK (amount_cents > 0),
    note TEXT NOT NULL,
    state TEXT NOT NULL,
    fact_ref TEXT,
    error TEXT,
    created_at BIGINT NOT NULL
);
CREATE INDEX refunds_by_purchase ON refunds (purchase_id);
CREATE INDEX refunds_wanted ON refunds (id) WHERE state = 'wanted';

-- Events as they came. state: done, waiting (could not be handled yet), parked (not understood).
ALTER TABLE provider_events ADD COLUMN body TEXT NOT NULL DEFAULT '';
ALTER TABLE provider_events ADD COLUMN state TEXT NOT NULL DEFAULT 'done';
ALTER TABLE provider_events ADD COLUMN error TEXT;
ALTER TABLE provider_events ADD COLUMN attempts BIGINT NOT NULL DEFAULT 1;
CREATE INDEX provider_events_open ON provider_events (received_at) WHERE state <> 'done';
CREATE INDEX provider_events_by_time ON provider_events (received_at);

-- Refunds and disputes of the sandbox payment provider.
CREATE TABLE sandbox_facts (
    id TEXT PRIMARY KEY,
    checkout_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    idempotency_key TEXT NOT NULL UNIQUE,
    amount_cents BIGINT NOT NULL,
    stage BIGINT NOT NULL
);
CREATE INDEX sandbox_facts_by_checkout ON sandbox_facts (checkout_id);

-- Who was verified by the same name from the same country.
CREATE INDEX verifications_by_name ON verifications (name, country) WHERE state = 'verified';
