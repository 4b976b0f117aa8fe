-- What a rule found, and what of that the list shows: the hit's place in the rule's own order, how many symbols the
-- condition held for (the limit apart), and the other rules that found the symbol, too.
ALTER TABLE daily_watchlist ADD COLUMN place INTEGER;
ALTER TABLE daily_watchlist ADD COLUMN found INTEGER;
ALTER TABLE daily_watchlist ADD COLUMN also_found_by VARCHAR[];
