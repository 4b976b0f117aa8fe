CREATE SEQUENCE task_run_ids;
ALTER TABLE task_runs ADD COLUMN id BIGINT DEFAULT nextval('task_run_ids');
CREATE SEQUENCE alert_ids;
ALTER TABLE alerts ADD COLUMN id BIGINT DEFAULT nextval('alert_ids');
-- Alerts of one cause are told in one message: when, when their date was done, and when nothing is left to say.
ALTER TABLE alerts ADD COLUMN cause VARCHAR;
ALTER TABLE alerts ADD COLUMN told_at TIMESTAMPTZ;
ALTER TABLE alerts ADD COLUMN resolved_at TIMESTAMPTZ;
ALTER TABLE alerts ADD COLUMN closed_at TIMESTAMPTZ;
UPDATE alerts SET cause = message, told_at = now(), resolved_at = now(), closed_at = now();
