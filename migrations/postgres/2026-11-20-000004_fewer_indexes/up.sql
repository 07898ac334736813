-- An alert with one message wrote nineteen index entries; these it can do without. Random keys need no index to be unique, and
-- nothing is looked up by them.
ALTER TABLE deliveries DROP CONSTRAINT deliveries_key_key;
ALTER TABLE alerts DROP CONSTRAINT alerts_dedup_key_key;

-- An alert has few messages: one index finds all of them, and those that wait among them.
DROP INDEX deliveries_waiting_by_alert;
DROP INDEX deliveries_by_alert;
CREATE INDEX deliveries_by_alert ON deliveries (alert_id, alerter, recipient, id);

-- Nothing asks this one for open alerts.
DROP INDEX alerts_by_closed_at;
CREATE INDEX alerts_by_closed_at ON alerts (closed_at) WHERE closed_at IS NOT NULL;
