-- Innkeeper's own duties are no reservations any more: these stood among those of its users, and could be pruned with them. A snooze
-- of one is kept. Reservations of the same names that a user made stay.

ALTER TABLE duties ADD COLUMN snoozed_until BIGINT;      -- the operator is not told until then that nobody does it

CREATE TABLE own_reservations AS
    SELECT id, component
    FROM reservations
    WHERE app = 'innkeeper' AND component IN ('ingest', 'sweeper', 'web') AND owner = 'Innkeeper'
        AND description = 'Whether a node does the work of ' || component;

UPDATE duties SET snoozed_until = (
    SELECT s.snoozed_until
    FROM own_reservations o JOIN states s ON s.reservation_id = o.id
    WHERE o.component = duties.name
);

DELETE FROM deliveries WHERE alert_id IN (
    SELECT a.id FROM alerts a JOIN own_reservations o ON o.id = a.reservation_id
);
DELETE FROM alerts WHERE reservation_id IN (SELECT id FROM own_reservations);
DELETE FROM doors WHERE reservation_id IN (SELECT id FROM own_reservations);
DELETE FROM runs WHERE reservation_id IN (SELECT id FROM own_reservations);
DELETE FROM states WHERE reservation_id IN (SELECT id FROM own_reservations);
-- Their history goes with the next prunings, as that of every reservation which is gone.
DELETE FROM reservations WHERE id IN (SELECT id FROM own_reservations);

DROP TABLE own_reservations;
