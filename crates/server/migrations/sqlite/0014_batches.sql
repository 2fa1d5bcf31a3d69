-- One Cargo asked for many inputs at once. A batch holds no credits itself: each of its inputs becomes an ordinary job when it
-- starts. state: running, succeeded, failed, cancelled. node: the coordinator that drives it. bid: the most each input may cost.
CREATE TABLE batches (
    id BIGINT PRIMARY KEY,
    user_id BIGINT NOT NULL,
    key_id BIGINT,
    node BIGINT NOT NULL,
    workload_id BIGINT NOT NULL,
    state TEXT NOT NULL,
    merge_strategy TEXT NOT NULL,
    fail_mode TEXT NOT NULL,
    parallelism BIGINT NOT NULL,
    bid BIGINT,
    region TEXT,
    model TEXT,
    min_trust BIGINT NOT NULL,
    priority BIGINT NOT NULL,
    size BIGINT NOT NULL,
    input_bytes BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    ended_at BIGINT,
    error_code TEXT,
    error TEXT,
    cancel_wanted_at BIGINT
);
CREATE INDEX batches_by_user ON batches (user_id, id);
CREATE INDEX batches_open ON batches (node) WHERE state = 'running';

-- The inputs. Each has the id of its job from the beginning, so whether it was started is whether that job is there: nothing
-- can come between the two. state is that of an input without a job: waiting, failed (refused), cancelled (never started).
CREATE TABLE batch_children (
    batch_id BIGINT NOT NULL,
    position BIGINT NOT NULL,
    job_id BIGINT NOT NULL UNIQUE,
    input TEXT NOT NULL,
    state TEXT NOT NULL,
    error_code TEXT,
    error TEXT,
    PRIMARY KEY (batch_id, position)
);
