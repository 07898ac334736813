DROP TABLE pending_logins;
DROP TABLE recovery_codes;
DROP TABLE totp_setups;
DROP TABLE totp;
ALTER TABLE sessions DROP COLUMN method;
ALTER TABLE sessions DROP COLUMN browser;
ALTER TABLE sessions DROP COLUMN source;
ALTER TABLE users DROP COLUMN second_factor_required;
