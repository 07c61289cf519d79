-- +goose Up

-- What the administrator has decided about other providers, and when the certificate ends that one has shown last.
ALTER TABLE peer ADD COLUMN verdict TEXT NOT NULL DEFAULT '' CHECK (verdict IN ('', 'allow', 'deny'));
ALTER TABLE peer ADD COLUMN suspended_at INTEGER;
ALTER TABLE peer ADD COLUMN expires_at INTEGER;

-- +goose Down
ALTER TABLE peer DROP COLUMN expires_at;
ALTER TABLE peer DROP COLUMN suspended_at;
ALTER TABLE peer DROP COLUMN verdict;
