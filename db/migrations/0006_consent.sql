-- +goose Up

-- Whether one user may fetch the KeyPackages of another, as far as it was asked for or answered. At least one of the two is
-- ours. asked is when the requester asked, 0 where it did not or has taken it back.
CREATE TABLE consent (
  requester TEXT    NOT NULL,
  target    TEXT    NOT NULL,
  room      TEXT    NOT NULL,                 -- '' for every room
  asked     INTEGER NOT NULL,
  answer    INTEGER NOT NULL CHECK (answer IN (0, 1, 2)), -- the target's: none yet, granted, denied
  changed   INTEGER NOT NULL,
  PRIMARY KEY (requester, target, room)
) STRICT, WITHOUT ROWID;
CREATE INDEX consent_target ON consent (target);

-- Whom our users want to hear nothing of.
CREATE TABLE block (
  user    TEXT    NOT NULL,
  blocked TEXT    NOT NULL,
  at      INTEGER NOT NULL,
  PRIMARY KEY (user, blocked)
) STRICT, WITHOUT ROWID;

-- What our users say about consent, on its way to the other's provider, in this order. A newer word about the same
-- replaces an older one.
CREATE TABLE consent_outbox (
  id        INTEGER PRIMARY KEY AUTOINCREMENT,
  provider  TEXT    NOT NULL,                 -- domain
  answer    INTEGER NOT NULL CHECK (answer IN (0, 1)), -- 1: from target to requester
  requester TEXT    NOT NULL,
  target    TEXT    NOT NULL,
  room      TEXT    NOT NULL,
  body      BLOB    NOT NULL,                 -- ConsentEntry
  since     INTEGER NOT NULL,
  tries     INTEGER NOT NULL DEFAULT 0,
  due       INTEGER NOT NULL
) STRICT;
CREATE INDEX consent_outbox_provider ON consent_outbox (provider);

-- How much of it other providers send, and how much of that was over a limit and forgotten.
CREATE TABLE consent_peer (
  provider TEXT    NOT NULL PRIMARY KEY,      -- domain
  received INTEGER NOT NULL,
  dropped  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- +goose Down
DROP TABLE consent_peer;
DROP TABLE consent_outbox;
DROP TABLE block;
DROP TABLE consent;
