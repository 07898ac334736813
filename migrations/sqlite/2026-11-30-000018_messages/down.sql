ALTER TABLE reservations DROP COLUMN runbook;
ALTER TABLE reservations DROP COLUMN recovery_msg;
ALTER TABLE reservations DROP COLUMN alert_subject;
