DROP TABLE ping_keys;
DROP TABLE deliveries;
DROP TABLE alerts;
DROP TABLE checkins;
DROP TABLE runs;
DROP TABLE states;
DROP TABLE doors;
DROP TABLE reservations;
