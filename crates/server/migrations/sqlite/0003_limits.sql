-- Every API key has a ledger cap with its id, limited or not: its limits are there and nowhere else.

INSERT INTO ledger_caps (id, limit_total)
SELECT k.id, k.spend_limit FROM api_keys k WHERE NOT EXISTS (SELECT 1 FROM ledger_caps c WHERE c.id = k.id);
ALTER TABLE api_keys DROP COLUMN spend_limit;
