-- A calendar schedule has no form of before; it is left as a cron expression that cannot be read, and is named. The constraints of before
-- are not put back: SQLite would need the whole table anew.
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
