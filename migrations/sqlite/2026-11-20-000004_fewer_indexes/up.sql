-- As in migrations/postgres. The random keys keep their indexes: SQLite would have to copy both tables to be rid of them.
DROP INDEX deliveries_waiting_by_alert;
DROP INDEX deliveries_by_alert;
CREATE INDEX deliveries_by_alert ON deliveries (alert_id, alerter, recipient, id);
DROP INDEX alerts_by_closed_at;
CREATE INDEX alerts_by_closed_at ON alerts (closed_at) WHERE closed_at IS NOT NULL;
