DROP TABLE recent_values;
ALTER TABLE reservations DROP COLUMN expect;
ALTER TABLE states DROP COLUMN unexpected_at, DROP COLUMN unexpected_figures, DROP COLUMN unexpected_checkin, DROP COLUMN accepted_from;
ALTER TABLE checkins DROP COLUMN figures;
