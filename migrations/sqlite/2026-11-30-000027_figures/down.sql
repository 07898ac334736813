DROP TABLE recent_values;
ALTER TABLE checkins DROP COLUMN figures;
ALTER TABLE states DROP COLUMN accepted_from;
ALTER TABLE states DROP COLUMN unexpected_checkin;
ALTER TABLE states DROP COLUMN unexpected_figures;
ALTER TABLE states DROP COLUMN unexpected_at;
ALTER TABLE reservations DROP COLUMN expect;
