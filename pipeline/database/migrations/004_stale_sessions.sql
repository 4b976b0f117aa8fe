CREATE TABLE stale_sessions (
    date DATE NOT NULL,
    since TIMESTAMPTZ NOT NULL,
    symbols BIGINT NOT NULL,
    reason VARCHAR NOT NULL,
    source VARCHAR NOT NULL DEFAULT '{source}'
);
