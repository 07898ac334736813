-- Reports of agents: check-ins with times of their own, which may arrive late.

ALTER TABLE checkins ADD COLUMN arrived_at BIGINT;         -- when it was reported, if late
ALTER TABLE checkins ADD COLUMN signal TEXT;               -- the signal that ended the run: 'SIGTERM'
ALTER TABLE checkins ADD COLUMN peak_memory_bytes BIGINT;
ALTER TABLE states ADD COLUMN reported_late BOOLEAN NOT NULL DEFAULT FALSE; -- whether a report arrived late since the last evaluation
ALTER TABLE runs ADD COLUMN start_arrived_at BIGINT;       -- when its start was reported, if late
ALTER TABLE alerts ADD COLUMN answered_until BIGINT;       -- late reports have shown that the job was well up to this success

-- The idempotency keys of reports, kept as long as reports may be late. A report with one of these
-- keys is not recorded again.
CREATE TABLE report_keys (
    key             TEXT    NOT NULL PRIMARY KEY,
    arrived_at      BIGINT  NOT NULL
);
CREATE INDEX report_keys_by_arrival ON report_keys (arrived_at);

-- Failures that were reported after a later success. No message was sent about them; the weekly
-- summary names them.
CREATE TABLE late_failures (
    reservation_id  BIGINT  NOT NULL,
    at              BIGINT  NOT NULL,
    noted_at        BIGINT  NOT NULL,
    PRIMARY KEY (reservation_id, at)
);
