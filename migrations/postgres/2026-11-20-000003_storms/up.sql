-- A delivery is written three times: put in, claimed, recorded. Its notice, which is most of it, lies beside the row (in TOAST), so
-- that only the first of these writes it, and is not compressed, being short. What is left has room in its page for the claim,
-- which changes no indexed column (HOT).
ALTER TABLE deliveries ALTER COLUMN notice SET STORAGE EXTERNAL;
ALTER TABLE deliveries SET (toast_tuple_target = 512, fillfactor = 60);
