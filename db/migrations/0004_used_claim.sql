-- +goose Up

-- An accepted Welcome named the package: no other may.
ALTER TABLE key_claim ADD COLUMN used INTEGER NOT NULL DEFAULT 0 CHECK (used IN (0, 1));

-- +goose Down
ALTER TABLE key_claim DROP COLUMN used;
