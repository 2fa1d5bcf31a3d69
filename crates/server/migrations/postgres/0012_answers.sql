-- The first answer to each request that may be repeated (I9), written with its effect and kept for 24 hours. A request whose
-- answer is the end of a job has none of its own: it is made from the job again.
ALTER TABLE idempotency DROP COLUMN purchase_id;
ALTER TABLE idempotency ADD COLUMN status BIGINT;
ALTER TABLE idempotency ADD COLUMN answer TEXT;
CREATE INDEX idempotency_by_time ON idempotency (created_at);
