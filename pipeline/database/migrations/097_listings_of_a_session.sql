-- The same rows as before, so made that one session costs no more with ten years of listings than with one: only
-- listings of a company's earlier name are looked through for doubles.
CREATE OR REPLACE VIEW session_listings AS
WITH renamed AS (
    SELECT t.old_symbol, t.new_symbol, s.date
    FROM ticker_changes t JOIN symbol_snapshots s ON s.symbol = t.old_symbol AND s.date >= t.since AND s.date < t.date
)
SELECT u.date AS session, s.date AS listed_on, s.* EXCLUDE (date, source), s.symbol AS listed_as
FROM session_universe u
JOIN symbol_snapshots s ON s.date = u.snapshot_date
ANTI JOIN renamed r ON r.old_symbol = s.symbol AND r.date = s.date
UNION ALL BY NAME
SELECT u.date AS session, s.date AS listed_on, s.* EXCLUDE (date, source) REPLACE (r.new_symbol AS symbol),
       s.symbol AS listed_as
FROM session_universe u
JOIN renamed r ON r.date = u.snapshot_date
JOIN symbol_snapshots s ON s.date = r.date AND s.symbol = r.old_symbol
ANTI JOIN symbol_snapshots n ON n.date = r.date AND n.symbol = r.new_symbol
QUALIFY row_number() OVER (PARTITION BY u.date, r.new_symbol ORDER BY s.symbol) = 1;
