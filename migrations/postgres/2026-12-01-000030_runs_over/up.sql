-- What runs_over_at was before the latest batch of check-ins, so that its statement can tell whether a run was going.
ALTER TABLE states ADD COLUMN runs_over_before BIGINT;
