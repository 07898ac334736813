DROP TABLE shares;
DROP TABLE checkouts;
DROP TABLE audit;
DROP TABLE tokens;
DROP TABLE login_failures;
DROP TABLE invitations;
DROP TABLE sessions;
DROP TABLE users;
