-- Figures: numbers that check-ins bring, and what must hold of them.

-- In the order in which a batch of check-ins takes its locks: nodes may be at work.
ALTER TABLE reservations ADD COLUMN expect TEXT NOT NULL DEFAULT '[]';  -- JSON: clauses, 'rows > 0'
ALTER TABLE states
    ADD COLUMN unexpected_at       BIGINT,                 -- the latest success whose figures were other than expected
    ADD COLUMN unexpected_figures  TEXT,                   -- which, in words
    ADD COLUMN unexpected_checkin  BIGINT,                 -- that success in the history
    ADD COLUMN accepted_from       BIGINT;                 -- from this check-in on values are right, those before it are not counted
ALTER TABLE checkins ADD COLUMN figures TEXT;           -- JSON: names and numbers

-- The last values of each figure of a reservation, and how long its last runs took, whatever is kept of the history.
CREATE TABLE recent_values (
    reservation_id  BIGINT              NOT NULL,
    name            TEXT                NOT NULL,       -- the figure's; empty for how long the run took, in milliseconds
    checkin_id      BIGINT              NOT NULL,
    value           DOUBLE PRECISION    NOT NULL,
    outcome         TEXT                NOT NULL,       -- 'success', 'unexpected' (a success that broke a clause), 'fail'
    PRIMARY KEY (reservation_id, name, checkin_id)
);
