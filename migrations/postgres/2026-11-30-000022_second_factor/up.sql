-- A second factor in addition to the password, and the details of sessions that a user sees.

-- Whether an admin requires a second factor of this user, whatever the configuration requires of
-- everybody.
ALTER TABLE users ADD COLUMN second_factor_required BOOLEAN NOT NULL DEFAULT FALSE;

-- How the session began: the client's address, the browser (`Firefox on Linux`), and the method:
-- password, code, recovery code.
ALTER TABLE sessions ADD COLUMN source TEXT NOT NULL DEFAULT '';
ALTER TABLE sessions ADD COLUMN browser TEXT NOT NULL DEFAULT '';
ALTER TABLE sessions ADD COLUMN method TEXT NOT NULL DEFAULT 'password';

-- Authenticator apps (TOTP, RFC 6238). The secret is stored in the clear, since codes are computed
-- from it.
CREATE TABLE totp (
    user_id         BIGINT  PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
    secret          TEXT    NOT NULL,                    -- base32
    created_at      BIGINT  NOT NULL,
    used_at         BIGINT  NOT NULL                     -- start of the last accepted code's time step; no code up to it is accepted
);

-- Secrets that were shown to the user and not yet confirmed by a first code. Only the session that
-- began the setup sees them.
CREATE TABLE totp_setups (
    user_id         BIGINT  PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
    session         TEXT    NOT NULL,                    -- its hash
    secret          TEXT    NOT NULL,
    created_at      BIGINT  NOT NULL
);

-- Recovery codes for a lost second factor. Using one deletes it.
CREATE TABLE recovery_codes (
    hash            TEXT    PRIMARY KEY,                 -- SHA-256 suffices, since codes are random
    user_id         BIGINT  NOT NULL REFERENCES users (id) ON DELETE CASCADE
);
CREATE INDEX recovery_codes_by_user ON recovery_codes (user_id);

-- Logins that had the right password and wait for the second factor.
CREATE TABLE pending_logins (
    hash            TEXT    PRIMARY KEY,                 -- of the cookie's secret
    user_id         BIGINT  NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    tries           BIGINT  NOT NULL,
    created_at      BIGINT  NOT NULL
);
CREATE INDEX pending_logins_by_user ON pending_logins (user_id);
