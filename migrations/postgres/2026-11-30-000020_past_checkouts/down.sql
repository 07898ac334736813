DROP INDEX audit_check_outs;
