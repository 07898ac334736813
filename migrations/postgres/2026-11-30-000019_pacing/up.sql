-- When the next message to a recipient of digests may be sent: one row for each mail address, or
-- for each alerter with a single recipient. Without a row, or after that time, messages are sent as
-- soon as they are ready.
CREATE TABLE pacing (
    alerter         TEXT    NOT NULL,
    recipient       TEXT    NOT NULL,                    -- a mail address; empty if the alerter has only one recipient
    next_at         BIGINT  NOT NULL,                    -- nothing is sent before
    sent_at         BIGINT,                              -- the last message that was sent, or may have been
    sent_before_at  BIGINT,                              -- the message before; counts as the last if that one was not delivered
    token           TEXT    NOT NULL,                    -- the claim of the last message
    PRIMARY KEY (alerter, recipient)
);
