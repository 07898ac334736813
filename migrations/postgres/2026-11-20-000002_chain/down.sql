CREATE INDEX checkins_by_reservation ON checkins (reservation_id, id);
ALTER TABLE checkins DROP COLUMN previous_id, DROP COLUMN number;
ALTER TABLE states
    DROP COLUMN previous_checkin_id,
    DROP COLUMN latest_checkin_id,
    DROP COLUMN key_door,
    DROP COLUMN names_door;
ALTER TABLE states SET (fillfactor = 70);
