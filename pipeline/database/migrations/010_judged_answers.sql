-- Answers that were not taken over, or not wholly: what they said, until a later answer settles it.
CREATE TABLE disputed_answers (
    symbol VARCHAR NOT NULL,
    session DATE NOT NULL,             -- the newest session that was asked for
    fetched_at TIMESTAMPTZ NOT NULL,
    since DATE NOT NULL,               -- the session of the first answer of the dispute
    verdict VARCHAR NOT NULL,
    reason VARCHAR NOT NULL,
    closes MAP(DATE, DOUBLE),          -- what the answer said of the newest sessions
    source VARCHAR NOT NULL DEFAULT '{source}'
);

-- The newest answer that was taken over: older ones do not replace what it said. A first history that begins later than
-- it was asked for is confirmed by a second answer.
ALTER TABLE price_ranges ADD COLUMN answered_at TIMESTAMPTZ;
ALTER TABLE price_ranges ADD COLUMN is_confirmed BOOLEAN DEFAULT true;

-- The earliest of the changed bars: indicators before it are as they were.
ALTER TABLE stale_indicators ADD COLUMN from_date DATE;

-- A symbol that the source has no more, and had on the last complete session.
ALTER TABLE price_coverage ADD COLUMN is_lost BOOLEAN DEFAULT false;

-- How complete a session is. A symbol that the source has never known is not wanted of it; one that it knew the session
-- before is. `coverage` is the share that was delivered, `traded` the share that has a bar.
CREATE VIEW session_coverage AS
SELECT date, expected, stored, not_traded, unknown, failed, lost,
       (stored + not_traded) / nullif(wanted, 0) AS coverage, stored / nullif(wanted, 0) AS traded
FROM (
    SELECT date, count(*) AS expected, count(*) FILTER (state = 'stored') AS stored,
           count(*) FILTER (state = 'not_traded') AS not_traded, count(*) FILTER (state = 'unknown') AS unknown,
           count(*) FILTER (state = 'failed') AS failed, count(*) FILTER (is_lost) AS lost,
           count(*) FILTER (state <> 'unknown' OR is_lost) AS wanted
    FROM price_coverage GROUP BY date
);

-- Splits that were taken over although the closes on both sides do not agree with them: the closes before `date` fall by
-- the ratio, as if they had not been restated. Small ones cannot be told from a day's move.
CREATE VIEW unconfirmed_splits AS
SELECT symbol, date, value AS ratio, max(day) FILTER (day < date) AS date_before,
       max_by(close, day) FILTER (day < date) AS close_before, min_by(close, day) FILTER (day >= date) AS close_after, any_value(source) AS source
FROM (
    SELECT a.symbol, a.date, a.value, a.source, s.date AS day, s.close
    FROM corporate_actions a JOIN stock_data s ON s.symbol = a.symbol AND s.date BETWEEN a.date - 15 AND a.date + 15
    WHERE a.kind = 'split' AND abs(ln(a.value)) > 0.2
      AND a.date > (SELECT max(last_asked) - 60 FROM price_ranges)
)
GROUP BY symbol, date, value
HAVING abs(ln(close_after / close_before)) > abs(ln(ratio)) / 2;
