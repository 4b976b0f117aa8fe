-- Where a symbol is listed. All that was stored before is NASDAQ's.
ALTER TABLE symbol_snapshots ADD COLUMN exchange VARCHAR DEFAULT 'nasdaq';
ALTER TABLE nasdaq_symbols ADD COLUMN exchange VARCHAR DEFAULT 'nasdaq';
ALTER TABLE daily_watchlist ADD COLUMN exchange VARCHAR;

-- Each session with the listing that serves it, which may be of another day (`listed_on`). A company that has changed its
-- symbol since stands under the present one, as its bars do; `listed_as` is the symbol of the listing.
CREATE OR REPLACE VIEW session_listings AS
SELECT u.date AS session, s.date AS listed_on, s.* EXCLUDE (date, source) REPLACE (coalesce(t.new_symbol, s.symbol) AS symbol),
       s.symbol AS listed_as
FROM session_universe u
JOIN symbol_snapshots s ON s.date = u.snapshot_date
LEFT JOIN ticker_changes t ON t.old_symbol = s.symbol AND s.date >= t.since AND s.date < t.date
QUALIFY row_number() OVER (PARTITION BY u.date, coalesce(t.new_symbol, s.symbol) ORDER BY t.new_symbol IS NOT NULL) = 1;

-- The exchanges that listed a symbol one after the other, each with the first listing that had it there.
CREATE VIEW symbol_moves AS
SELECT symbol, exchange, date, lag(exchange) OVER (PARTITION BY symbol ORDER BY date) AS moved_from, source
FROM symbol_snapshots
QUALIFY moved_from IS DISTINCT FROM exchange;
