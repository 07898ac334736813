DROP TABLE openid_logins;
DROP TABLE identities;
