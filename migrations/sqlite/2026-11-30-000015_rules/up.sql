-- What the rules about snoozes, rows and lost ends remember.
ALTER TABLE states ADD COLUMN snoozes TEXT;     -- JSON list of [mode, beginning, end], in ms before snoozed_until, the end of the last
ALTER TABLE states ADD COLUMN heard_at BIGINT;  -- the latest success or failure at the last look
ALTER TABLE states ADD COLUMN changed TEXT;     -- which terms were changed since the last look: "schedule, grace"
UPDATE states SET heard_at = COALESCE(MAX(last_checkin_at, last_fail_at), last_checkin_at, last_fail_at)
WHERE last_checkin_at IS NOT NULL OR last_fail_at IS NOT NULL;
ALTER TABLE runs ADD COLUMN told_at BIGINT;     -- when it was told that the run is over its limit
ALTER TABLE alerts ADD COLUMN ending TEXT;      -- why it closed, where no success closed it
