-- Check-ins that cost less; migrations/postgres says what for. Both tables are made anew, because SQLite adds no column
-- that must not be NULL.

CREATE TABLE new_states (
    reservation_id  INTEGER PRIMARY KEY REFERENCES reservations ON DELETE CASCADE,
    last_checkin_at BIGINT,
    last_start_at   BIGINT,
    last_fail_at    BIGINT,
    last_exit_code  INTEGER,
    last_seen_at    BIGINT,
    last_source     TEXT    NOT NULL DEFAULT '',
    runs_over_at    BIGINT,
    checkins        BIGINT  NOT NULL DEFAULT 0,
    fails           BIGINT  NOT NULL DEFAULT 0,
    status          TEXT    NOT NULL DEFAULT 'new' CHECK (status IN ('new', 'up', 'down')),
    wake_at         BIGINT  NOT NULL,
    snoozed_until   BIGINT,
    fails_seen      BIGINT  NOT NULL DEFAULT 0,
    checkins_seen   BIGINT  NOT NULL DEFAULT 0,
    fail_streak     BIGINT  NOT NULL DEFAULT 0,
    short_at        BIGINT,
    eager           BOOLEAN NOT NULL,                    -- has run limits: any check-in may change a conclusion
    names_door      BLOB    NOT NULL,
    key_door        BLOB    NOT NULL,
    latest_checkin_id   BIGINT,                          -- the beginning of its history
    previous_checkin_id BIGINT                           -- what it was before the latest batch
);
INSERT INTO new_states
SELECT s.reservation_id, last_checkin_at, last_start_at, last_fail_at, last_exit_code, last_seen_at, last_source,
       runs_over_at, checkins, fails, status, wake_at, snoozed_until, fails_seen, checkins_seen, fail_streak, short_at, eager,
       n.door, k.door, (SELECT MAX(id) FROM checkins c WHERE c.reservation_id = s.reservation_id), NULL
FROM states s
JOIN reservations r ON r.id = s.reservation_id
JOIN doors n ON n.reservation_id = r.id AND LOWER(HEX(n.door)) <> REPLACE(r.key, '-', '')
JOIN doors k ON k.reservation_id = r.id AND LOWER(HEX(k.door)) = REPLACE(r.key, '-', '');
DROP TABLE states;
ALTER TABLE new_states RENAME TO states;
CREATE INDEX states_by_wake_at ON states (wake_at);

CREATE TABLE new_checkins (
    id              INTEGER PRIMARY KEY,
    reservation_id  BIGINT  NOT NULL,
    at              BIGINT  NOT NULL,
    kind            TEXT    NOT NULL CHECK (kind IN ('success', 'start', 'fail', 'log')),
    exit_code       INTEGER,
    duration_ms     BIGINT,
    run_id          TEXT,
    source          TEXT    NOT NULL,
    notes           TEXT    NOT NULL,
    number          BIGINT  NOT NULL,                    -- the how manieth of its reservation
    previous_id     BIGINT                               -- the one before it
);
INSERT INTO new_checkins
SELECT c.id, c.reservation_id, at, kind, exit_code, duration_ms, run_id, source, notes,
       s.checkins + 1 - ROW_NUMBER() OVER (PARTITION BY c.reservation_id ORDER BY c.id DESC),
       LAG(c.id) OVER (PARTITION BY c.reservation_id ORDER BY c.id)
FROM checkins c
JOIN states s ON s.reservation_id = c.reservation_id;
DROP TABLE checkins;
ALTER TABLE new_checkins RENAME TO checkins;
