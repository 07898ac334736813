-- Passkeys: a second factor in addition to codes, and the ceremonies under way.

CREATE TABLE passkeys (
    id              INTEGER PRIMARY KEY AUTOINCREMENT,
    user_id         BIGINT  NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    credential_id   TEXT    NOT NULL UNIQUE,             -- base64url; the id that its authenticator gave it
    credential      TEXT    NOT NULL,                    -- JSON: its public key, and data about its authenticator
    sign_count      BIGINT  NOT NULL DEFAULT 0,          -- its signature counter; stays 0 if the authenticator has none
    name            TEXT    NOT NULL,
    created_at      BIGINT  NOT NULL,
    last_used_at    BIGINT
);
CREATE INDEX passkeys_by_user ON passkeys (user_id);

-- A ceremony: a challenge was sent to a browser, and its answer is awaited. Reading the row for the
-- answer deletes it.
CREATE TABLE ceremonies (
    hash            TEXT    NOT NULL,                    -- of the secret of the session, or the pending login, that began it
    kind            TEXT    NOT NULL,                    -- 'register', 'authenticate'
    user_id         BIGINT  NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    state           TEXT    NOT NULL,                    -- JSON; no browser ever sees it
    began_at        BIGINT  NOT NULL,
    PRIMARY KEY (hash, kind)
);
CREATE INDEX ceremonies_by_user ON ceremonies (user_id, began_at);
