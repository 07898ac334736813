-- The schedule becomes one column: "every 5 minutes" as it was written, or "every 300s" if no
-- frequency was written; "cron ..." and "calendar ..." as before. The columns beside it are dropped.
UPDATE reservations
SET schedule = CASE
    WHEN frequency * CASE time_units
            WHEN 'seconds' THEN 1000 WHEN 'minutes' THEN 60000 WHEN 'hours' THEN 3600000 WHEN 'days' THEN 86400000
        END = period_ms
    THEN 'every ' || frequency || ' ' || time_units
    ELSE 'every ' || (period_ms / 1000) || 's'
END
-- An unreadable schedule is left as it is; the sweep reports it.
WHERE schedule LIKE 'every %' AND typeof(period_ms) = 'integer';
ALTER TABLE reservations DROP COLUMN period_ms;
ALTER TABLE reservations DROP COLUMN frequency;
ALTER TABLE reservations DROP COLUMN time_units;
