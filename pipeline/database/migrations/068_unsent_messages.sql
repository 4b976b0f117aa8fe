-- Messages of success that no webhook took, until one does.
CREATE SEQUENCE unsent_message_ids;
CREATE TABLE unsent_messages (
    id BIGINT NOT NULL DEFAULT nextval('unsent_message_ids'),
    text VARCHAR NOT NULL,
    written_at TIMESTAMPTZ NOT NULL,
    source VARCHAR NOT NULL DEFAULT '{source}'
);
