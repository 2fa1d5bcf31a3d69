-- Rates. Prices in micro-credits per unit, units in 1/100,000. Trades of the minutes before this script were of one unit each.
ALTER TABLE market_minutes ADD COLUMN units BIGINT NOT NULL DEFAULT 0;
ALTER TABLE market_minutes ADD COLUMN paid BIGINT NOT NULL DEFAULT 0;
UPDATE market_minutes SET units = trades * 100000, paid = total;

-- How often which price cleared, for medians: in the five minutes that begin with `bucket` (minutes since the epoch). Older
-- rows are added up by the hour, then by the day, under the first bucket of it. `price` is the price's level: at most four
-- significant digits.
CREATE TABLE market_prices (
    workload_id BIGINT NOT NULL,
    bucket BIGINT NOT NULL,
    price BIGINT NOT NULL,
    trades BIGINT NOT NULL,
    PRIMARY KEY (workload_id, bucket, price)
);

-- The newest trades, for all to see. Whose they were is not said anywhere but here, and never shown.
CREATE TABLE market_trades (
    workload_id BIGINT NOT NULL,
    at BIGINT NOT NULL,
    job_id BIGINT NOT NULL,
    price BIGINT NOT NULL,
    units BIGINT NOT NULL,
    PRIMARY KEY (workload_id, at, job_id)
);

-- Jobs that ended because no Island took them, by the hour (hours since the epoch) and by the level of what they bid per unit.
CREATE TABLE market_unserved (
    workload_id BIGINT NOT NULL,
    hour BIGINT NOT NULL,
    bid BIGINT NOT NULL,
    jobs BIGINT NOT NULL,
    PRIMARY KEY (workload_id, hour, bid)
);

-- How the book of one coordinator stood, every five minutes; later one an hour, then one a day.
-- best_ask: of a free slot. lowest_ask: busy or not. best_bid: of a job that waits.
CREATE TABLE market_snapshots (
    workload_id BIGINT NOT NULL,
    bucket BIGINT NOT NULL,
    node BIGINT NOT NULL,
    best_ask BIGINT,
    lowest_ask BIGINT,
    islands BIGINT NOT NULL,
    slots BIGINT NOT NULL,
    free_slots BIGINT NOT NULL,
    waiting BIGINT NOT NULL,
    best_bid BIGINT,
    PRIMARY KEY (workload_id, bucket, node)
);

-- An ask that its owner set here. It stands in place of what the Island's agent says, until it is reset.
CREATE TABLE ask_overrides (
    island_id BIGINT NOT NULL,
    workload_id BIGINT NOT NULL,
    ask BIGINT NOT NULL CHECK (ask >= 0),
    set_at BIGINT NOT NULL,
    PRIMARY KEY (island_id, workload_id)
);
