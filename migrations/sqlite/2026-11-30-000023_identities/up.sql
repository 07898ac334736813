-- Users who log in by OpenID Connect.

-- The user that a provider's subject stands for. The subject is the provider's own identifier of a
-- person and never changes; name and mail address may.
CREATE TABLE identities (
    issuer          TEXT    NOT NULL,
    subject         TEXT    NOT NULL,
    user_id         BIGINT  NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    PRIMARY KEY (issuer, subject)
);
CREATE INDEX identities_by_user ON identities (user_id);

-- Logins that have begun. Each ends once, within minutes, in the browser that began it. The secrets
-- that the browser and the provider must return are stored only as hashes.
CREATE TABLE openid_logins (
    hash            TEXT    PRIMARY KEY,
    network         TEXT    NOT NULL,                    -- where it began; the number per network is limited
    next            TEXT    NOT NULL,                    -- the page to open after the login
    began_at        BIGINT  NOT NULL
);
CREATE INDEX openid_logins_by_network ON openid_logins (network, began_at);
CREATE INDEX openid_logins_by_age ON openid_logins (began_at);
