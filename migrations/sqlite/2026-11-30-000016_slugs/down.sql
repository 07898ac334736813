UPDATE reservations SET slug = old_slug WHERE old_slug IS NOT NULL;
ALTER TABLE reservations DROP COLUMN old_slug;
ALTER TABLE reservations DROP COLUMN brought;
CREATE INDEX reservations_by_slug ON reservations (app, slug);
