-- Who runs on this database: every coordinator, and every admin command while it works, has a number of its own. It is part of
-- every id it makes and stands with every job it drives.
CREATE TABLE coordinators (
    node BIGINT PRIMARY KEY CHECK (node BETWEEN 0 AND 1023),
    -- which data directory it was started on; empty when the number is free
    instance TEXT NOT NULL,
    -- which process has the number: the only one that may begin and end its jobs; 0 when the number is free
    run BIGINT NOT NULL,
    -- grows while the process lives
    beat BIGINT NOT NULL,
    -- when it last grew, by the clock of that process: whoever has the number next makes later ids
    heartbeat_at BIGINT NOT NULL
);

-- The coordinator that drives the job while it is open.
ALTER TABLE jobs ADD COLUMN node BIGINT NOT NULL DEFAULT 0;
DROP INDEX jobs_open;
CREATE INDEX jobs_open ON jobs (node, id) WHERE state IN ('pending', 'running');

-- The wish to cancel a job that another coordinator drives, for that one to read.
ALTER TABLE jobs ADD COLUMN cancel_wanted_at BIGINT;
CREATE INDEX jobs_to_cancel ON jobs (node) WHERE cancel_wanted_at IS NOT NULL AND state IN ('pending', 'running');
