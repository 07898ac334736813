CREATE INDEX checkins_by_reservation ON checkins (reservation_id, id);
ALTER TABLE checkins DROP COLUMN previous_id;
ALTER TABLE checkins DROP COLUMN number;
ALTER TABLE states DROP COLUMN previous_checkin_id;
ALTER TABLE states DROP COLUMN latest_checkin_id;
ALTER TABLE states DROP COLUMN key_door;
ALTER TABLE states DROP COLUMN names_door;
