-- What a message says in the reservation's own words, and the link to what to do.
ALTER TABLE reservations ADD COLUMN alert_subject TEXT NOT NULL DEFAULT '';
ALTER TABLE reservations ADD COLUMN recovery_msg TEXT NOT NULL DEFAULT '';
ALTER TABLE reservations ADD COLUMN runbook TEXT NOT NULL DEFAULT '';
