-- One tree a table instead of two, where every job writes: see ../../../ledger/migrations/sqlite/0003_rowids.sql. Nothing else
-- changes.

CREATE TABLE new_jobs (
    id INTEGER PRIMARY KEY,
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
    error TEXT,
    node BIGINT NOT NULL DEFAULT 0,
    cancel_wanted_at BIGINT,
    unit_bid BIGINT,
    units BIGINT NOT NULL DEFAULT 0,
    model TEXT,
    min_trust BIGINT NOT NULL DEFAULT 0,
    bid_raised_at BIGINT
);
INSERT INTO new_jobs SELECT * FROM jobs;
DROP TABLE jobs;
ALTER TABLE new_jobs RENAME TO jobs;

CREATE TABLE new_job_outputs (
    job_id INTEGER PRIMARY KEY,
    output TEXT NOT NULL,
    message TEXT
);
INSERT INTO new_job_outputs SELECT * FROM job_outputs;
DROP TABLE job_outputs;
ALTER TABLE new_job_outputs RENAME TO job_outputs;

CREATE TABLE new_attempts (
    id INTEGER PRIMARY KEY,
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
    ended_at BIGINT,
    units BIGINT NOT NULL DEFAULT 100000,
    charge BIGINT NOT NULL DEFAULT 0,
    fee BIGINT NOT NULL DEFAULT 0
);
INSERT INTO new_attempts SELECT * FROM attempts;
DROP TABLE attempts;
ALTER TABLE new_attempts RENAME TO attempts;

CREATE TABLE new_market_trades (
    workload_id BIGINT NOT NULL,
    at BIGINT NOT NULL,
    job_id BIGINT NOT NULL,
    price BIGINT NOT NULL,
    units BIGINT NOT NULL,
    PRIMARY KEY (workload_id, at, job_id)
) WITHOUT ROWID;
INSERT INTO new_market_trades SELECT * FROM market_trades;
DROP TABLE market_trades;
ALTER TABLE new_market_trades RENAME TO market_trades;

CREATE TABLE new_market_minutes (
    workload_id BIGINT NOT NULL,
    minute BIGINT NOT NULL,
    trades BIGINT NOT NULL,
    total BIGINT NOT NULL,
    lowest BIGINT NOT NULL,
    highest BIGINT NOT NULL,
    last BIGINT NOT NULL,
    units BIGINT NOT NULL DEFAULT 0,
    paid BIGINT NOT NULL DEFAULT 0,
    PRIMARY KEY (workload_id, minute)
) WITHOUT ROWID;
INSERT INTO new_market_minutes SELECT * FROM market_minutes;
DROP TABLE market_minutes;
ALTER TABLE new_market_minutes RENAME TO market_minutes;

CREATE TABLE new_market_prices (
    workload_id BIGINT NOT NULL,
    bucket BIGINT NOT NULL,
    price BIGINT NOT NULL,
    trades BIGINT NOT NULL,
    PRIMARY KEY (workload_id, bucket, price)
) WITHOUT ROWID;
INSERT INTO new_market_prices SELECT * FROM market_prices;
DROP TABLE market_prices;
ALTER TABLE new_market_prices RENAME TO market_prices;

CREATE TABLE new_island_hours (
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
) WITHOUT ROWID;
INSERT INTO new_island_hours SELECT * FROM island_hours;
DROP TABLE island_hours;
ALTER TABLE new_island_hours RENAME TO island_hours;

CREATE INDEX jobs_by_user ON jobs (user_id, id);
CREATE INDEX jobs_open ON jobs (node, id) WHERE state IN ('pending', 'running');
CREATE INDEX jobs_to_cancel ON jobs (node) WHERE cancel_wanted_at IS NOT NULL AND state IN ('pending', 'running');
CREATE INDEX jobs_raised ON jobs (node) WHERE bid_raised_at IS NOT NULL AND state = 'pending';
CREATE INDEX attempts_by_job ON attempts (job_id);
-- It went with the table the ledger has rebuilt.
CREATE INDEX IF NOT EXISTS ledger_earnings_moved ON ledger_transfers (from_account, at) WHERE kind = 4;
