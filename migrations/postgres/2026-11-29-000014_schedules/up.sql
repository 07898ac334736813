-- A schedule is one text in one notation, its zone last: "every 5m", "cron 0 2 * * * Europe/Berlin", "calendar Mon..Fri 02:00 UTC".
-- period_ms stays beside it, for arithmetic in SQL.
DO $$
DECLARE
    one RECORD;
BEGIN
    -- They have the names that Postgres gave them.
    FOR one IN SELECT conname FROM pg_constraint WHERE conrelid = 'reservations'::regclass AND contype = 'c' LOOP
        EXECUTE format('ALTER TABLE reservations DROP CONSTRAINT %I', one.conname);
    END LOOP;
END
$$;
UPDATE reservations
SET schedule = CASE schedule
    WHEN 'every' THEN 'every ' || period_ms / 1000 || 's'
    ELSE 'cron ' || cron || ' ' || time_zone
END;
ALTER TABLE reservations DROP COLUMN cron, DROP COLUMN time_zone;
