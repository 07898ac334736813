-- A schedule is one text in one notation, its zone last: "every 5m", "cron 0 2 * * * Europe/Berlin", "calendar Mon..Fri 02:00 UTC".
-- period_ms stays beside it, for arithmetic in SQL. SQLite cannot drop a column that a constraint names: the table is made anew.
-- What refers to it stays, since foreign keys are not enforced meanwhile. An unreadable schedule stays one, and is named.
CREATE TABLE reservations_anew (
    id              INTEGER PRIMARY KEY AUTOINCREMENT,
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
    schedule        TEXT    NOT NULL,
    period_ms       BIGINT,                              -- of one like "every 5m"
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
    UNIQUE (app, component)
);
INSERT INTO reservations_anew
SELECT id, key, app, component, slug, owner, description, tags, notify, alerters, alert_msg,
    CASE schedule
        WHEN 'every' THEN 'every ' || COALESCE(period_ms / 1000, '?') || 's'
        ELSE 'cron ' || COALESCE(cron, '?') || ' ' || COALESCE(time_zone, '?')
    END,
    period_ms, frequency, time_units, grace_ms, alert_after, remind_every_ms, notify_recovery, max_run_ms, min_run_ms,
    is_site, created_at, updated_at
FROM reservations;
-- No number is given twice, not even that of a reservation that is gone.
INSERT INTO sqlite_sequence (name, seq)
SELECT 'reservations_anew', 0 WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = 'reservations_anew');
UPDATE sqlite_sequence
SET seq = MAX(seq, COALESCE((SELECT old.seq FROM sqlite_sequence old WHERE old.name = 'reservations'), 0))
WHERE name = 'reservations_anew';
DROP TABLE reservations;
ALTER TABLE reservations_anew RENAME TO reservations;
CREATE INDEX reservations_by_slug ON reservations (app, slug);
CREATE INDEX reservations_that_are_sites ON reservations (app) WHERE is_site;
CREATE INDEX reservations_by_owner ON reservations (owner, app, component);
