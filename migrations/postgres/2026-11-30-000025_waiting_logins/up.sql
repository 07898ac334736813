-- From where a login that waits for the second factor was begun: an address, of IPv6 its /64.
ALTER TABLE pending_logins ADD COLUMN network TEXT NOT NULL DEFAULT '';
