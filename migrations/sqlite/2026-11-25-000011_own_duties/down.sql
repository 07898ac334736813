-- An older version makes its reservations anew when it checks in to them.
ALTER TABLE duties DROP COLUMN snoozed_until;
