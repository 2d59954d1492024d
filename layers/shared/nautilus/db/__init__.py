"""The door to PostgreSQL: the only package that knows SQL, tables and psycopg2."""
