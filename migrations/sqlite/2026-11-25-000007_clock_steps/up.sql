-- Clocks that jumped by more than five seconds: the database's, which all nodes follow, or a node's own machine's.
CREATE TABLE clock_steps (
    id              INTEGER PRIMARY KEY AUTOINCREMENT,
    at              BIGINT  NOT NULL,                    -- when it was seen, by the time before the step
    clock           TEXT    NOT NULL,                    -- database, machine
    host            TEXT    NOT NULL,                    -- of the node that saw it
    by_ms           BIGINT  NOT NULL,                    -- ahead; back where negative
    outcome         TEXT    NOT NULL,                    -- waiting, following, followed, returned, held, released, ignored
    ended_at        BIGINT                               -- when that came about
);
