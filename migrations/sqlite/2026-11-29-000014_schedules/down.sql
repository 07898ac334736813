-- The old columns cannot hold a calendar schedule. It is left as an unreadable cron expression, which
-- the sweep reports. The old constraints are not restored, since SQLite would need a new table.
ALTER TABLE reservations ADD COLUMN cron TEXT;
ALTER TABLE reservations ADD COLUMN time_zone TEXT;
UPDATE reservations
SET time_zone = replace(schedule, rtrim(schedule, replace(schedule, ' ', '')), '')
WHERE period_ms IS NULL;
UPDATE reservations
SET cron = substr(schedule, instr(schedule, ' ') + 1, length(schedule) - instr(schedule, ' ') - length(time_zone) - 1),
    schedule = 'cron'
WHERE period_ms IS NULL;
UPDATE reservations SET schedule = 'every' WHERE period_ms IS NOT NULL;
