ALTER TABLE daily_watchlist ADD COLUMN rule_version VARCHAR;
ALTER TABLE daily_watchlist ADD COLUMN fired VARCHAR;  -- JSON: the columns that the condition names, and their values
