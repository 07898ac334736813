-- A slug is stored, and unique in its app. What ping addresses called a reservation before stays an address of it. The slugs themselves are
-- made by the program (store/src/slugs.rs), between this migration and the next.
ALTER TABLE reservations ADD COLUMN old_slug TEXT;
-- What its job brought along last, so that a person's change is not undone by the same words.
ALTER TABLE reservations ADD COLUMN brought TEXT;
DROP INDEX reservations_by_slug;
