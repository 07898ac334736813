CREATE UNIQUE INDEX reservations_by_slug ON reservations (app, slug);
CREATE UNIQUE INDEX reservations_by_old_slug ON reservations (app, old_slug) WHERE old_slug IS NOT NULL;
