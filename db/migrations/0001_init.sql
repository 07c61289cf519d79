-- +goose Up

-- One row for each setting of the installation, keys of the identity CA included.
CREATE TABLE setting (
  key   TEXT NOT NULL PRIMARY KEY,
  value BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- People with an account here. username is the local part of mimi://<domain>/u/<username>: lower case, never reused.
CREATE TABLE account (
  id           INTEGER PRIMARY KEY,
  username     TEXT    NOT NULL UNIQUE,
  display_name TEXT    NOT NULL,
  password     TEXT    NOT NULL,              -- argon2id in PHC form; empty: no password yet
  admin        INTEGER NOT NULL DEFAULT 0 CHECK (admin IN (0, 1)),
  created_at   INTEGER NOT NULL,
  disabled_at  INTEGER
) STRICT;

-- Signed-in browsers. The cookie's token is stored as its SHA-256 only.
CREATE TABLE session (
  id         INTEGER PRIMARY KEY AUTOINCREMENT,
  hash       BLOB    NOT NULL UNIQUE,
  account    INTEGER NOT NULL REFERENCES account (id) ON DELETE CASCADE,
  created_at INTEGER NOT NULL,
  seen_at    INTEGER NOT NULL,
  expires_at INTEGER NOT NULL
) STRICT;
CREATE INDEX session_account ON session (account);

-- Links to join, for one person each. The code is stored as its SHA-256 only.
CREATE TABLE invitation (
  id         INTEGER PRIMARY KEY,
  hash       BLOB    NOT NULL UNIQUE,
  created_by INTEGER NOT NULL REFERENCES account (id) ON DELETE CASCADE,
  created_at INTEGER NOT NULL,
  expires_at INTEGER NOT NULL,
  used_at    INTEGER,
  used_by    INTEGER REFERENCES account (id) ON DELETE SET NULL
) STRICT;

-- Links printed on the command line: account NULL makes the first administrator, otherwise it sets a new password.
CREATE TABLE setup_token (
  hash       BLOB    NOT NULL PRIMARY KEY,
  account    INTEGER REFERENCES account (id) ON DELETE CASCADE,
  created_at INTEGER NOT NULL,
  expires_at INTEGER NOT NULL,
  used_at    INTEGER
) STRICT, WITHOUT ROWID;

-- What administrators and the command line did. Never holds secrets or content.
CREATE TABLE audit (
  id      INTEGER PRIMARY KEY AUTOINCREMENT,
  at      INTEGER NOT NULL,
  actor   INTEGER,                            -- account, NULL for the command line
  action  TEXT    NOT NULL,
  account INTEGER                             -- the account it was done to, if any
) STRICT;
