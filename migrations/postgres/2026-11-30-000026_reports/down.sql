DROP TABLE late_failures;
DROP TABLE report_keys;
ALTER TABLE states DROP COLUMN reported_late;
ALTER TABLE runs DROP COLUMN start_arrived_at;
ALTER TABLE checkins DROP COLUMN peak_memory_bytes, DROP COLUMN signal, DROP COLUMN arrived_at;
ALTER TABLE alerts DROP COLUMN answered_until;
