-- Rows of lists that were replaced since: the same columns, and when that was. Behind all migrations that add columns to
-- `daily_watchlist`; one that comes later adds its column to both.
CREATE TABLE watchlist_versions AS FROM daily_watchlist LIMIT 0;
ALTER TABLE watchlist_versions ADD COLUMN replaced_at TIMESTAMPTZ;
