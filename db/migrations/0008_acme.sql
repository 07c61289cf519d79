-- +goose Up

-- What a certificate authority has given us: the account's key, certificates with their keys, answers to its challenges.
CREATE TABLE acme (
  name       TEXT    NOT NULL PRIMARY KEY,    -- URL of its directory and what autocert calls it
  value      BLOB    NOT NULL,
  changed_at INTEGER NOT NULL
) STRICT;

-- +goose Down
DROP TABLE acme;
