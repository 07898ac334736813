-- Names that say what they are: what a check-in finds its reservation by is a lookup key.
ALTER TABLE doors RENAME TO lookup_keys;
ALTER TABLE lookup_keys RENAME COLUMN door TO lookup_key;
ALTER TABLE states RENAME COLUMN names_door TO names_key;
ALTER TABLE states RENAME COLUMN key_door TO ping_key;
