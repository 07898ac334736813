-- Who monitors the monitors.

-- The processes of this installation, one row each; removed a day after the last heartbeat.
CREATE TABLE nodes (
    id              TEXT    PRIMARY KEY,                 -- a UUID, new at each start
    role            TEXT    NOT NULL,
    host            TEXT    NOT NULL,
    address         TEXT    NOT NULL,                    -- where it listens; empty where it does not
    version         TEXT    NOT NULL,
    started_at      BIGINT  NOT NULL,
    beat_at         BIGINT  NOT NULL,                    -- the latest heartbeat
    offset_ms       BIGINT  NOT NULL,                    -- what it adds to its machine's clock
    goodbye_at      BIGINT,                              -- it stopped as it was asked to
    told_at         BIGINT                               -- the operator was told that it stopped without that
);

-- What some node has to do at any time: ingest, sweeper, web. A row comes with the first node that does it.
CREATE TABLE duties (
    name            TEXT    PRIMARY KEY,
    beat_at         BIGINT  NOT NULL,                    -- the latest heartbeat of any node with this duty
    told_at         BIGINT                               -- the operator was told that nobody does it
);

-- What only one node may do at a time.
CREATE TABLE leases (
    name            TEXT    PRIMARY KEY,
    holder          TEXT    NOT NULL,                    -- a node
    until_at        BIGINT  NOT NULL
);

-- Spans in which no ingest node could commit a check-in.
CREATE TABLE blind_windows (
    id              BIGINT  GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    from_at         BIGINT  NOT NULL,
    until_at        BIGINT  NOT NULL
);

-- What Innkeeper checks about itself and its peers, and how it stands: `mail`, `peer north`.
CREATE TABLE checks (
    name            TEXT    PRIMARY KEY,
    state           TEXT    NOT NULL,
    problem         TEXT    NOT NULL,                    -- empty where there is none
    since_at        BIGINT  NOT NULL,                    -- since when it is in this state
    checked_at      BIGINT  NOT NULL
);
