-- Jobs whose own check-ins were refused, by a trigger or a row that breaks a rule, while others
-- were written. One row for each job: the span from the first refused check-in after its last
-- recorded one. For its job the span counts as a blind window.
CREATE TABLE refusals (
    reservation_id  BIGINT  PRIMARY KEY,
    from_at         BIGINT  NOT NULL,                    -- the first refused check-in
    until_at        BIGINT  NOT NULL                     -- the last refused check-in
);
