-- The reservation's own texts for messages, and the link to its runbook.
ALTER TABLE reservations ADD COLUMN alert_subject TEXT NOT NULL DEFAULT '';
ALTER TABLE reservations ADD COLUMN recovery_msg TEXT NOT NULL DEFAULT '';
ALTER TABLE reservations ADD COLUMN runbook TEXT NOT NULL DEFAULT '';
