-- Whether the duties are done, which a process that lives does not tell by itself.

-- Up to when every check-in that came to this node has been written, and when it last began a write that succeeded.
ALTER TABLE nodes ADD COLUMN written_until_at BIGINT;
ALTER TABLE nodes ADD COLUMN proved_at BIGINT;
-- The duties that it cannot do now, with commas, and why, for people.
ALTER TABLE nodes ADD COLUMN unable TEXT NOT NULL DEFAULT '';
ALTER TABLE nodes ADD COLUMN problem TEXT NOT NULL DEFAULT '';

-- Somebody waits for a heartbeat: over SQLite they are stored seldom.
ALTER TABLE duties ADD COLUMN wanted_at BIGINT;

-- Reservations that the sweeper cannot judge, because a row of theirs cannot be read or written. Not a foreign key: the row that it
-- names may be the one that cannot be read.
CREATE TABLE unjudged (
    reservation_id  BIGINT  NOT NULL PRIMARY KEY,
    app             TEXT    NOT NULL,
    component       TEXT    NOT NULL,
    problem         TEXT    NOT NULL,
    since_at        BIGINT  NOT NULL,
    again_at        BIGINT  NOT NULL                     -- when it is tried again
);
