-- Amounts are micro-credits, times are Unix milliseconds.

-- kind: see AccountKind. Wallets and earnings (kind < 10) can never be overdrawn; the database says so too (I2).
CREATE TABLE ledger_accounts (
    id BIGINT PRIMARY KEY,
    kind BIGINT NOT NULL,
    posted BIGINT NOT NULL DEFAULT 0,
    held BIGINT NOT NULL DEFAULT 0,
    -- how many entries there are: the next one's seq is this + 1
    entries BIGINT NOT NULL DEFAULT 0,
    -- counts every change of posted or held, so that a late message cannot overwrite a newer balance
    version BIGINT NOT NULL DEFAULT 0,
    frozen BIGINT NOT NULL DEFAULT 0 CHECK (frozen IN (0, 1)),
    created_at BIGINT NOT NULL,
    CHECK (held >= 0),
    CHECK (kind >= 10 OR (posted >= 0 AND posted >= held))
);

-- A limit on what may be spent in one name, such as an API key.
CREATE TABLE ledger_caps (
    id BIGINT PRIMARY KEY,
    spend_limit BIGINT NOT NULL CHECK (spend_limit >= 0),
    held BIGINT NOT NULL DEFAULT 0 CHECK (held >= 0),
    spent BIGINT NOT NULL DEFAULT 0 CHECK (spent >= 0)
);

-- state: 0 open, 1 settled, 2 released, 3 expired.
CREATE TABLE ledger_holds (
    id BIGINT PRIMARY KEY,
    account_id BIGINT NOT NULL,
    cap_id BIGINT,
    amount BIGINT NOT NULL CHECK (amount >= 0),
    state BIGINT NOT NULL,
    charged BIGINT NOT NULL DEFAULT 0 CHECK (charged >= 0 AND charged <= amount),
    expires_at BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    ended_at BIGINT
);
CREATE INDEX ledger_holds_open ON ledger_holds (expires_at) WHERE state = 0;

-- One row a movement: `amount` leaves `from_account`, `amount - fee` reaches `to_account`, `fee` reaches the network.
CREATE TABLE ledger_transfers (
    id BIGINT PRIMARY KEY,
    kind BIGINT NOT NULL,
    from_account BIGINT NOT NULL,
    to_account BIGINT NOT NULL,
    amount BIGINT NOT NULL CHECK (amount >= 0),
    fee BIGINT NOT NULL DEFAULT 0 CHECK (fee >= 0 AND fee <= amount),
    note TEXT,
    at BIGINT NOT NULL
);

-- The legs. Keyed by account first: a statement is one range, and accounts can be spread over machines.
CREATE TABLE ledger_entries (
    account_id BIGINT NOT NULL,
    seq BIGINT NOT NULL,
    transfer_id BIGINT NOT NULL,
    amount BIGINT NOT NULL,
    -- posted after this entry
    balance BIGINT NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY (account_id, seq)
) WITHOUT ROWID;

-- History is append-only (I12).
CREATE TRIGGER ledger_entries_no_update BEFORE UPDATE ON ledger_entries
BEGIN SELECT raise(ABORT, 'entries are never changed'); END;
CREATE TRIGGER ledger_entries_no_delete BEFORE DELETE ON ledger_entries
BEGIN SELECT raise(ABORT, 'entries are never deleted'); END;
CREATE TRIGGER ledger_transfers_no_update BEFORE UPDATE ON ledger_transfers
BEGIN SELECT raise(ABORT, 'transfers are never changed'); END;
CREATE TRIGGER ledger_transfers_no_delete BEFORE DELETE ON ledger_transfers
BEGIN SELECT raise(ABORT, 'transfers are never deleted'); END;

-- The network's own accounts: sales, grants, fees, writeoff, payouts.
INSERT INTO ledger_accounts (id, kind, created_at)
VALUES (1, 10, 0), (2, 11, 0), (3, 12, 0), (4, 13, 0), (5, 14, 0);
