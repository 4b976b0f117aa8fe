-- A dividend that is as large as the close before it is on another basis than the prices, and scales nothing: the closes
-- before it would become zero or negative.
CREATE OR REPLACE VIEW stock_data_adjusted AS
WITH steps AS (
    SELECT a.symbol, a.date, CASE WHEN a.value < s.close THEN 1 - a.value / s.close ELSE 1 END AS step
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
