DROP TABLE checks;
DROP TABLE blind_windows;
DROP TABLE leases;
DROP TABLE duties;
DROP TABLE nodes;
