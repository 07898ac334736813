-- State for the rules about snoozes, consecutive failures and lost ends. NULL takes no space in a row.
ALTER TABLE states
    ADD COLUMN snoozes TEXT,      -- JSON list of [mode, beginning, end], in ms before snoozed_until (the last end)
    ADD COLUMN heard_at BIGINT,   -- the latest success or failure at the last evaluation
    ADD COLUMN changed TEXT;      -- the fields that were changed since the last evaluation: "schedule, grace"
UPDATE states SET heard_at = GREATEST(last_checkin_at, last_fail_at)
WHERE last_checkin_at IS NOT NULL OR last_fail_at IS NOT NULL;
ALTER TABLE runs ADD COLUMN told_at BIGINT;    -- when the run was reported as over its limit
ALTER TABLE alerts ADD COLUMN ending TEXT;     -- why it closed, if no success closed it
