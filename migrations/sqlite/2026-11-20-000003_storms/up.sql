-- Where Postgres keeps a delivery's notice apart from its row; SQLite keeps what is long on pages of its own by itself.
SELECT 1;
