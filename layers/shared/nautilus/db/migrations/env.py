"""Alembic's way in: connect, take the migration lock, run."""

from alembic import context
from sqlalchemy import create_engine, pool, text


def _run() -> None:
    attributes = context.config.attributes
    url = str(attributes["url"]).replace("postgres://", "postgresql://", 1)
    engine = create_engine(url, poolclass=pool.NullPool)
    with engine.connect() as connection:
        connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": attributes["lock"]})
        connection.commit()
        context.configure(connection=connection, transaction_per_migration=True)
        with context.begin_transaction():
            context.run_migrations()
        connection.commit()


_run()
