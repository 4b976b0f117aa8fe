-- What other systems wait for, written in the transaction of the rows that it tells of, and delivered after the commit.
CREATE SEQUENCE outbox_ids;
CREATE TABLE outbox (
    id BIGINT NOT NULL DEFAULT nextval('outbox_ids'),
    event_id VARCHAR NOT NULL DEFAULT uuid()::VARCHAR,
    kind VARCHAR NOT NULL,
    version INTEGER NOT NULL,
    key VARCHAR NOT NULL,
    body VARCHAR NOT NULL,
    created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    source VARCHAR NOT NULL DEFAULT '{source}'
);

-- How far each transport is: it has taken all events up to this one.
CREATE TABLE outbox_positions (
    transport VARCHAR PRIMARY KEY,
    id BIGINT NOT NULL,
    moved_at TIMESTAMPTZ NOT NULL,
    source VARCHAR NOT NULL DEFAULT '{source}'
);
