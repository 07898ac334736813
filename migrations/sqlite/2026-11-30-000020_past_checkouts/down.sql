DROP INDEX checkouts_by_old_slug;
DROP INDEX checkouts_by_slug;
DROP INDEX checkouts_by_name;
ALTER TABLE checkouts DROP COLUMN old_slug;
ALTER TABLE checkouts DROP COLUMN slug;
DROP INDEX audit_check_outs;
