-- The network from which a login that waits for the second factor began: an IPv4 address, or an
-- IPv6 /64.
ALTER TABLE pending_logins ADD COLUMN network TEXT NOT NULL DEFAULT '';
