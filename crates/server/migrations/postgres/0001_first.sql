-- The same tables as for SQLite; the two scripts differ in nothing but this head, because both use what both engines have.
-- Amounts are micro-credits unless they say cents; times are Unix milliseconds; ids are the integers behind `job_…` and its like;
-- what is true or false is 1 or 0. Text is compared byte by byte for equality only; nothing is sorted by text.
-- Secrets are stored as SHA-256 of 256 random bits: there is nothing to guess, so a slow hash would protect nothing.

CREATE TABLE users (
    id BIGINT PRIMARY KEY,
    email TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL DEFAULT '',
    wallet_id BIGINT NOT NULL UNIQUE,
    earnings_id BIGINT NOT NULL UNIQUE,
    created_at BIGINT NOT NULL
);

CREATE TABLE magic_links (
    token_hash TEXT PRIMARY KEY,
    email TEXT NOT NULL,
    browser_hash TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    used_at BIGINT
);
CREATE INDEX magic_links_by_email ON magic_links (email, created_at);

CREATE TABLE sessions (
    token_hash TEXT PRIMARY KEY,
    user_id BIGINT NOT NULL REFERENCES users (id),
    csrf TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE INDEX sessions_by_user ON sessions (user_id);

-- cap_id: the ledger cap that enforces its spending limit, the same number as the key's id.
CREATE TABLE api_keys (
    id BIGINT PRIMARY KEY,
    user_id BIGINT NOT NULL REFERENCES users (id),
    name TEXT NOT NULL,
    prefix TEXT NOT NULL,
    secret_hash TEXT NOT NULL UNIQUE,
    scopes TEXT NOT NULL,
    spend_limit BIGINT,
    created_at BIGINT NOT NULL,
    last_used_at BIGINT,
    revoked_at BIGINT
);
CREATE INDEX api_keys_by_user ON api_keys (user_id);

-- state: unverified (no row), pending, verified, rejected.
CREATE TABLE verifications (
    user_id BIGINT PRIMARY KEY REFERENCES users (id),
    id BIGINT NOT NULL,
    state TEXT NOT NULL,
    provider TEXT NOT NULL,
    session_ref TEXT NOT NULL UNIQUE,
    name TEXT,
    country TEXT,
    reason TEXT,
    updated_at BIGINT NOT NULL
);

-- state: created, pending (paid later), granted, failed, expired. Price and credits are copied from the package.
CREATE TABLE purchases (
    id BIGINT PRIMARY KEY,
    user_id BIGINT NOT NULL REFERENCES users (id),
    wallet_id BIGINT NOT NULL,
    package_slug TEXT NOT NULL,
    package_name TEXT NOT NULL,
    credits BIGINT NOT NULL CHECK (credits > 0),
    amount_cents BIGINT NOT NULL CHECK (amount_cents > 0),
    currency TEXT NOT NULL,
    state TEXT NOT NULL,
    provider TEXT NOT NULL,
    session_ref TEXT UNIQUE,
    checkout_url TEXT,
    payment_ref TEXT,
    attempt_key TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    granted_at BIGINT,
    UNIQUE (user_id, attempt_key)
);
CREATE INDEX purchases_by_user ON purchases (user_id, id);
CREATE INDEX purchases_open ON purchases (id) WHERE state IN ('created', 'pending');

-- What providers told us, once each; written with its effect.
CREATE TABLE provider_events (
    provider TEXT NOT NULL,
    event_ref TEXT NOT NULL,
    kind TEXT NOT NULL,
    subject TEXT NOT NULL,
    received_at BIGINT NOT NULL,
    PRIMARY KEY (provider, event_ref)
);

-- The sandbox providers' own memory: what a real provider keeps on its side.
CREATE TABLE sandbox_checkouts (
    id TEXT PRIMARY KEY,
    purchase_ref TEXT NOT NULL,
    idempotency_key TEXT NOT NULL UNIQUE,
    description TEXT NOT NULL,
    amount_cents BIGINT NOT NULL,
    currency TEXT NOT NULL,
    return_url TEXT NOT NULL,
    cancel_url TEXT NOT NULL,
    status TEXT NOT NULL,
    payment_status TEXT NOT NULL,
    settles_at BIGINT,
    created_at BIGINT NOT NULL
);
CREATE TABLE sandbox_identities (
    id TEXT PRIMARY KEY,
    return_url TEXT NOT NULL,
    status TEXT NOT NULL,
    name TEXT,
    country TEXT,
    reason TEXT,
    created_at BIGINT NOT NULL
);
CREATE TABLE sandbox_deliveries (
    event_ref TEXT PRIMARY KEY,
    body TEXT NOT NULL,
    attempts BIGINT NOT NULL DEFAULT 0,
    due_at BIGINT NOT NULL,
    delivered_at BIGINT
);
CREATE INDEX sandbox_deliveries_due ON sandbox_deliveries (due_at) WHERE delivered_at IS NULL;

CREATE TABLE grants (
    id BIGINT PRIMARY KEY,
    user_id BIGINT NOT NULL REFERENCES users (id),
    amount BIGINT NOT NULL CHECK (amount > 0),
    note TEXT NOT NULL,
    created_at BIGINT NOT NULL
);

CREATE TABLE workloads (
    id BIGINT PRIMARY KEY,
    slug TEXT NOT NULL UNIQUE
);

CREATE TABLE islands (
    id BIGINT PRIMARY KEY,
    owner_id BIGINT NOT NULL REFERENCES users (id),
    name TEXT NOT NULL,
    token_hash TEXT NOT NULL UNIQUE,
    token_prefix TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    revoked_at BIGINT,
    last_seen_at BIGINT,
    agent_version TEXT,
    capabilities TEXT,
    offers TEXT,
    -- whether the Islands of serve --demo made it
    demo BIGINT NOT NULL DEFAULT 0
);
CREATE INDEX islands_by_owner ON islands (owner_id);

-- state: pending (waits for an Island), running, completed, failed, cancelled, timeout.
CREATE TABLE jobs (
    id BIGINT PRIMARY KEY,
    user_id BIGINT NOT NULL,
    key_id BIGINT,
    workload_id BIGINT NOT NULL,
    origin TEXT NOT NULL,
    state TEXT NOT NULL,
    input TEXT NOT NULL,
    bid BIGINT NOT NULL,
    bid_source TEXT NOT NULL,
    region TEXT,
    priority BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    deadline BIGINT NOT NULL,
    started_at BIGINT,
    completed_at BIGINT,
    attempts BIGINT NOT NULL DEFAULT 0,
    island_id BIGINT,
    charge BIGINT NOT NULL DEFAULT 0,
    prompt_tokens BIGINT,
    completion_tokens BIGINT,
    finish_reason TEXT,
    error_code TEXT,
    error TEXT
);
CREATE INDEX jobs_by_user ON jobs (user_id, id);
CREATE INDEX jobs_open ON jobs (id) WHERE state IN ('pending', 'running');

CREATE TABLE job_outputs (
    job_id BIGINT PRIMARY KEY,
    output TEXT NOT NULL
);

-- One try of a job on one Island. Its id is also the id of its hold and of the transfer that settles it.
-- state: running, settled, released.
CREATE TABLE attempts (
    id BIGINT PRIMARY KEY,
    job_id BIGINT NOT NULL,
    number BIGINT NOT NULL,
    island_id BIGINT NOT NULL,
    earnings_id BIGINT NOT NULL,
    -- the clearing price, frozen at the match; 0 on one's own Island
    price BIGINT NOT NULL,
    ask BIGINT NOT NULL,
    own BIGINT NOT NULL,
    -- the cheapest asks at the moment of the match and why each was passed over (I10)
    considered TEXT NOT NULL,
    state TEXT NOT NULL,
    error TEXT,
    started_at BIGINT NOT NULL,
    ended_at BIGINT
);
CREATE INDEX attempts_by_job ON attempts (job_id);

-- Answers to repeated requests (I9), written with the effect.
CREATE TABLE idempotency (
    user_id BIGINT NOT NULL,
    idempotency_key TEXT NOT NULL,
    request_hash TEXT NOT NULL,
    job_id BIGINT,
    purchase_id BIGINT,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (user_id, idempotency_key)
);

-- Cleared prices by the minute.
CREATE TABLE market_minutes (
    workload_id BIGINT NOT NULL,
    minute BIGINT NOT NULL,
    trades BIGINT NOT NULL,
    total BIGINT NOT NULL,
    lowest BIGINT NOT NULL,
    highest BIGINT NOT NULL,
    last BIGINT NOT NULL,
    PRIMARY KEY (workload_id, minute)
);

CREATE TABLE conversations (
    id BIGINT PRIMARY KEY,
    user_id BIGINT NOT NULL REFERENCES users (id),
    workload TEXT NOT NULL,
    title TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);
CREATE INDEX conversations_by_user ON conversations (user_id, updated_at);

-- role: user (content is here) or assistant (content is the output of its job).
CREATE TABLE messages (
    id BIGINT PRIMARY KEY,
    conversation_id BIGINT NOT NULL REFERENCES conversations (id),
    role TEXT NOT NULL,
    content TEXT NOT NULL DEFAULT '',
    job_id BIGINT,
    created_at BIGINT NOT NULL
);
CREATE INDEX messages_by_conversation ON messages (conversation_id, id);
