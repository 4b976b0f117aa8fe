-- A bar is provisional until an answer taken long enough after the close has said it again or put it right. Bars that were
-- stored before this was kept count as final when they were answered in the night after their session.
ALTER TABLE stock_data ADD COLUMN is_final BOOLEAN;
UPDATE stock_data SET is_final = epoch(fetched_at) >= epoch(date + INTERVAL 29 HOUR);

-- When a row was stored, null for rows of before: with the replaced ones, every past moment can be asked again.
ALTER TABLE stock_data ADD COLUMN stored_at TIMESTAMPTZ;

-- What bars said before they were replaced or deleted, and between which moments the database said so.
CREATE TABLE bar_versions (
    symbol VARCHAR NOT NULL,
    date DATE NOT NULL,
    open DOUBLE NOT NULL,
    high DOUBLE NOT NULL,
    low DOUBLE NOT NULL,
    close DOUBLE NOT NULL,
    volume BIGINT NOT NULL,
    is_final BOOLEAN,
    fetched_at TIMESTAMPTZ NOT NULL,
    stored_at TIMESTAMPTZ,
    replaced_at TIMESTAMPTZ NOT NULL,
    reason VARCHAR NOT NULL,
    source VARCHAR NOT NULL DEFAULT '{source}'
);

-- Histories that were replaced on another basis: the answered closes were `factor` times the stored ones.
CREATE TABLE basis_changes (
    symbol VARCHAR NOT NULL,
    changed_at TIMESTAMPTZ NOT NULL,
    factor DOUBLE,
    evidence VARCHAR NOT NULL,
    bars BIGINT NOT NULL,
    source VARCHAR NOT NULL DEFAULT '{source}'
);

-- Whether the volume that a hit was found with was final.
ALTER TABLE daily_watchlist ADD COLUMN is_final BOOLEAN;
ALTER TABLE daily_watchlist ADD COLUMN stored_at TIMESTAMPTZ;

-- Each scan of a session: a list that is stored again is amended, an empty one, too.
CREATE TABLE watchlist_scans (
    scan_date DATE NOT NULL,
    scanned_at TIMESTAMPTZ NOT NULL,
    hits BIGINT NOT NULL,
    source VARCHAR NOT NULL DEFAULT '{source}'
);

-- What a later scan of a session changed on its list, and why.
CREATE TABLE watchlist_amendments (
    scan_date DATE NOT NULL,
    symbol VARCHAR NOT NULL,
    scan_reason VARCHAR NOT NULL,
    change VARCHAR NOT NULL,           -- added, removed
    reason VARCHAR NOT NULL,
    amended_at TIMESTAMPTZ NOT NULL,
    source VARCHAR NOT NULL DEFAULT '{source}'
);

-- Whole histories that were asked for again to be compared with what is stored.
CREATE TABLE audits (
    symbol VARCHAR NOT NULL,
    session DATE NOT NULL,             -- the session whose run did it
    audited_at TIMESTAMPTZ NOT NULL,
    bars BIGINT NOT NULL,              -- bars compared
    differed BIGINT NOT NULL,          -- of them, bars that were put right, added or deleted
    verdict VARCHAR NOT NULL,          -- what the answer was judged to be (docs/data-quality.md)
    source VARCHAR NOT NULL DEFAULT '{source}'
);
