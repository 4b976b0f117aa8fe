-- Stored closes that are not the last sale of the session's own listing (`last_sale`, on today's basis). Both may be right:
-- the listing has trades after the close, and the source corrections of the morning.
CREATE TABLE price_disagreements (
    symbol VARCHAR NOT NULL,
    date DATE NOT NULL,
    close DOUBLE NOT NULL,
    last_sale DOUBLE NOT NULL,
    volume BIGINT NOT NULL,
    listed_volume BIGINT,
    noted_at TIMESTAMPTZ NOT NULL,
    source VARCHAR NOT NULL DEFAULT '{source}'
);
