ALTER TABLE states RENAME COLUMN ping_key TO key_door;
ALTER TABLE states RENAME COLUMN names_key TO names_door;
ALTER INDEX lookup_keys_pkey RENAME TO doors_pkey;
ALTER TABLE lookup_keys RENAME COLUMN lookup_key TO door;
ALTER TABLE lookup_keys RENAME TO doors;
