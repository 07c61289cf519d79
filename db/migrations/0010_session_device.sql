-- +goose Up

-- The device that a browser's session speaks for: where the device is removed, the session ends with it.
ALTER TABLE session ADD COLUMN device INTEGER REFERENCES device (id) ON DELETE CASCADE;
CREATE INDEX session_device ON session (device);

-- +goose Down
DROP INDEX session_device;
ALTER TABLE session DROP COLUMN device;
