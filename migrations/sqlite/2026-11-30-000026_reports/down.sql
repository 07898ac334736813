DROP TABLE late_failures;
DROP TABLE report_keys;
ALTER TABLE alerts DROP COLUMN answered_until;
ALTER TABLE runs DROP COLUMN start_arrived_at;
ALTER TABLE states DROP COLUMN reported_late;
ALTER TABLE checkins DROP COLUMN peak_memory_bytes;
ALTER TABLE checkins DROP COLUMN signal;
ALTER TABLE checkins DROP COLUMN arrived_at;
