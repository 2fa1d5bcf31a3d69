-- Letters to people: written in the transaction of what they tell of, sent by whichever coordinator takes them next.
-- dedupe_key: what the letter tells of, so that it is told once. due_at: when somebody may take it; pushed forward by whoever does.
CREATE TABLE mail_outbox (
    id BIGINT PRIMARY KEY,
    to_address TEXT NOT NULL,
    kind TEXT NOT NULL,
    subject TEXT NOT NULL,
    text_body TEXT NOT NULL,
    html_body TEXT NOT NULL,
    attachment BYTEA,
    attachment_name TEXT,
    dedupe_key TEXT NOT NULL UNIQUE,
    created_at BIGINT NOT NULL,
    due_at BIGINT NOT NULL,
    attempts BIGINT NOT NULL DEFAULT 0,
    sent_at BIGINT,
    failed_at BIGINT,
    error TEXT,
    erased_at BIGINT
);
CREATE INDEX mail_outbox_due ON mail_outbox (due_at, id) WHERE sent_at IS NULL AND failed_at IS NULL;
CREATE INDEX mail_outbox_whole ON mail_outbox (created_at) WHERE erased_at IS NULL;

-- One receipt for each purchase, as it was issued: nothing in it follows later changes of the seller or the buyer.
CREATE TABLE receipts (
    number BIGINT PRIMARY KEY CHECK (number > 0),
    purchase_id BIGINT NOT NULL UNIQUE REFERENCES purchases (id),
    issued_at BIGINT NOT NULL,
    seller TEXT NOT NULL,
    buyer_email TEXT NOT NULL,
    buyer_name TEXT NOT NULL,
    description TEXT NOT NULL,
    credits BIGINT NOT NULL,
    amount_cents BIGINT NOT NULL,
    currency TEXT NOT NULL,
    tax_basis_points BIGINT NOT NULL,
    tax_cents BIGINT NOT NULL,
    provider TEXT NOT NULL,
    payment_ref TEXT
);

-- The last number given out; changed in the transaction that issues, so that no number is missing and none is given twice.
CREATE TABLE receipt_counter (
    id BIGINT PRIMARY KEY CHECK (id = 1),
    last BIGINT NOT NULL
);
