DROP TABLE outages;
DROP TABLE ways;
