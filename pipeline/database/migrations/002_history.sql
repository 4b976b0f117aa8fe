ALTER TABLE symbol_snapshots ADD COLUMN security_type VARCHAR DEFAULT 'share';
ALTER TABLE nasdaq_symbols ADD COLUMN security_type VARCHAR DEFAULT 'share';
CREATE TABLE gaps (
    symbol VARCHAR NOT NULL,
    date DATE NOT NULL,
    times_asked INTEGER NOT NULL,
    source VARCHAR NOT NULL DEFAULT '{source}'
);
CREATE TABLE closed_histories (
    symbol VARCHAR NOT NULL,
    name VARCHAR,
    closed_on DATE NOT NULL,
    date DATE NOT NULL,
    open DOUBLE NOT NULL,
    high DOUBLE NOT NULL,
    low DOUBLE NOT NULL,
    close DOUBLE NOT NULL,
    volume BIGINT NOT NULL,
    fetched_at TIMESTAMPTZ NOT NULL,
    source VARCHAR NOT NULL DEFAULT '{source}'
);

-- Closes as a holder who reinvests dividends has them: each dividend d scales the closes before its ex-date by
-- 1 - d / (the last close before it), the method of CRSP and Yahoo.
CREATE VIEW stock_data_adjusted AS
WITH steps AS (
    SELECT a.symbol, a.date, 1 - a.value / s.close AS step
    FROM (FROM corporate_actions WHERE kind = 'dividend') a
    ASOF JOIN stock_data s ON s.symbol = a.symbol AND s.date < a.date
), factors AS (
    SELECT symbol, date, product(step) OVER (
        PARTITION BY symbol ORDER BY date ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING
    ) AS factor
    FROM steps
)
SELECT s.symbol, s.date, s.close, s.volume, s.close * coalesce(f.factor, 1) AS adjusted_close, s.source
FROM stock_data s ASOF LEFT JOIN factors f ON f.symbol = s.symbol AND f.date > s.date;

-- Every name that a symbol was listed under, and when.
CREATE VIEW symbol_names AS
SELECT symbol, name, min(date) AS first_seen, max(date) AS last_seen, any_value(source) AS source
FROM symbol_snapshots GROUP BY symbol, name;

-- Companies that left under one symbol and came under another with the next listing.
CREATE VIEW symbol_changes AS
WITH listings AS (
    SELECT date, lag(date) OVER (ORDER BY date) AS previous FROM (SELECT DISTINCT date FROM symbol_snapshots)
), spans AS (
    SELECT symbol, min(date) AS first_seen, max(date) AS last_seen FROM symbol_snapshots GROUP BY symbol
)
SELECT l.date, o.symbol AS old_symbol, n.symbol AS new_symbol, n.name, n.source
FROM listings l
JOIN spans came ON came.first_seen = l.date
JOIN spans gone ON gone.last_seen = l.previous
JOIN symbol_snapshots n ON n.date = l.date AND n.symbol = came.symbol
JOIN symbol_snapshots o ON o.date = l.previous AND o.symbol = gone.symbol
WHERE n.name = o.name;

-- Up to when the history of a symbol was kept, and whether it still is.
CREATE VIEW price_maintenance AS
SELECT symbol, first_asked, last_asked, last_asked = max(last_asked) OVER () AS is_maintained, source
FROM price_ranges;
