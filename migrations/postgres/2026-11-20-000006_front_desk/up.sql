-- The front desk: who may come in, what they changed, and what is shown outside. Secrets are here as hashes only (SHA-256 of what
-- was drawn at random; argon2 of what a person chose).

CREATE TABLE users (
    id              BIGINT  GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name            TEXT    NOT NULL UNIQUE,
    role            TEXT    NOT NULL,                    -- viewer, editor, admin
    password        TEXT,                                -- argon2, with its salt and parameters; none until it is chosen
    created_at      BIGINT  NOT NULL
);

CREATE TABLE sessions (
    hash            TEXT    PRIMARY KEY,
    user_id         BIGINT  NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    csrf            TEXT    NOT NULL,                    -- stands in every form of the session
    created_at      BIGINT  NOT NULL,
    seen_at         BIGINT  NOT NULL
);
CREATE INDEX sessions_by_user ON sessions (user_id);

-- Links by which a password is chosen, once.
CREATE TABLE invitations (
    hash            TEXT    PRIMARY KEY,
    user_id         BIGINT  REFERENCES users (id) ON DELETE CASCADE,  -- none: makes the first admin
    expires_at      BIGINT  NOT NULL
);

-- Wrong passwords in a row, by account and by source: `account ada`, `source 10.0.0.5`.
CREATE TABLE login_failures (
    who             TEXT    PRIMARY KEY,
    failures        BIGINT  NOT NULL,
    last_at         BIGINT  NOT NULL
);

CREATE TABLE tokens (
    id              BIGINT  GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name            TEXT    NOT NULL UNIQUE,
    hash            TEXT    NOT NULL UNIQUE,
    scopes          TEXT    NOT NULL,                    -- of checkin, read, manage; with commas
    apps            TEXT    NOT NULL,                    -- JSON list; empty: every app
    created_by      TEXT    NOT NULL,
    created_at      BIGINT  NOT NULL,
    expires_at      BIGINT,
    used_at         BIGINT                               -- to the hour
);

-- Who changed what.
CREATE TABLE audit (
    id              BIGINT  GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at              BIGINT  NOT NULL,
    who             TEXT    NOT NULL,                    -- `user ada`, `token deploy`, `anybody`
    source          TEXT    NOT NULL,                    -- the client's address
    action          TEXT    NOT NULL,
    subject         TEXT    NOT NULL,
    detail          TEXT    NOT NULL
);

-- Reservations that were checked out, for a day, so that it can be undone.
CREATE TABLE checkouts (
    reservation_id  BIGINT  PRIMARY KEY,
    app             TEXT    NOT NULL,
    component       TEXT    NOT NULL,
    checked_out_at  BIGINT  NOT NULL,
    who             TEXT    NOT NULL,
    reservation     TEXT    NOT NULL                     -- its row and its state's, as JSON
);

-- What is shown to whoever has the key: status pages and badges.
CREATE TABLE shares (
    key             TEXT    PRIMARY KEY,
    shape           TEXT    NOT NULL,                    -- page, badge
    kind            TEXT    NOT NULL,                    -- of what: app, tag, reservation
    subject         TEXT    NOT NULL,                    -- the app, the tag, or the reservation's number
    title           TEXT    NOT NULL,
    created_at      BIGINT  NOT NULL,
    UNIQUE (shape, kind, subject)
);

-- For the list: who is snoozed, and whose jobs. No check-in writes either column.
CREATE INDEX states_snoozed ON states (snoozed_until) WHERE snoozed_until IS NOT NULL;
CREATE INDEX reservations_by_owner ON reservations (owner, app, component);
