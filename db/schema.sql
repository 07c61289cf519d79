-- The schema as it is after all migrations: the truth to read. A test proves that migrations/ leads here.

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
  expires_at INTEGER NOT NULL,
  device     INTEGER REFERENCES device (id) ON DELETE CASCADE -- that this browser speaks for; NULL: not known yet
) STRICT;
CREATE INDEX session_account ON session (account);
CREATE INDEX session_device ON session (device);

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

-- Devices of our users. client is mimi://<domain>/d/<user>/<device>; user is its user's URI.
CREATE TABLE device (
  id            INTEGER PRIMARY KEY AUTOINCREMENT,
  client        TEXT    NOT NULL UNIQUE,
  user          TEXT    NOT NULL,
  name          TEXT    NOT NULL,
  signature_key BLOB    NOT NULL,             -- never changes; another key is another device
  certificate   BLOB    NOT NULL,             -- DER, the newest issued
  created_at    INTEGER NOT NULL,
  seen_at       INTEGER NOT NULL,
  cursor        INTEGER NOT NULL DEFAULT 0    -- the last event the device says it has stored
) STRICT;
CREATE INDEX device_user ON device (user);

-- KeyPackages nobody has claimed yet. A claim deletes the row: a package is handed out once.
CREATE TABLE key_package (
  id        INTEGER PRIMARY KEY AUTOINCREMENT,
  ref       BLOB    NOT NULL UNIQUE,
  device    INTEGER NOT NULL REFERENCES device (id) ON DELETE CASCADE,
  suite     INTEGER NOT NULL,
  not_after INTEGER NOT NULL,
  body      BLOB    NOT NULL
) STRICT;
CREATE INDEX key_package_device ON key_package (device, suite);

-- Whose package a Welcome names, and for which room it was handed out ('' for none). A used one stays until it expires, so
-- that the package can neither be named nor published again.
CREATE TABLE key_claim (
  ref       BLOB    NOT NULL PRIMARY KEY,
  device    INTEGER NOT NULL REFERENCES device (id) ON DELETE CASCADE,
  room      TEXT    NOT NULL,
  not_after INTEGER NOT NULL,
  used      INTEGER NOT NULL DEFAULT 0 CHECK (used IN (0, 1))
) STRICT, WITHOUT ROWID;
CREATE INDEX key_claim_expiry ON key_claim (not_after);

-- Rooms this provider is the hub of, and rooms of others that our users are in.
CREATE TABLE room (
  id         INTEGER PRIMARY KEY AUTOINCREMENT,
  uri        TEXT    NOT NULL UNIQUE,
  group_id   TEXT    NOT NULL UNIQUE,         -- the room's URI where others are the hub
  direct     TEXT    UNIQUE,                  -- both user URIs, sorted, of a room for two; NULL for groups
  state      BLOB    NOT NULL,                -- the hub's public view of the MLS group; empty where others are the hub
  created_at INTEGER NOT NULL,
  hub        TEXT                             -- domain of the hub; NULL: we are
) STRICT;

-- The participant lists, to find a user's rooms.
CREATE TABLE room_user (
  user TEXT    NOT NULL,
  room INTEGER NOT NULL REFERENCES room (id) ON DELETE CASCADE,
  PRIMARY KEY (user, room)
) STRICT, WITHOUT ROWID;
CREATE INDEX room_user_room ON room_user (room);

-- What happened in the rooms, once for all recipients. id is the cursor of every device's stream.
CREATE TABLE event (
  id   INTEGER PRIMARY KEY AUTOINCREMENT,
  room INTEGER NOT NULL REFERENCES room (id) ON DELETE CASCADE,
  ts   INTEGER NOT NULL,                      -- accepted_timestamp, strictly increasing within a room
  kind INTEGER NOT NULL,                      -- 0 create, 1 message, 2 proposal, 3 commit, 4 welcome
  hash BLOB,                                  -- first 16 octets of SHA-256 of the request; NULL for what else it caused
  body BLOB    NOT NULL                       -- FanoutMessage
) STRICT;
CREATE INDEX event_room ON event (room);
CREATE UNIQUE INDEX event_hash ON event (hash, room) WHERE hash IS NOT NULL;

-- Which part of a room's events a device receives: from_event to to_event, both included. Where messages is 0 it receives
-- only what moves the group on.
CREATE TABLE member (
  device     INTEGER NOT NULL REFERENCES device (id) ON DELETE CASCADE,
  room       INTEGER NOT NULL REFERENCES room (id) ON DELETE CASCADE,
  from_event INTEGER NOT NULL,
  to_event   INTEGER,                         -- NULL while the device is a member
  messages   INTEGER NOT NULL DEFAULT 1 CHECK (messages IN (0, 1)),
  PRIMARY KEY (device, room, from_event)
) STRICT, WITHOUT ROWID;
CREATE INDEX member_room ON member (room) WHERE to_event IS NULL;

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

-- Providers that follow one of our rooms, and which part of its events they receive: from_event to to_event, both
-- included. provider is a domain. Where messages is 0 it receives only what moves the group on.
CREATE TABLE follower (
  room       INTEGER NOT NULL REFERENCES room (id) ON DELETE CASCADE,
  provider   TEXT    NOT NULL,
  from_event INTEGER NOT NULL,
  to_event   INTEGER,                         -- NULL while it follows
  messages   INTEGER NOT NULL DEFAULT 1 CHECK (messages IN (0, 1)),
  PRIMARY KEY (provider, room, from_event)
) STRICT, WITHOUT ROWID;
CREATE INDEX follower_room ON follower (room) WHERE to_event IS NULL;

-- How far a follower has got. A request that may have reached it is repeated with the same octets, so its end is noted
-- before it is sent.
CREATE TABLE outbox (
  room     INTEGER NOT NULL REFERENCES room (id) ON DELETE CASCADE,
  provider TEXT    NOT NULL,
  cursor   INTEGER NOT NULL,                  -- the last event it has
  sending  INTEGER NOT NULL,                  -- the last event of the request under way; = cursor: none is
  parked   INTEGER NOT NULL DEFAULT 0,        -- Unix milliseconds since when nothing is tried any more; 0: it is
  PRIMARY KEY (room, provider)
) STRICT, WITHOUT ROWID;

-- The providers a Welcome goes to: those of its KeyPackages.
CREATE TABLE welcome_target (
  event    INTEGER NOT NULL REFERENCES event (id) ON DELETE CASCADE,
  provider TEXT    NOT NULL,
  PRIMARY KEY (event, provider)
) STRICT, WITHOUT ROWID;

-- KeyPackages of other providers' users that were handed out for rooms of ours.
CREATE TABLE key_forward (
  ref       BLOB    NOT NULL PRIMARY KEY,
  provider  TEXT    NOT NULL,
  room      TEXT    NOT NULL,
  not_after INTEGER NOT NULL,
  used      INTEGER NOT NULL DEFAULT 0 CHECK (used IN (0, 1))
) STRICT, WITHOUT ROWID;
CREATE INDEX key_forward_expiry ON key_forward (not_after);

-- External commits that our devices have sent to hubs elsewhere: the device is a member from the event on that brings it.
CREATE TABLE join_intent (
  room   TEXT    NOT NULL,                    -- room URI: there may be no row of the room yet
  hash   BLOB    NOT NULL,                    -- SHA-256 of the commit's MLSMessage
  device INTEGER NOT NULL REFERENCES device (id) ON DELETE CASCADE,
  at     INTEGER NOT NULL,
  PRIMARY KEY (room, hash, device)
) STRICT, WITHOUT ROWID;

-- Other providers, as far as we have met them.
CREATE TABLE peer (
  domain     TEXT    NOT NULL PRIMARY KEY,
  roots      BLOB,                            -- identity roots as pinned on first use; NULL: not known yet
  offered    BLOB,                            -- other roots that its directory names now; NULL: none
  first_seen INTEGER NOT NULL,
  last_ok    INTEGER,                         -- when it last answered
  error      TEXT    NOT NULL DEFAULT '',     -- what was wrong last, in words; empty since it answered
  error_at   INTEGER,
  verdict    TEXT    NOT NULL DEFAULT '' CHECK (verdict IN ('', 'allow', 'deny')), -- the administrator's
  suspended_at INTEGER,                       -- nothing is exchanged with it since; NULL: it is not suspended
  expires_at INTEGER                          -- when the certificate ends that it has shown last
) STRICT, WITHOUT ROWID;

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

-- What a certificate authority has given us: the account's key, certificates with their keys, answers to its challenges.
CREATE TABLE acme (
  name       TEXT    NOT NULL PRIMARY KEY,    -- URL of its directory and what autocert calls it
  value      BLOB    NOT NULL,
  changed_at INTEGER NOT NULL
) STRICT;
