DROP TABLE unjudged;
ALTER TABLE duties DROP COLUMN wanted_at;
ALTER TABLE nodes DROP COLUMN problem;
ALTER TABLE nodes DROP COLUMN unable;
ALTER TABLE nodes DROP COLUMN proved_at;
ALTER TABLE nodes DROP COLUMN written_until_at;
