-- Accounts of the open past, and what is left of users who are removed.
--
-- Where `auth` is `open` anybody could make users and tokens over HTTP. What they made does not work where callers are asked who they
-- are, until an admin confirms it. Of tokens their maker says so; of users the audit log does, as far back as it goes: whoever made the
-- user, gave it another role, or made a link for its password, unless the command line has made a link since.

ALTER TABLE users ADD COLUMN confirmed BOOLEAN NOT NULL DEFAULT TRUE;
ALTER TABLE tokens ADD COLUMN confirmed BOOLEAN NOT NULL DEFAULT TRUE;
-- The user who made it, or whose token did, or to whom it was handed over: it ends with them, and can do no more than they may. None: the
-- command line's, or nobody's.
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
-- Links to such users may be in the hands of anybody.
DELETE FROM invitations WHERE user_id IN (SELECT id FROM users WHERE NOT confirmed);

-- What such a token has made is no better.
WITH RECURSIVE doubted (name) AS (
    SELECT name FROM tokens WHERE created_by = 'anybody'
    UNION
    SELECT made.name FROM tokens AS made JOIN doubted ON made.created_by = 'token ' || doubted.name
)
UPDATE tokens SET confirmed = FALSE WHERE name IN (SELECT name FROM doubted);

-- Of those who are viewers by now it could do more than they may: such tokens go on, and are nobody's.
WITH RECURSIVE owned (id, name, owner_id) AS (
    SELECT tokens.id, tokens.name, users.id FROM tokens
    JOIN users ON tokens.created_by = 'user ' || users.name AND tokens.created_at >= users.created_at AND users.role <> 'viewer'
    UNION
    SELECT made.id, made.name, owned.owner_id FROM tokens AS made JOIN owned ON made.created_by = 'token ' || owned.name
)
UPDATE tokens SET owner_id = (SELECT min(owned.owner_id) FROM owned WHERE owned.id = tokens.id);

-- What is shown outside is read without any account: that, too, is confirmed, unless somebody known has shown it since.
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
