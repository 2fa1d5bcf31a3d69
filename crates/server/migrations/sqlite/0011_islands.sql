-- Islands: how they stand, how they do, and how a new one is paired with its owner.

-- Whether it may be in the book. approved_at: by the operator. owner_suspended_at and operator_suspended_at: each only takes back its
-- own. changed_at: when any of these, or the token, last changed, so that other coordinators find out.
ALTER TABLE islands ADD COLUMN approved_at BIGINT;
ALTER TABLE islands ADD COLUMN owner_suspended_at BIGINT;
ALTER TABLE islands ADD COLUMN operator_suspended_at BIGINT;
ALTER TABLE islands ADD COLUMN changed_at BIGINT NOT NULL DEFAULT 0;
CREATE INDEX islands_by_change ON islands (changed_at);
-- The token before, and until when it is good.
ALTER TABLE islands ADD COLUMN old_token_hash TEXT;
ALTER TABLE islands ADD COLUMN old_token_until BIGINT;
CREATE INDEX islands_by_old_token ON islands (old_token_hash) WHERE old_token_hash IS NOT NULL;
-- Its last attempts, oldest first: a letter each, + for one that succeeded and - for one that failed.
ALTER TABLE islands ADD COLUMN last_attempts TEXT NOT NULL DEFAULT '';
ALTER TABLE islands ADD COLUMN last_attempt_at BIGINT;
-- How long it lately took to its first output; 0 when that is not known.
ALTER TABLE islands ADD COLUMN latency_ms BIGINT NOT NULL DEFAULT 0;
-- Since when it has been online; nothing when it is not.
ALTER TABLE islands ADD COLUMN online_since BIGINT;
-- When its owner was told that it is gone; 0 when there is nothing to tell of any more.
ALTER TABLE islands ADD COLUMN outage_told_at BIGINT;
-- Of outages before this table could know, nobody is told.
UPDATE islands SET outage_told_at = 0;

-- What Islands did, by the hour (since 1970, UTC). paid: attempts that earned something. earned: micro-credits of its owner.
-- units: 1/100,000 of the Cargo's unit. Hours of long ago are summed into the first hour of their day.
CREATE TABLE island_hours (
    island_id BIGINT NOT NULL,
    hour BIGINT NOT NULL,
    workload_id BIGINT NOT NULL,
    completed BIGINT NOT NULL,
    failed BIGINT NOT NULL,
    paid BIGINT NOT NULL,
    earned BIGINT NOT NULL,
    units BIGINT NOT NULL,
    busy_ms BIGINT NOT NULL,
    PRIMARY KEY (island_id, hour, workload_id)
);

-- How long they were online in each hour, or in each day of long ago.
CREATE TABLE island_presence (
    island_id BIGINT NOT NULL,
    hour BIGINT NOT NULL,
    online_secs BIGINT NOT NULL,
    PRIMARY KEY (island_id, hour)
);

-- Owners who do not want letters about their Islands.
CREATE TABLE island_letters_off (
    user_id BIGINT PRIMARY KEY REFERENCES users (id)
);

-- Machines that ask to be an Island of whoever enters their code. state: waiting, confirmed, refused.
-- The token is never stored: it is derived from what the machine polls with.
CREATE TABLE pairings (
    id BIGINT PRIMARY KEY,
    code_hash TEXT NOT NULL UNIQUE,
    poll_hash TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    agent_version TEXT NOT NULL,
    capabilities TEXT NOT NULL,
    address TEXT NOT NULL,
    state TEXT NOT NULL,
    island_id BIGINT,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE INDEX pairings_by_address ON pairings (address, expires_at);
CREATE INDEX pairings_by_end ON pairings (expires_at);

-- Wrong codes, so that nobody finds another's machine by trying.
CREATE TABLE pairing_misses (
    id BIGINT PRIMARY KEY,
    user_id BIGINT NOT NULL REFERENCES users (id),
    created_at BIGINT NOT NULL
);
CREATE INDEX pairing_misses_by_user ON pairing_misses (user_id, created_at);
