-- What users' jobs came to, by the day (since 1970, UTC) on which they ended. Written in the transaction that ends the job, so it
-- agrees with jobs and ledger at every moment. key_id 0: asked for on a page. island_id 0: no Island was at work when it ended.
-- failed counts those that timed out too; charge is in micro-credits.
CREATE TABLE usage_days (
    user_id BIGINT NOT NULL,
    day BIGINT NOT NULL,
    workload_id BIGINT NOT NULL,
    key_id BIGINT NOT NULL,
    island_id BIGINT NOT NULL,
    jobs BIGINT NOT NULL,
    completed BIGINT NOT NULL,
    failed BIGINT NOT NULL,
    charge BIGINT NOT NULL,
    prompt_tokens BIGINT NOT NULL,
    completion_tokens BIGINT NOT NULL,
    PRIMARY KEY (user_id, day, workload_id, key_id, island_id)
) WITHOUT ROWID;

INSERT INTO usage_days
SELECT user_id, completed_at / 86400000, workload_id, coalesce(key_id, 0), coalesce(island_id, 0), count(*),
    CAST(sum(CASE WHEN state = 'completed' THEN 1 ELSE 0 END) AS BIGINT),
    CAST(sum(CASE WHEN state IN ('failed', 'timeout') THEN 1 ELSE 0 END) AS BIGINT),
    CAST(sum(charge) AS BIGINT),
    CAST(sum(coalesce(prompt_tokens, 0)) AS BIGINT),
    CAST(sum(coalesce(completion_tokens, 0)) AS BIGINT)
FROM jobs WHERE completed_at IS NOT NULL
GROUP BY user_id, completed_at / 86400000, workload_id, coalesce(key_id, 0), coalesce(island_id, 0);
