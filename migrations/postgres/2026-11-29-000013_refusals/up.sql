-- Jobs whose check-ins alone are refused, by a trigger or a row that breaks a rule: the span since the first of them that follows the last
-- that was written. One row for each; it is as good as a blind window for its job.
CREATE TABLE refusals (
    reservation_id  BIGINT  PRIMARY KEY,
    from_at         BIGINT  NOT NULL,                    -- the first that was refused
    until_at        BIGINT  NOT NULL                     -- the last
);
