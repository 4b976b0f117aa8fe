-- Why an answer of an audit was not believed, in words.
ALTER TABLE audits ADD COLUMN reason VARCHAR;

-- A dispute over a whole history: answers of its last sessions do not settle it.
ALTER TABLE disputed_answers ADD COLUMN is_audit BOOLEAN;
