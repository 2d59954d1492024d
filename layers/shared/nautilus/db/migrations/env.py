"""Alembic's way in: connect and run. `nautilus.db.migrate` holds the lock."""

from alembic import context
from sqlalchemy import create_engine, pool, text


def _run() -> None:
    attributes = context.config.attributes
    # SQLAlchemy would take its own favourite driver; ours is psycopg2.
    url = "postgresql+psycopg2://" + str(attributes["url"]).partition("://")[2]
    engine = create_engine(url, poolclass=pool.NullPool)
    with engine.connect() as connection:
        connection.execute(
            text("SELECT set_config('lock_timeout', :wait, false)"), {"wait": attributes["lock_timeout"]}
        )
        connection.commit()
        context.configure(connection=connection, transaction_per_migration=True)
        with context.begin_transaction():
            context.run_migrations()
        connection.commit()


_run()
