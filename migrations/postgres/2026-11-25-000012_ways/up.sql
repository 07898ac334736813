-- Messages that nobody gets.

-- The alerters of each sweeper, as it says itself: where the roles have configurations of their own, the sweepers' count. A row goes when
-- its node has been away for ten minutes, or another sweeper has its place.
CREATE TABLE ways (
    node_id         TEXT    PRIMARY KEY,
    alerters        TEXT    NOT NULL                     -- JSON: names and kinds
);

-- What does not get through, while it lasts: one row for each alerter whose messages wait too long or are given up after all their tries
-- (with an empty recipient), and one for each recipient whose messages are refused for good.
CREATE TABLE outages (
    alerter         TEXT    NOT NULL,
    recipient       TEXT    NOT NULL,
    since_at        BIGINT  NOT NULL,                    -- when the first message was put in that it is about
    given_up        BIGINT  NOT NULL,                    -- messages given up in it
    waiting         BIGINT  NOT NULL,                    -- messages that waited too long at the last look
    problem         TEXT    NOT NULL,                    -- what went wrong last
    told_at         BIGINT,                              -- when the operator heard of it
    PRIMARY KEY (alerter, recipient)
);
