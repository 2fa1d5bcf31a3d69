-- API keys: an end, the places they may be used from (ranges of addresses, separated by spaces; empty: anywhere).
ALTER TABLE api_keys ADD COLUMN expires_at BIGINT;
ALTER TABLE api_keys ADD COLUMN allowed TEXT NOT NULL DEFAULT '';
CREATE INDEX api_keys_by_use ON api_keys (last_used_at);

-- Secrets that were replaced and still open until then.
CREATE TABLE api_key_old_secrets (
    secret_hash TEXT PRIMARY KEY,
    key_id BIGINT NOT NULL REFERENCES api_keys (id),
    valid_until BIGINT NOT NULL
);
CREATE INDEX api_key_old_secrets_by_key ON api_key_old_secrets (key_id);

-- What was told of how far a key's limit is used: once for each limit, period and level (80 or 100 percent).
CREATE TABLE api_key_alerts (
    key_id BIGINT NOT NULL REFERENCES api_keys (id),
    period TEXT NOT NULL,
    since BIGINT NOT NULL,
    amount BIGINT NOT NULL,
    level BIGINT NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY (key_id, period, since, amount, level)
);
CREATE INDEX api_key_alerts_by_time ON api_key_alerts (at);
