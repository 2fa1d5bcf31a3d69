-- Auto top-up: one rule for each user who switched it on. Amounts in micro-credits, money in cents.
-- state: active, paused. epoch: the number of the low episode; its purchase has the attempt key topup-{epoch}, so that an
-- episode has one. purchase_id: that purchase, 0 before there is one. in_flight: the provider was asked and has not answered.
-- tries: how often it was asked for this purchase; the key it is asked with is made of it.
CREATE TABLE topups (
    user_id BIGINT PRIMARY KEY REFERENCES users (id),
    enabled BIGINT NOT NULL,
    threshold BIGINT NOT NULL CHECK (threshold > 0),
    package_slug TEXT NOT NULL,
    monthly_max_cents BIGINT NOT NULL CHECK (monthly_max_cents > 0),
    state TEXT NOT NULL,
    epoch BIGINT NOT NULL,
    purchase_id BIGINT NOT NULL,
    in_flight BIGINT NOT NULL,
    tries BIGINT NOT NULL,
    declines BIGINT NOT NULL,
    next_try_at BIGINT NOT NULL,
    last_error TEXT,
    confirm_url TEXT,
    updated_at BIGINT NOT NULL
);
CREATE INDEX topups_enabled ON topups (user_id) WHERE enabled = 1;

-- Below how many available credits a user is told. episode_open: it was told, and the balance has not been above since.
CREATE TABLE balance_alerts (
    user_id BIGINT NOT NULL REFERENCES users (id),
    threshold BIGINT NOT NULL CHECK (threshold >= 0),
    episode_open BIGINT NOT NULL,
    PRIMARY KEY (user_id, threshold)
);

-- Codes that are worth credits, in upper case, and who used them. A redemption is a grant of the same id.
CREATE TABLE promo_codes (
    code TEXT PRIMARY KEY,
    credits BIGINT NOT NULL CHECK (credits > 0),
    total_limit BIGINT NOT NULL CHECK (total_limit > 0),
    per_user_limit BIGINT NOT NULL CHECK (per_user_limit > 0),
    used BIGINT NOT NULL CHECK (used >= 0 AND used <= total_limit),
    expires_at BIGINT,
    note TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    disabled BIGINT NOT NULL
);
CREATE TABLE promo_redemptions (
    id BIGINT PRIMARY KEY,
    code TEXT NOT NULL REFERENCES promo_codes (code),
    user_id BIGINT NOT NULL REFERENCES users (id),
    number BIGINT NOT NULL,
    attempt_key TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    UNIQUE (code, user_id, number),
    UNIQUE (user_id, attempt_key)
);
-- Wrong codes, so that nobody tries many.
CREATE TABLE promo_misses (
    id BIGINT PRIMARY KEY,
    user_id BIGINT NOT NULL REFERENCES users (id),
    created_at BIGINT NOT NULL
);
CREATE INDEX promo_misses_by_user ON promo_misses (user_id, created_at);

-- Whom the sandbox payment provider knows, so that it can charge them again.
ALTER TABLE sandbox_checkouts ADD COLUMN customer_ref TEXT;
CREATE INDEX sandbox_checkouts_by_customer ON sandbox_checkouts (customer_ref);
