-- Check-ins that cost less: a batch finds its states by their ids, and each state says by which doors it may be reached,
-- so that an id that ingest remembers is checked by the write itself. The history is only ever appended to: instead of an
-- index, each row knows the one before it of the same reservation, and the state knows the latest.

ALTER TABLE states
    ADD COLUMN names_door           UUID,
    ADD COLUMN key_door             UUID,
    ADD COLUMN latest_checkin_id    BIGINT,             -- the beginning of its history
    ADD COLUMN previous_checkin_id  BIGINT;             -- what it was before the latest batch
-- Pages need no room of their own: a row that finds none moves, and leaves its page the room from then on. With room
-- set aside Postgres tidies a page at each of its updates.
ALTER TABLE states RESET (fillfactor);

UPDATE states s
SET names_door = n.door, key_door = r.key::uuid
FROM reservations r
JOIN doors n ON n.reservation_id = r.id AND n.door <> r.key::uuid
WHERE s.reservation_id = r.id;
ALTER TABLE states ALTER COLUMN names_door SET NOT NULL, ALTER COLUMN key_door SET NOT NULL;

ALTER TABLE checkins
    ADD COLUMN number       BIGINT NOT NULL DEFAULT 0,  -- the how manieth of its reservation
    ADD COLUMN previous_id  BIGINT;                     -- the one before it
ALTER TABLE checkins ALTER COLUMN number DROP DEFAULT;
WITH placed AS (
    SELECT id, reservation_id,
           LAG(id) OVER (PARTITION BY reservation_id ORDER BY id) AS previous_id,
           ROW_NUMBER() OVER (PARTITION BY reservation_id ORDER BY id DESC) AS place
    FROM checkins
)
UPDATE checkins c
SET number = s.checkins - placed.place + 1, previous_id = placed.previous_id
FROM placed
JOIN states s ON s.reservation_id = placed.reservation_id
WHERE c.id = placed.id;
UPDATE states s
SET latest_checkin_id = latest.id
FROM (SELECT reservation_id, MAX(id) AS id FROM checkins GROUP BY reservation_id) latest
WHERE latest.reservation_id = s.reservation_id;
DROP INDEX checkins_by_reservation;
