-- Users who come by OpenID Connect.

-- Whom a provider means: the subject is the provider's own name for somebody, and never changes. All else (name, mail address) does.
CREATE TABLE identities (
    issuer          TEXT    NOT NULL,
    subject         TEXT    NOT NULL,
    user_id         BIGINT  NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    PRIMARY KEY (issuer, subject)
);
CREATE INDEX identities_by_user ON identities (user_id);

-- Logins that have been begun, each of which ends once and within minutes, in the browser that began it. What the browser and the
-- provider must bring back is known by its hash alone.
CREATE TABLE openid_logins (
    hash            TEXT    PRIMARY KEY,
    network         TEXT    NOT NULL,                    -- whence it was begun; each has so many
    next            TEXT    NOT NULL,                    -- where to go then
    began_at        BIGINT  NOT NULL
);
CREATE INDEX openid_logins_by_network ON openid_logins (network, began_at);
CREATE INDEX openid_logins_by_age ON openid_logins (began_at);
