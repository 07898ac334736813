-- A calendar schedule has no form of before; it is left as a cron expression that cannot be read, and is named.
ALTER TABLE reservations ADD COLUMN cron TEXT, ADD COLUMN time_zone TEXT;
UPDATE reservations
SET schedule = 'cron',
    cron = substring(schedule FROM ' (.*) [^ ]+$'),
    time_zone = substring(schedule FROM '([^ ]+)$')
WHERE period_ms IS NULL;
UPDATE reservations SET schedule = 'every' WHERE period_ms IS NOT NULL;
ALTER TABLE reservations
    ADD CHECK (schedule IN ('every', 'cron')),
    ADD CHECK ((schedule = 'every') = (period_ms IS NOT NULL)),
    ADD CHECK ((schedule = 'cron') = (cron IS NOT NULL AND time_zone IS NOT NULL));
