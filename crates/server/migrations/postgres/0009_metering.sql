-- Prices by the unit. bid is the most a job may cost, unit_bid the most for one unit of its Cargo; nothing: the same.
-- units are counted in parts of 1/100,000: of a job what it was charged for, of an attempt the most it can take.
-- min_trust: how far an Island must be trusted, 0 to 2.
ALTER TABLE jobs ADD COLUMN unit_bid BIGINT;
ALTER TABLE jobs ADD COLUMN units BIGINT NOT NULL DEFAULT 0;
ALTER TABLE jobs ADD COLUMN model TEXT;
ALTER TABLE jobs ADD COLUMN min_trust BIGINT NOT NULL DEFAULT 0;
ALTER TABLE attempts ADD COLUMN units BIGINT NOT NULL DEFAULT 100000;
ALTER TABLE attempts ADD COLUMN charge BIGINT NOT NULL DEFAULT 0;
ALTER TABLE attempts ADD COLUMN fee BIGINT NOT NULL DEFAULT 0;

-- The bid of a waiting job was raised; the coordinator that drives it reads that here.
ALTER TABLE jobs ADD COLUMN bid_raised_at BIGINT;
CREATE INDEX jobs_raised ON jobs (node) WHERE bid_raised_at IS NOT NULL AND state = 'pending';

-- What a user pays at most for one unit of a Cargo, unless a job says otherwise: {"<number of the Cargo>": "<credits>"}.
ALTER TABLE users ADD COLUMN bids TEXT NOT NULL DEFAULT '{}';

-- The keys that receipts are signed with: an Ed25519 seed and its public key, both in base64. The newest signs.
CREATE TABLE receipt_keys (
    id TEXT PRIMARY KEY,
    seed TEXT NOT NULL,
    public TEXT NOT NULL,
    created_at BIGINT NOT NULL
);
