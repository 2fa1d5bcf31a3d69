-- Amounts are micro-credits, times are Unix milliseconds. How the tables work together is told in ../../src/lib.rs.

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
INSERT INTO ledger_head (id, batch, mark, folded, high) VALUES (1, 0, 0, 0, 0);

-- What each batch changed: accounts, holds and caps as they are after it. Kept until folded, and a while longer for other
-- processes to catch up by.
CREATE TABLE ledger_journal (
    batch BIGINT PRIMARY KEY,
    mark BIGINT NOT NULL,
    at BIGINT NOT NULL,
    changes BYTEA NOT NULL
);
-- Numbers that hardly compress: do not spend time on trying.
ALTER TABLE ledger_journal ALTER COLUMN changes SET STORAGE EXTERNAL;

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
-- room for the next version of a row beside it, so that an update needs no new index entry
) WITH (fillfactor = 70);

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
);

-- History is append-only (I12).
CREATE FUNCTION ledger_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'transfers are never changed or deleted' USING ERRCODE = 'check_violation'; END $$;
CREATE TRIGGER ledger_transfers_append_only BEFORE UPDATE OR DELETE ON ledger_transfers
FOR EACH ROW EXECUTE FUNCTION ledger_append_only();
CREATE TRIGGER ledger_transfers_no_truncate BEFORE TRUNCATE ON ledger_transfers
FOR EACH STATEMENT EXECUTE FUNCTION ledger_append_only();

-- The network's own accounts: sales, grants, fees, writeoff, payouts.
INSERT INTO ledger_accounts (id, kind, created_at)
VALUES (1, 10, 0), (2, 11, 0), (3, 12, 0), (4, 13, 0), (5, 14, 0);
