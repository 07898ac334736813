-- When somebody who is told in digests may be written to again: one row for each mail address, or for each alerter that has but one
-- recipient. Without a row, or once the time has come, what is ready goes out at once.
CREATE TABLE pacing (
    alerter         TEXT    NOT NULL,
    recipient       TEXT    NOT NULL,                    -- a mail address; empty where the alerter has but one
    next_at         BIGINT  NOT NULL,                    -- nothing goes out before
    sent_at         BIGINT,                              -- the last message that went out, or may have
    sent_before_at  BIGINT,                              -- the one before: the last one, if nothing of that was taken
    token           TEXT    NOT NULL,                    -- the claim of the last message
    PRIMARY KEY (alerter, recipient)
);
