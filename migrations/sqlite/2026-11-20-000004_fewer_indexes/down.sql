DROP INDEX alerts_by_closed_at;
CREATE INDEX alerts_by_closed_at ON alerts (closed_at);
DROP INDEX deliveries_by_alert;
CREATE INDEX deliveries_by_alert ON deliveries (alert_id, id);
CREATE INDEX deliveries_waiting_by_alert ON deliveries (alert_id, alerter, recipient, id) WHERE state = 'waiting';
