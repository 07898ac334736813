ALTER TABLE shares DROP COLUMN confirmed;
DROP INDEX tokens_by_owner;
ALTER TABLE tokens DROP COLUMN owner_id;
ALTER TABLE tokens DROP COLUMN confirmed;
ALTER TABLE users DROP COLUMN confirmed;
