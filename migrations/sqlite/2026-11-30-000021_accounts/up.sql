-- Accounts that anybody made while the instance was open, and the tokens of removed users.
--
-- While `auth` is `open`, anybody can make users and tokens over HTTP. After `auth` has been changed
-- they do not work until an admin confirms them. Tokens are recognised by their maker. Users are
-- recognised by the audit log, as far back as it goes: by who made the user, changed the role, or made
-- a password link, unless the command line has made a password link since.

ALTER TABLE users ADD COLUMN confirmed BOOLEAN NOT NULL DEFAULT TRUE;
ALTER TABLE tokens ADD COLUMN confirmed BOOLEAN NOT NULL DEFAULT TRUE;
-- The owner: the user who made the token, who owns the token that made it, or to whom it was handed
-- over. The token is removed with its owner, and has no more rights. Null for tokens of the command
-- line, and for tokens without an owner.
ALTER TABLE tokens ADD COLUMN owner_id BIGINT;
CREATE INDEX tokens_by_owner ON tokens (owner_id);

UPDATE users SET confirmed = FALSE WHERE id IN (
    SELECT doubted.id FROM (
        SELECT of_whom.id AS id, max(entry.id) AS entry_id
        FROM audit AS entry JOIN users AS of_whom ON of_whom.name = substr(entry.subject, 6)
        WHERE entry.who = 'anybody' AND entry.action IN ('add user', 'change user', 'make password link')
            AND entry.subject LIKE 'user %' AND entry.at >= of_whom.created_at
        GROUP BY of_whom.id
    ) AS doubted
    WHERE NOT EXISTS (
        SELECT 1 FROM audit AS later JOIN users AS of_whom ON later.subject = 'user ' || of_whom.name
        WHERE of_whom.id = doubted.id AND later.id > doubted.entry_id
            AND later.who = 'command line' AND later.action = 'make password link'
    )
);
-- Anybody may have the password links of unconfirmed users.
DELETE FROM invitations WHERE user_id IN (SELECT id FROM users WHERE NOT confirmed);

-- Tokens that an unconfirmed token has made are unconfirmed too.
WITH RECURSIVE doubted (name) AS (
    SELECT name FROM tokens WHERE created_by = 'anybody'
    UNION
    SELECT made.name FROM tokens AS made JOIN doubted ON made.created_by = 'token ' || doubted.name
)
UPDATE tokens SET confirmed = FALSE WHERE name IN (SELECT name FROM doubted);

-- Tokens of users who are viewers now may have more rights than their owner could. They remain
-- valid, and have no owner.
WITH RECURSIVE owned (id, name, owner_id) AS (
    SELECT tokens.id, tokens.name, users.id FROM tokens
    JOIN users ON tokens.created_by = 'user ' || users.name AND tokens.created_at >= users.created_at AND users.role <> 'viewer'
    UNION
    SELECT made.id, made.name, owned.owner_id FROM tokens AS made JOIN owned ON made.created_by = 'token ' || owned.name
)
UPDATE tokens SET owner_id = (SELECT min(owned.owner_id) FROM owned WHERE owned.id = tokens.id);

-- Status pages and badges that are shown outside can be read without an account. They must be
-- confirmed too, unless a known user has shown them again since.
ALTER TABLE shares ADD COLUMN confirmed BOOLEAN NOT NULL DEFAULT TRUE;
UPDATE shares SET confirmed = FALSE WHERE EXISTS (
    SELECT 1 FROM audit AS entry
    WHERE entry.who = 'anybody' AND entry.action = 'share' AND entry.at >= shares.created_at
        AND entry.subject = shares.shape || ' of ' || shares.kind || ' ' || shares.subject
        AND NOT EXISTS (
            SELECT 1 FROM audit AS later
            WHERE later.id > entry.id AND later.action = 'share' AND later.subject = entry.subject AND later.who <> 'anybody'
        )
);
