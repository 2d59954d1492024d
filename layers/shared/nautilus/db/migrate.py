"""Bring a database to this version's schema: `python -m nautilus.db.migrate`. Safe to run at any time, and twice."""

from pathlib import Path

from nautilus.settings import MigrateSettings, load

# One migration at a time, whoever starts it. The number is arbitrary and ours alone.
ADVISORY_LOCK = 7_243_392_110


def upgrade(url: str, revision: str = "head") -> None:
    """Run the migrations that are missing, each in its own transaction, under an advisory lock."""
    # Imported here: Alembic and SQLAlchemy are in the bridge's image, not in a function's.
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["url"] = url
    config.attributes["lock"] = ADVISORY_LOCK
    command.upgrade(config, revision)


def main() -> None:
    settings = load(MigrateSettings)
    upgrade(settings.database_url.get_secret_value())
    print("the database is up to date")


if __name__ == "__main__":
    main()
