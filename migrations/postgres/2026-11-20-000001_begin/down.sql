DROP TABLE ping_keys, deliveries, alerts, checkins, runs, states, doors, reservations;
