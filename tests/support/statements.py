"""The statements that are executed in this process while a test looks."""

from typing import Any

import pytest

from nautilus.db.prepared import TransactionCursor


class Statements:
    """texts: in their order, from now on until the patch is undone; of a prepared one its text."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.texts: list[str] = []
        self._prepared = False
        execute, run = TransactionCursor.execute, TransactionCursor.run

        def executed(cursor: Any, query: Any, given: Any = None) -> Any:
            if not self._prepared:
                self.texts.append(query if isinstance(query, str) else query.decode())
            return execute(cursor, query, given)

        def ran(cursor: Any, statement: Any, values: Any) -> None:
            self.texts.append(statement.sql)
            self._prepared = True
            try:
                run(cursor, statement, values)
            finally:
                self._prepared = False

        monkeypatch.setattr(TransactionCursor, "execute", executed)
        monkeypatch.setattr(TransactionCursor, "run", ran)
