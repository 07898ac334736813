-- State for the rules about snoozes, consecutive failures and lost ends.
ALTER TABLE states ADD COLUMN snoozes TEXT;     -- JSON list of [mode, beginning, end], in ms before snoozed_until (the last end)
ALTER TABLE states ADD COLUMN heard_at BIGINT;  -- the latest success or failure at the last evaluation
ALTER TABLE states ADD COLUMN changed TEXT;     -- the fields that were changed since the last evaluation: "schedule, grace"
UPDATE states SET heard_at = COALESCE(MAX(last_checkin_at, last_fail_at), last_checkin_at, last_fail_at)
WHERE last_checkin_at IS NOT NULL OR last_fail_at IS NOT NULL;
ALTER TABLE runs ADD COLUMN told_at BIGINT;     -- when the run was reported as over its limit
ALTER TABLE alerts ADD COLUMN ending TEXT;      -- why it closed, if no success closed it
