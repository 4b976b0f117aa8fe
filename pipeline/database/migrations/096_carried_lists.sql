-- The symbol under which a row of a list goes on since its company changed it.
ALTER TABLE watchlist_versions ADD COLUMN carried_to VARCHAR;
