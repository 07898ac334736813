DROP INDEX reservations_by_slug;
DROP INDEX reservations_by_old_slug;
