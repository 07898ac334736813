-- The schedule is one column: "every 5 minutes" as it was written, "every 300s" where nobody wrote a frequency; "cron ..." and "calendar ..."
-- as before. What was kept beside it goes.
UPDATE reservations
SET schedule = CASE
    WHEN frequency * CASE time_units
            WHEN 'seconds' THEN 1000 WHEN 'minutes' THEN 60000 WHEN 'hours' THEN 3600000 WHEN 'days' THEN 86400000
        END = period_ms
    THEN 'every ' || frequency || ' ' || time_units
    ELSE 'every ' || (period_ms / 1000) || 's'
END
-- An unreadable schedule stays one, and is named.
WHERE schedule LIKE 'every %' AND typeof(period_ms) = 'integer';
ALTER TABLE reservations DROP COLUMN period_ms;
ALTER TABLE reservations DROP COLUMN frequency;
ALTER TABLE reservations DROP COLUMN time_units;
