-- A second factor beside the password, and what a user sees of their sessions.

-- Whether an admin wants this user to have a second factor, whatever the configuration asks of everybody.
ALTER TABLE users ADD COLUMN second_factor_required BOOLEAN NOT NULL DEFAULT FALSE;

-- Where it was begun (the client's address), in which browser (`Firefox on Linux`), and by what: password, code, recovery code.
ALTER TABLE sessions ADD COLUMN source TEXT NOT NULL DEFAULT '';
ALTER TABLE sessions ADD COLUMN browser TEXT NOT NULL DEFAULT '';
ALTER TABLE sessions ADD COLUMN method TEXT NOT NULL DEFAULT 'password';

-- Authenticator apps (TOTP, RFC 6238). The secret stands here as it is, since codes are computed from it.
CREATE TABLE totp (
    user_id         BIGINT  PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
    secret          TEXT    NOT NULL,                    -- base32
    created_at      BIGINT  NOT NULL,
    used_at         BIGINT  NOT NULL                     -- when the step of the last code that was taken began: none of it or before is taken
);

-- The same, shown to the user, before a first code was given. Seen by the session alone that began it.
CREATE TABLE totp_setups (
    user_id         BIGINT  PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
    session         TEXT    NOT NULL,                    -- its hash
    secret          TEXT    NOT NULL,
    created_at      BIGINT  NOT NULL
);

-- Codes for when the second factor is lost. Whoever uses one deletes it.
CREATE TABLE recovery_codes (
    hash            TEXT    PRIMARY KEY,                 -- SHA-256: they are drawn at random
    user_id         BIGINT  NOT NULL REFERENCES users (id) ON DELETE CASCADE
);
CREATE INDEX recovery_codes_by_user ON recovery_codes (user_id);

-- Logins whose password was right, and that wait for the second factor.
CREATE TABLE pending_logins (
    hash            TEXT    PRIMARY KEY,                 -- of the cookie's secret
    user_id         BIGINT  NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    tries           BIGINT  NOT NULL,
    created_at      BIGINT  NOT NULL
);
CREATE INDEX pending_logins_by_user ON pending_logins (user_id);
