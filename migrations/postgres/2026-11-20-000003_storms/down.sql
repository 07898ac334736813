ALTER TABLE deliveries RESET (toast_tuple_target, fillfactor);
ALTER TABLE deliveries ALTER COLUMN notice SET STORAGE EXTENDED;
