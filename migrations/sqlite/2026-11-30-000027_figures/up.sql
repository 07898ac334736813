-- Figures: numbers in check-ins, and the clauses that they must fulfil.

ALTER TABLE reservations ADD COLUMN expect TEXT NOT NULL DEFAULT '[]';  -- JSON: clauses, 'rows > 0'
ALTER TABLE states ADD COLUMN unexpected_at BIGINT;         -- the latest success with unexpected figures
ALTER TABLE states ADD COLUMN unexpected_figures TEXT;      -- these figures, in words
ALTER TABLE states ADD COLUMN unexpected_checkin BIGINT;    -- the id of that success in the history
ALTER TABLE states ADD COLUMN accepted_from BIGINT;         -- values count from this check-in on; earlier ones are ignored
ALTER TABLE checkins ADD COLUMN figures TEXT;               -- JSON: names and numbers

-- The recent values of each figure of a reservation, and the durations of its recent runs. They are
-- kept even when the history is pruned.
CREATE TABLE recent_values (
    reservation_id  BIGINT  NOT NULL,
    name            TEXT    NOT NULL,                   -- of the figure; empty for the duration of the run in milliseconds
    checkin_id      BIGINT  NOT NULL,
    value           DOUBLE  NOT NULL,
    outcome         TEXT    NOT NULL,                   -- 'success', 'unexpected' (a success that broke a clause), 'fail'
    PRIMARY KEY (reservation_id, name, checkin_id)
) WITHOUT ROWID;
