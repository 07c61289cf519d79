-- +goose Up

-- Rooms of other providers that our users are in have rows too: hub is the provider, and what only the hub knows is empty.
ALTER TABLE room ADD COLUMN hub TEXT;

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
  error_at   INTEGER
) STRICT, WITHOUT ROWID;

-- +goose Down
DROP TABLE peer;
DROP TABLE join_intent;
DROP TABLE key_forward;
DROP TABLE welcome_target;
DROP TABLE outbox;
DROP TABLE follower;
ALTER TABLE room DROP COLUMN hub;
