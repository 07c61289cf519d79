-- +goose Up

-- The secrets with which the hub recognises its own franks: each serves from its time to that of the next, and is kept for as
-- long as messages may be reported.
CREATE TABLE hub_key (
  from_ts INTEGER NOT NULL PRIMARY KEY,       -- accepted_timestamp of the first message it may be for
  key     BLOB    NOT NULL
) STRICT;

-- Abuse that was reported in rooms of ours. Those with a message that the hub knows again are verified, and only such
-- messages are kept.
CREATE TABLE report (
  id         INTEGER PRIMARY KEY AUTOINCREMENT,
  hash       BLOB    NOT NULL UNIQUE,         -- SHA-256 of where it came from and the AbuseReport: one that comes again is the same
  at         INTEGER NOT NULL,
  room       TEXT    NOT NULL,
  provider   TEXT    NOT NULL,                -- domain it came from
  reporter   TEXT    NOT NULL,                -- user URI; '' if it was not told
  abuser     TEXT    NOT NULL,                -- user URI
  reason     INTEGER NOT NULL,
  note       TEXT    NOT NULL,
  unverified INTEGER NOT NULL,                -- messages that were not recognised
  verified   INTEGER NOT NULL CHECK (verified IN (0, 1)),
  handled_at INTEGER,                         -- NULL: open
  handled_by INTEGER                          -- account
) STRICT;
CREATE INDEX report_open ON report (verified, id) WHERE handled_at IS NULL;

CREATE TABLE report_message (
  report INTEGER NOT NULL REFERENCES report (id) ON DELETE CASCADE,
  n      INTEGER NOT NULL,
  ts     INTEGER NOT NULL,                    -- accepted_timestamp
  data   BLOB    NOT NULL,                    -- application data, framing included: what the frank is for
  frank  BLOB    NOT NULL,
  text   TEXT    NOT NULL,                    -- what the data says to people; '' if it is no text
  PRIMARY KEY (report, n)
) STRICT, WITHOUT ROWID;

-- +goose Down
DROP TABLE report_message;
DROP TABLE report;
DROP TABLE hub_key;
