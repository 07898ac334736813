-- Slugs are stored, and are unique in their app. An earlier slug of a reservation remains a ping
-- address of it. The program computes the slugs (store/src/slugs.rs) between this migration and the
-- next.
ALTER TABLE reservations ADD COLUMN old_slug TEXT;
-- The settings that the job sent last. If it sends the same again, they do not undo a person's
-- change.
ALTER TABLE reservations ADD COLUMN brought TEXT;
DROP INDEX reservations_by_slug;
