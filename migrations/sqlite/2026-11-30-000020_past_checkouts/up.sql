-- Finds the check-out of a reservation that no longer exists by its number, which is the entry's
-- detail.
CREATE INDEX audit_check_outs ON audit (detail) WHERE action = 'check out';

-- The slugs of reservations that can be restored. Null in rows by older versions, which keep the
-- slugs only in the stored reservation.
ALTER TABLE checkouts ADD COLUMN slug TEXT;
ALTER TABLE checkouts ADD COLUMN old_slug TEXT;
CREATE INDEX checkouts_by_name ON checkouts (app, component);
CREATE INDEX checkouts_by_slug ON checkouts (app, slug);
CREATE INDEX checkouts_by_old_slug ON checkouts (app, old_slug) WHERE old_slug IS NOT NULL;
