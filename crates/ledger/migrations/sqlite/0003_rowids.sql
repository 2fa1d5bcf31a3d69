-- `BIGINT PRIMARY KEY` gives a table two trees here: its rows by a number of SQLite's own, and that number by the key. `INTEGER
-- PRIMARY KEY` is that number, so that every batch changes fewer pages. Nothing else changes.

CREATE TABLE new_ledger_head (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    -- batches so far
    batch BIGINT NOT NULL,
    -- a digest of the last batch and the mark before it: two histories never have the same
    mark BIGINT NOT NULL,
    -- everything that happened up to this batch is in ledger_accounts, ledger_holds and ledger_caps
    folded BIGINT NOT NULL CHECK (folded <= batch),
    -- counts the times that rows of holds were written on the way to the next `folded`
    swept BIGINT NOT NULL DEFAULT 0,
    -- the highest id of a hold or transfer so far
    high BIGINT NOT NULL
);
INSERT INTO new_ledger_head SELECT * FROM ledger_head;
DROP TABLE ledger_head;
ALTER TABLE new_ledger_head RENAME TO ledger_head;

CREATE TABLE new_ledger_journal (
    batch INTEGER PRIMARY KEY,
    mark BIGINT NOT NULL,
    at BIGINT NOT NULL,
    changes BLOB NOT NULL
);
INSERT INTO new_ledger_journal SELECT * FROM ledger_journal;
DROP TABLE ledger_journal;
ALTER TABLE new_ledger_journal RENAME TO ledger_journal;

CREATE TABLE new_ledger_accounts (
    id INTEGER PRIMARY KEY,
    kind BIGINT NOT NULL,
    posted BIGINT NOT NULL DEFAULT 0,
    held BIGINT NOT NULL DEFAULT 0,
    -- what its owner owes; the books of it are kept in the account with the negated id
    debt BIGINT NOT NULL DEFAULT 0 CHECK (debt >= 0),
    -- how many legs there are: the next one's seq is this + 1
    entries BIGINT NOT NULL DEFAULT 0,
    -- the transfer of the newest leg
    head BIGINT,
    -- counts every change, so that a late message cannot overwrite a newer balance
    version BIGINT NOT NULL DEFAULT 0,
    frozen BIGINT NOT NULL DEFAULT 0 CHECK (frozen IN (0, 1)),
    created_at BIGINT NOT NULL,
    CHECK (held >= 0),
    CHECK (kind >= 10 OR (posted >= 0 AND posted >= held))
);
INSERT INTO new_ledger_accounts SELECT * FROM ledger_accounts;
DROP TABLE ledger_accounts;
ALTER TABLE new_ledger_accounts RENAME TO ledger_accounts;

CREATE TABLE new_ledger_caps (
    id INTEGER PRIMARY KEY,
    limit_total BIGINT CHECK (limit_total >= 0),
    limit_day BIGINT CHECK (limit_day >= 0),
    limit_week BIGINT CHECK (limit_week >= 0),
    limit_month BIGINT CHECK (limit_month >= 0),
    held BIGINT NOT NULL DEFAULT 0 CHECK (held >= 0),
    spent BIGINT NOT NULL DEFAULT 0 CHECK (spent >= 0),
    day_start BIGINT NOT NULL DEFAULT 0,
    day_spent BIGINT NOT NULL DEFAULT 0 CHECK (day_spent >= 0),
    week_start BIGINT NOT NULL DEFAULT 0,
    week_spent BIGINT NOT NULL DEFAULT 0 CHECK (week_spent >= 0),
    month_start BIGINT NOT NULL DEFAULT 0,
    month_spent BIGINT NOT NULL DEFAULT 0 CHECK (month_spent >= 0)
);
INSERT INTO new_ledger_caps SELECT * FROM ledger_caps;
DROP TABLE ledger_caps;
ALTER TABLE new_ledger_caps RENAME TO ledger_caps;

CREATE TABLE new_ledger_holds (
    id INTEGER PRIMARY KEY,
    account_id BIGINT NOT NULL,
    cap_id BIGINT,
    amount BIGINT NOT NULL CHECK (amount >= 0),
    expires_at BIGINT NOT NULL
);
INSERT INTO new_ledger_holds SELECT * FROM ledger_holds;
DROP TABLE ledger_holds;
ALTER TABLE new_ledger_holds RENAME TO ledger_holds;

CREATE TABLE new_ledger_transfers (
    id INTEGER PRIMARY KEY,
    kind BIGINT NOT NULL,
    from_account BIGINT NOT NULL,
    to_account BIGINT,
    amount BIGINT NOT NULL CHECK (amount >= 0),
    fee BIGINT NOT NULL CHECK (fee >= 0 AND fee <= amount),
    -- how much the hold it ended had reserved
    held BIGINT CHECK (amount <= held),
    cap_id BIGINT,
    note TEXT,
    at BIGINT NOT NULL,
    from_seq BIGINT,
    from_balance BIGINT,
    from_prev BIGINT,
    to_seq BIGINT,
    to_balance BIGINT,
    to_prev BIGINT,
    fee_seq BIGINT,
    fee_balance BIGINT,
    fee_prev BIGINT,
    -- the network's accounts have ids up to 5, debts have negative ones; everybody else is never below zero (I2)
    CHECK (from_account <= 5 OR from_balance IS NULL OR from_balance >= 0),
    CHECK (to_account <= 5 OR to_balance IS NULL OR to_balance >= 0)
);
INSERT INTO new_ledger_transfers SELECT * FROM ledger_transfers;
DROP TABLE ledger_transfers;
ALTER TABLE new_ledger_transfers RENAME TO ledger_transfers;

-- History is append-only (I12).
CREATE TRIGGER ledger_transfers_no_update BEFORE UPDATE ON ledger_transfers
BEGIN SELECT raise(ABORT, 'transfers are never changed'); END;
CREATE TRIGGER ledger_transfers_no_delete BEFORE DELETE ON ledger_transfers
BEGIN SELECT raise(ABORT, 'transfers are never deleted'); END;
