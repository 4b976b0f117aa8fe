-- What is asked again and again has one name.

-- The stages of sessions that are done: the markers `TaskFamily:date`, taken apart.
CREATE VIEW finished_stages AS
SELECT split_part(update_id, ':', 1) AS stage, split_part(update_id, ':', 2)::DATE AS session, inserted AS finished_at
FROM table_updates
WHERE update_id LIKE '%:____-__-__';

-- Each session with the listing that serves it, which may be of another day (`listed_on`).
CREATE VIEW session_listings AS
SELECT u.date AS session, s.date AS listed_on, s.symbol, s.name, s.sector, s.industry, s.country, s.market_cap,
       s.ipo_year, s.security_type, s.last_sale, s.net_change, s.volume
FROM session_universe u
JOIN symbol_snapshots s ON s.date = u.snapshot_date;

-- The watchlist that is fed as of a day: every symbol found within the last `days` days, with its newest row.
CREATE MACRO fed_watchlist(as_of, days) AS TABLE
SELECT DISTINCT ON (symbol) *
FROM daily_watchlist
WHERE scan_date <= as_of AND scan_date > as_of - to_days(days)
ORDER BY symbol, scan_date DESC;

-- Whether the listing is to be asked for again, too.
ALTER TABLE recollections ADD COLUMN with_listing BOOLEAN DEFAULT false;
UPDATE recollections SET with_listing = (reason = 'reset by an operator, with the listing');
