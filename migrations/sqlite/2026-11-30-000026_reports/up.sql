-- Reports of agents: facts with times of their own, which may come late.

ALTER TABLE checkins ADD COLUMN arrived_at BIGINT;         -- when it was reported, where that was late
ALTER TABLE checkins ADD COLUMN signal TEXT;               -- what ended the run: 'SIGTERM'
ALTER TABLE checkins ADD COLUMN peak_memory_bytes BIGINT;
ALTER TABLE states ADD COLUMN reported_late BOOLEAN NOT NULL DEFAULT FALSE; -- whether something was since the last look
ALTER TABLE runs ADD COLUMN start_arrived_at BIGINT;       -- when its start was reported, where that was late
ALTER TABLE alerts ADD COLUMN answered_until BIGINT;       -- up to this success late reports have shown that the job was well

-- The idempotency keys of reports, as long as reports may be late: what has a key of these is recorded no second time.
CREATE TABLE report_keys (
    key             TEXT    NOT NULL PRIMARY KEY,
    arrived_at      BIGINT  NOT NULL
);
CREATE INDEX report_keys_by_arrival ON report_keys (arrived_at);

-- Failures that were reported when a later success was known: nobody was told, and the weekly summary names them.
CREATE TABLE late_failures (
    reservation_id  BIGINT  NOT NULL,
    at              BIGINT  NOT NULL,
    noted_at        BIGINT  NOT NULL,
    PRIMARY KEY (reservation_id, at)
);
