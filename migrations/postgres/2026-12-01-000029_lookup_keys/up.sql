-- Renames doors to lookup keys: the keys by which a check-in finds its reservation.
ALTER TABLE doors RENAME TO lookup_keys;
ALTER TABLE lookup_keys RENAME COLUMN door TO lookup_key;
ALTER INDEX doors_pkey RENAME TO lookup_keys_pkey;
ALTER TABLE states RENAME COLUMN names_door TO names_key;
ALTER TABLE states RENAME COLUMN key_door TO ping_key;
