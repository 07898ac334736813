ALTER TABLE reservations ADD COLUMN period_ms BIGINT, ADD COLUMN frequency BIGINT, ADD COLUMN time_units TEXT;
UPDATE reservations
SET frequency = CAST(split_part(schedule, ' ', 2) AS BIGINT), time_units = split_part(schedule, ' ', 3)
WHERE schedule ~ '^every [0-9]+ (seconds|minutes|hours|days)$';
UPDATE reservations
SET period_ms = CASE time_units
    WHEN 'seconds' THEN frequency * 1000
    WHEN 'minutes' THEN frequency * 60000
    WHEN 'hours' THEN frequency * 3600000
    WHEN 'days' THEN frequency * 86400000
    ELSE CAST(substring(schedule FROM '[0-9]+') AS BIGINT) * 1000
END
WHERE schedule ~ '^every [0-9]+( [a-z]+|s)$';
UPDATE reservations SET schedule = 'every ' || (period_ms / 1000) || 's' WHERE period_ms IS NOT NULL;
ALTER TABLE reservations ALTER COLUMN id SET GENERATED ALWAYS;
