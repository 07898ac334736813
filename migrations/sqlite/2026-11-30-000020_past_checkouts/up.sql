-- The check-out of a reservation that is not there any more, by its number, which the entry has as its detail.
CREATE INDEX audit_check_outs ON audit (detail) WHERE action = 'check out';

-- The addresses of what can come back. Null in what a version before has kept: they stand in the reservation alone.
ALTER TABLE checkouts ADD COLUMN slug TEXT;
ALTER TABLE checkouts ADD COLUMN old_slug TEXT;
CREATE INDEX checkouts_by_name ON checkouts (app, component);
CREATE INDEX checkouts_by_slug ON checkouts (app, slug);
CREATE INDEX checkouts_by_old_slug ON checkouts (app, old_slug) WHERE old_slug IS NOT NULL;
