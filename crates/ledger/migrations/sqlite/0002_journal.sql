-- Amounts are micro-credits, times are Unix milliseconds. How the tables work together is told in ../../src/lib.rs.
--
-- Legs move from a table of their own into the row of their transfer, and a journal takes what changes often. What is there is
-- carried over.

DROP TRIGGER ledger_entries_no_update;
DROP TRIGGER ledger_entries_no_delete;
DROP TRIGGER ledger_transfers_no_update;
DROP TRIGGER ledger_transfers_no_delete;
DROP INDEX ledger_holds_open;
ALTER TABLE ledger_accounts RENAME TO old_accounts;
ALTER TABLE ledger_caps RENAME TO old_caps;
ALTER TABLE ledger_holds RENAME TO old_holds;
ALTER TABLE ledger_transfers RENAME TO old_transfers;
ALTER TABLE ledger_entries RENAME TO old_entries;
CREATE UNIQUE INDEX old_entries_by_transfer ON old_entries (transfer_id, account_id);

-- One row: how far the ledger has come. Every batch changes it, so two writers can never both build on the same state.
CREATE TABLE ledger_head (
    id BIGINT PRIMARY KEY CHECK (id = 1),
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

-- What each batch changed: accounts, holds and caps as they are after it. Kept until folded, and a while longer for other
-- processes to catch up by.
CREATE TABLE ledger_journal (
    batch BIGINT PRIMARY KEY,
    mark BIGINT NOT NULL,
    at BIGINT NOT NULL,
    changes BLOB NOT NULL
);

-- kind: see AccountKind. Wallets and earnings (kind < 10) can never be overdrawn; the database says so too (I2).
CREATE TABLE ledger_accounts (
    id BIGINT PRIMARY KEY,
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

-- Limits on what may be spent in one name, such as an API key. A window's spending counts from its start (UTC).
CREATE TABLE ledger_caps (
    id BIGINT PRIMARY KEY,
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

-- Holds that are open. How one ended is a row of ledger_transfers with its id.
CREATE TABLE ledger_holds (
    id BIGINT PRIMARY KEY,
    account_id BIGINT NOT NULL,
    cap_id BIGINT,
    amount BIGINT NOT NULL CHECK (amount >= 0),
    expires_at BIGINT NOT NULL
);

-- One row a movement, with its legs: `amount` leaves from_account, `amount - fee` reaches to_account, `fee` reaches the
-- network. So the legs of a transfer sum to zero by their form (I1). Each leg has its number within its account, the
-- balance after it and the transfer of the leg before: the statement of an account is this chain, read from its head.
-- A hold that was given back is a row too, with kind 5 or 6 and no legs: the primary key lets a hold end once only (I3).
CREATE TABLE ledger_transfers (
    id BIGINT PRIMARY KEY,
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

-- Every 64th leg of an account, to find a time in a long statement.
CREATE TABLE ledger_marks (
    account_id BIGINT NOT NULL,
    at BIGINT NOT NULL,
    seq BIGINT NOT NULL,
    transfer_id BIGINT NOT NULL,
    PRIMARY KEY (account_id, at, seq)
) WITHOUT ROWID;

-- Carry over what there is.
INSERT INTO ledger_transfers
SELECT t.id, t.kind, t.from_account, t.to_account, t.amount, t.fee, h.amount, h.cap_id, t.note, t.at,
       f.seq, f.balance, fp.transfer_id, g.seq, g.balance, gp.transfer_id, n.seq, n.balance, np.transfer_id
FROM old_transfers t
LEFT JOIN old_holds h ON h.id = t.id
LEFT JOIN old_entries f ON f.transfer_id = t.id AND f.account_id = t.from_account
LEFT JOIN old_entries fp ON fp.account_id = f.account_id AND fp.seq = f.seq - 1
LEFT JOIN old_entries g ON g.transfer_id = t.id AND g.account_id = t.to_account
LEFT JOIN old_entries gp ON gp.account_id = g.account_id AND gp.seq = g.seq - 1
LEFT JOIN old_entries n ON n.transfer_id = t.id AND n.account_id = 3
LEFT JOIN old_entries np ON np.account_id = n.account_id AND np.seq = n.seq - 1;
INSERT INTO ledger_transfers (id, kind, from_account, amount, fee, held, cap_id, at)
SELECT id, 3 + state, account_id, 0, 0, amount, cap_id, coalesce(ended_at, created_at) FROM old_holds WHERE state IN (2, 3);
INSERT INTO ledger_holds SELECT id, account_id, cap_id, amount, expires_at FROM old_holds WHERE state = 0;
INSERT INTO ledger_caps (id, limit_total, held, spent) SELECT id, spend_limit, held, spent FROM old_caps;
INSERT INTO ledger_accounts
SELECT a.id, a.kind, a.posted, a.held, 0, a.entries, e.transfer_id, a.version, a.frozen, a.created_at
FROM old_accounts a LEFT JOIN old_entries e ON e.account_id = a.id AND e.seq = a.entries;
INSERT INTO ledger_marks
SELECT account_id, at, seq, transfer_id FROM old_entries WHERE seq % 64 = 0;
INSERT INTO ledger_head (id, batch, mark, folded, high)
SELECT 1, 0, 0, 0, max(coalesce((SELECT max(id) FROM old_transfers), 0), coalesce((SELECT max(id) FROM old_holds), 0));

DROP TABLE old_entries;
DROP TABLE old_transfers;
DROP TABLE old_holds;
DROP TABLE old_caps;
DROP TABLE old_accounts;

-- History is append-only (I12).
CREATE TRIGGER ledger_transfers_no_update BEFORE UPDATE ON ledger_transfers
BEGIN SELECT raise(ABORT, 'transfers are never changed'); END;
CREATE TRIGGER ledger_transfers_no_delete BEFORE DELETE ON ledger_transfers
BEGIN SELECT raise(ABORT, 'transfers are never deleted'); END;
