-- Companies that changed their symbol: what is stored of them stands under the new one, once. Listings from `since` on and
-- before `date` have them under the old one.
CREATE TABLE ticker_changes (
    old_symbol VARCHAR NOT NULL,
    new_symbol VARCHAR NOT NULL,
    since DATE NOT NULL,
    date DATE NOT NULL,                -- of the first listing that has the new symbol
    name VARCHAR NOT NULL,
    evidence VARCHAR NOT NULL,
    bars BIGINT NOT NULL,
    carried_at TIMESTAMPTZ NOT NULL,
    source VARCHAR NOT NULL DEFAULT '{source}'
);

-- Why the history of a symbol was closed.
ALTER TABLE closed_histories ADD COLUMN reason VARCHAR;
