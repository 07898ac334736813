-- The tables of Innkeeper. Times are UTC milliseconds since the epoch, in columns named …_at; spans are
-- milliseconds, in columns named …_ms. migrations/sqlite says the same thing.

-- The promises: wide, and seldom written.
CREATE TABLE reservations (
    id              BIGINT  GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    key             TEXT    NOT NULL UNIQUE,             -- a UUID: the ping address
    app             TEXT    NOT NULL,
    component       TEXT    NOT NULL,
    slug            TEXT    NOT NULL,                    -- component, as it stands in a ping address
    owner           TEXT    NOT NULL,
    description     TEXT    NOT NULL,
    tags            TEXT    NOT NULL,                    -- JSON list
    notify          TEXT    NOT NULL,                    -- comma-separated
    alerters        TEXT    NOT NULL,                    -- JSON list
    alert_msg       TEXT    NOT NULL,
    schedule        TEXT    NOT NULL CHECK (schedule IN ('every', 'cron')),
    period_ms       BIGINT,
    cron            TEXT,
    time_zone       TEXT,
    frequency       BIGINT,                              -- as GoTel's clients wrote it
    time_units      TEXT,
    grace_ms        BIGINT  NOT NULL,
    alert_after     BIGINT  NOT NULL,
    remind_every_ms BIGINT,
    notify_recovery BOOLEAN NOT NULL,
    max_run_ms      BIGINT,
    min_run_ms      BIGINT,
    is_site         BOOLEAN NOT NULL,
    created_at      BIGINT  NOT NULL,
    updated_at      BIGINT  NOT NULL,
    UNIQUE (app, component),
    CHECK ((schedule = 'every') = (period_ms IS NOT NULL)),
    CHECK ((schedule = 'cron') = (cron IS NOT NULL AND time_zone IS NOT NULL))
);
CREATE INDEX reservations_by_slug ON reservations (app, slug);
CREATE INDEX reservations_that_are_sites ON reservations (app) WHERE is_site;

-- The ways to a reservation that a check-in takes: its ping key, and its names (the first half of their SHA-256).
-- Narrow and never updated, so that finding a reservation reads an index and little more.
CREATE TABLE doors (
    door            UUID    NOT NULL,
    reservation_id  BIGINT  NOT NULL,
    PRIMARY KEY (door) INCLUDE (reservation_id)          -- so that the index alone answers
);

-- Facts, written by check-ins, and conclusions, written by the sweeper: narrow, and written all the time.
-- A check-in updates no indexed column, so with room in the page its update stays in it (HOT).
CREATE TABLE states (
    reservation_id  BIGINT  PRIMARY KEY REFERENCES reservations ON DELETE CASCADE,
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
    eager           BOOLEAN NOT NULL                     -- has run limits: any check-in may change a conclusion
) WITH (fillfactor = 70);
CREATE INDEX states_by_wake_at ON states (wake_at);

-- Runs that named themselves or began with a start; run_id is empty for runs without an id.
CREATE TABLE runs (
    reservation_id  BIGINT  NOT NULL REFERENCES reservations ON DELETE CASCADE,
    run_id          TEXT    NOT NULL,
    started_at      BIGINT,
    ended_at        BIGINT,
    PRIMARY KEY (reservation_id, run_id)
);

-- The history of check-ins, pruned by count and age.
CREATE TABLE checkins (
    id              BIGINT  GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    reservation_id  BIGINT  NOT NULL,
    at              BIGINT  NOT NULL,
    kind            TEXT    NOT NULL CHECK (kind IN ('success', 'start', 'fail', 'log')),
    exit_code       INTEGER,
    duration_ms     BIGINT,
    run_id          TEXT,
    source          TEXT    NOT NULL,
    notes           TEXT    NOT NULL
);
CREATE INDEX checkins_by_reservation ON checkins (reservation_id, id);

-- Incidents. They outlive their reservation, so they carry its names.
CREATE TABLE alerts (
    id              BIGINT  GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    reservation_id  BIGINT  NOT NULL,
    app             TEXT    NOT NULL,
    component       TEXT    NOT NULL,
    owner           TEXT    NOT NULL,
    cause           TEXT    NOT NULL CHECK (cause IN ('missed', 'overran', 'failed')),
    reason          TEXT    NOT NULL,                    -- JSON
    sentence        TEXT    NOT NULL,                    -- the reason, for people
    dedup_key       TEXT    NOT NULL UNIQUE,
    opened_at       BIGINT  NOT NULL,
    told_at         BIGINT  NOT NULL,
    closed_at       BIGINT,
    success_before  BIGINT                               -- the latest success when it opened
);
CREATE UNIQUE INDEX alerts_open ON alerts (reservation_id) WHERE closed_at IS NULL;
CREATE INDEX alerts_by_reservation ON alerts (reservation_id, id);
CREATE INDEX alerts_by_opened_at ON alerts (opened_at);
CREATE INDEX alerts_by_closed_at ON alerts (closed_at);

-- The outbox: one message to one recipient over one alerter.
CREATE TABLE deliveries (
    id              BIGINT  GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    alert_id        BIGINT,
    event           TEXT    NOT NULL,
    alerter         TEXT    NOT NULL,
    recipient       TEXT    NOT NULL,                    -- a mail address; empty where the alerter has but one
    notice          TEXT    NOT NULL,                    -- JSON: all that the alerter needs
    key             TEXT    NOT NULL UNIQUE,             -- the idempotency key
    state           TEXT    NOT NULL CHECK (state IN ('waiting', 'delivered', 'dead')),
    sending         TEXT,                                -- the key under which it goes out, alone or in a digest
    attempts        BIGINT  NOT NULL DEFAULT 0,
    next_at         BIGINT  NOT NULL,
    lease_until     BIGINT,
    lease_token     TEXT,
    problem         TEXT,
    created_at      BIGINT  NOT NULL,
    finished_at     BIGINT
);
CREATE INDEX deliveries_waiting ON deliveries (alerter, next_at, id) WHERE state = 'waiting';
CREATE INDEX deliveries_waiting_by_alert ON deliveries (alert_id, alerter, recipient, id) WHERE state = 'waiting';
CREATE INDEX deliveries_by_alert ON deliveries (alert_id, id);
CREATE INDEX deliveries_by_finished_at ON deliveries (finished_at) WHERE finished_at IS NOT NULL;

-- The key that stands before a slug in a ping address, one an app.
CREATE TABLE ping_keys (
    app             TEXT    PRIMARY KEY,
    key             TEXT    NOT NULL UNIQUE
);
