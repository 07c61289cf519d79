-- +goose Up

-- Whether a device gets messages in this part of a room's events, or only what moves the group on.
ALTER TABLE member ADD COLUMN messages INTEGER NOT NULL DEFAULT 1 CHECK (messages IN (0, 1));

-- +goose Down
ALTER TABLE member DROP COLUMN messages;
