DROP TABLE pacing;
