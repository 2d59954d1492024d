"""In which unit volumes of US stocks were taken to have come, wherever that is not proven.

revision: 0007; after: 0006
"""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        "CREATE TABLE IF NOT EXISTS volume_units ("
        " series_id integer NOT NULL REFERENCES series ON DELETE CASCADE,"
        " login text NOT NULL,"
        " unit text NOT NULL CHECK (unit IN ('unknown', 'shares', 'lots')),"
        " evidence text NOT NULL CHECK (evidence IN ('none', 'setting', 'guess')),"
        " ranges int8multirange NOT NULL CHECK (NOT isempty(ranges)),"
        " PRIMARY KEY (series_id, login, unit, evidence))"
    )
