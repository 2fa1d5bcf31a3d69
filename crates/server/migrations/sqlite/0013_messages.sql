-- What the answer of a job has beyond its text, as JSON: calls of tools, a refusal, how the model came to it. Where it has no text,
-- its output is empty.
ALTER TABLE job_outputs ADD COLUMN message TEXT;
