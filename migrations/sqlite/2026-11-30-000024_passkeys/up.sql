-- Passkeys: a second factor beside codes, and what waits for a browser's answer.

CREATE TABLE passkeys (
    id              INTEGER PRIMARY KEY AUTOINCREMENT,
    user_id         BIGINT  NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    credential_id   TEXT    NOT NULL UNIQUE,             -- base64url; what its authenticator calls it
    credential      TEXT    NOT NULL,                    -- JSON: its public key, and what is known of its authenticator
    sign_count      BIGINT  NOT NULL DEFAULT 0,          -- how often it has signed, as it says; stays 0 where it does not count
    name            TEXT    NOT NULL,
    created_at      BIGINT  NOT NULL,
    last_used_at    BIGINT
);
CREATE INDEX passkeys_by_user ON passkeys (user_id);

-- A ceremony: a challenge went to a browser, and its answer is waited for. Whoever takes it deletes it.
CREATE TABLE ceremonies (
    hash            TEXT    NOT NULL,                    -- of the secret of the session, or the pending login, that began it
    kind            TEXT    NOT NULL,                    -- 'register', 'authenticate'
    user_id         BIGINT  NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    state           TEXT    NOT NULL,                    -- JSON; no browser ever sees it
    began_at        BIGINT  NOT NULL,
    PRIMARY KEY (hash, kind)
);
CREATE INDEX ceremonies_by_user ON ceremonies (user_id, began_at);
