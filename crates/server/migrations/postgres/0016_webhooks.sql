-- Addresses that events are sent to. events: their names, separated by spaces; empty: all.
-- failing_since: when the first of the tries failed that have failed one after another. missed: events that were not kept for it,
-- because too many waited.
CREATE TABLE webhook_endpoints (
    id BIGINT PRIMARY KEY,
    user_id BIGINT NOT NULL REFERENCES users (id),
    url TEXT NOT NULL,
    description TEXT NOT NULL,
    events TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    enabled BIGINT NOT NULL,
    disabled_at BIGINT,
    disabled_reason TEXT,
    failing_since BIGINT,
    missed BIGINT NOT NULL DEFAULT 0,
    deleted_at BIGINT
);
CREATE INDEX webhook_endpoints_by_user ON webhook_endpoints (user_id);

-- What is signed with. They have to be known to sign, so they are not hashed. valid_until: of one that was replaced.
CREATE TABLE webhook_secrets (
    endpoint_id BIGINT NOT NULL REFERENCES webhook_endpoints (id),
    secret TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    valid_until BIGINT,
    PRIMARY KEY (endpoint_id, secret)
);

-- What happened, as it is told: written in the transaction of what it tells, for whoever wants to hear of it.
CREATE TABLE webhook_events (
    id BIGINT PRIMARY KEY,
    user_id BIGINT NOT NULL REFERENCES users (id),
    kind TEXT NOT NULL,
    body TEXT NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE INDEX webhook_events_by_time ON webhook_events (created_at);

-- The sending of an event to an address. state: waiting, delivered, failed. due_at: when somebody may take it; pushed forward by
-- whoever does.
CREATE TABLE webhook_deliveries (
    id BIGINT PRIMARY KEY,
    endpoint_id BIGINT NOT NULL REFERENCES webhook_endpoints (id),
    event_id BIGINT NOT NULL REFERENCES webhook_events (id),
    state TEXT NOT NULL,
    attempts BIGINT NOT NULL DEFAULT 0,
    created_at BIGINT NOT NULL,
    due_at BIGINT NOT NULL,
    tried_at BIGINT,
    took_ms BIGINT,
    status BIGINT,
    answer TEXT,
    error TEXT
);
CREATE INDEX webhook_deliveries_by_endpoint ON webhook_deliveries (endpoint_id, id);
CREATE INDEX webhook_deliveries_by_event ON webhook_deliveries (event_id);
CREATE INDEX webhook_deliveries_due ON webhook_deliveries (endpoint_id, due_at) WHERE state = 'waiting';

-- Counts how often somebody began to listen, so that every coordinator knows at once when its list of listeners is too short.
CREATE TABLE webhook_changes (
    id BIGINT PRIMARY KEY CHECK (id = 1),
    version BIGINT NOT NULL
);
