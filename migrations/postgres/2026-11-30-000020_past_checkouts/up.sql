-- The check-out of a reservation that is not there any more, by its number, which the entry has as its detail.
CREATE INDEX audit_check_outs ON audit (detail) WHERE action = 'check out';
