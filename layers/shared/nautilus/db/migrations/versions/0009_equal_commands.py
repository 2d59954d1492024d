"""Of equal commands one is open at a time. Those that are open twice already are ended, but for the oldest.

revision: 0009; after: 0008
"""

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_OPEN = "state IN ('queued', 'running')"


def upgrade() -> None:
    op.execute(
        "UPDATE bridge_commands SET state = 'failed', finished_at = clock_timestamp(),"
        ' error = \'{"code": "doubled", "detail": "an equal command is open"}\''
        " WHERE id IN (SELECT id FROM (SELECT id, row_number() OVER (PARTITION BY type, args ORDER BY created_at, id) AS n"
        f"  FROM bridge_commands WHERE {_OPEN}) AS c WHERE n > 1)"
    )
    # A hash, as the selectors of many symbols are longer than a row of an index may be.
    op.execute(
        "CREATE UNIQUE INDEX IF NOT EXISTS bridge_commands_open_once ON bridge_commands (type, md5(args::text))"
        f" WHERE {_OPEN}"
    )
