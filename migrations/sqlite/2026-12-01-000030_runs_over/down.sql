ALTER TABLE states DROP COLUMN runs_over_before;
