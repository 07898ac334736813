ALTER TABLE reservations ADD COLUMN period_ms BIGINT;
ALTER TABLE reservations ADD COLUMN frequency BIGINT;
ALTER TABLE reservations ADD COLUMN time_units TEXT;
UPDATE reservations
SET frequency = CAST(substr(schedule, 7) AS INTEGER),
    time_units = substr(schedule, 8 + length(CAST(substr(schedule, 7) AS INTEGER)))
WHERE schedule LIKE 'every % seconds' OR schedule LIKE 'every % minutes' OR schedule LIKE 'every % hours' OR schedule LIKE 'every % days';
UPDATE reservations
SET period_ms = CASE time_units
    WHEN 'seconds' THEN frequency * 1000
    WHEN 'minutes' THEN frequency * 60000
    WHEN 'hours' THEN frequency * 3600000
    WHEN 'days' THEN frequency * 86400000
    ELSE CAST(substr(schedule, 7) AS INTEGER) * 1000
END
WHERE schedule LIKE 'every %';
UPDATE reservations SET schedule = 'every ' || (period_ms / 1000) || 's' WHERE period_ms IS NOT NULL;
