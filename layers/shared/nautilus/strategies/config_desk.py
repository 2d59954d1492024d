"""Configurations: a template with parameters and what it runs on, kept under a name."""

from collections.abc import Sequence
from typing import Any, NamedTuple
from uuid import UUID, uuid4

from nautilus.auth.principal import Principal
from nautilus.db.connection import Database
from nautilus.db.cursor import Cursor
from nautilus.db.strategies import configs, listing, templates
from nautilus.db.strategies.configs import ConfigRow
from nautilus.db.strategies.listing import LastListed
from nautilus.errors import Conflict, InvalidInput
from nautilus.market.instrument import Instrument
from nautilus.market.timeframes import timeframe
from nautilus.strategies.desk import usable_template, visible_config
from nautilus.strategies.parameter_check import checked
from nautilus.strategies.requesting import known_instruments
from nautilus.strategies.run_report import config_json
from nautilus.strategies.run_series import series_of
from nautilus.strategies.schemas import ConfigChange, ConfigRequest

_USUAL_FRAME = "1m"


class NewConfig(NamedTuple):
    """What a configuration is made of. instruments: found of the names that the request has; none: each run names its own."""

    name: str
    template: str
    parameters: dict[str, Any]
    instruments: Sequence[Instrument] = ()
    description: str = ""
    timeframe: str | None = None
    session: str | None = None
    risk: dict[str, Any] | None = None

    @classmethod
    def of(cls, body: ConfigRequest, found: Sequence[Instrument]) -> "NewConfig":
        return cls(body.name, body.template, body.parameters, found, body.description, body.timeframe, body.session)


class ConfigDesk:
    """Makes, changes and archives configurations of callers."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def make(self, new: NewConfig, caller: Principal) -> ConfigRow:
        """InvalidInput names what is wrong with the template, the parameters or the instruments."""
        with self._db.transaction() as cursor:
            template = usable_template(cursor, new.template)
            return configs.insert(
                cursor,
                config_id=uuid4(),
                owner=caller.id,
                name=new.name,
                description=new.description,
                template_id=template.id,
                template_hash=template.code_hash,
                parameters=checked(template.parameter_schema, new.parameters),
                series=_series(new.instruments, new.timeframe, new.session),
                risk=new.risk or {},
            )

    def change(
        self, config_id: UUID, body: ConfigChange, found: Sequence[Instrument] | None, caller: Principal
    ) -> ConfigRow:
        """found: the instruments that the change names; None: it names none. Runs that there are keep what they began with."""
        with self._db.transaction() as cursor:
            row = visible_config(cursor, config_id, caller, lock=True)
            template = usable_template(cursor, row.template_id)
            if template.code_hash != row.template_hash and not body.accept_new_version:
                raise Conflict(
                    f"the code of the template {template.id} has changed since: send accept_new_version",
                    code="template-changed",
                )
            given = row.parameters if body.parameters is None else body.parameters
            return listing.change_config(
                cursor,
                row,
                name=row.name if body.name is None else body.name,
                description=row.description if body.description is None else body.description,
                template_hash=template.code_hash,
                parameters=checked(template.parameter_schema, given),
                series=_changed_series(cursor, row, body, found),
            )

    def archive(self, config_id: UUID, caller: Principal) -> None:
        """Conflict while a run of it is not over."""
        with self._db.transaction() as cursor:
            visible_config(cursor, config_id, caller, lock=True)
            if listing.has_open_runs(cursor, config_id):
                raise Conflict("a run of this configuration is not over: stop it first", code="config-in-use")
            listing.archive_config(cursor, config_id)

    def listed(self, caller: Principal, after: UUID | None, limit: int) -> list[dict[str, Any]]:
        """Configurations of the caller, the newest first; an administrator sees all."""
        with self._db.transaction(snapshot=True) as cursor:
            last = None
            if after is not None:
                row = visible_config(cursor, after, caller)
                last = LastListed(row.created_at, row.id)
            return described(cursor, listing.configs(cursor, None if caller.admin else caller.id, last, limit))

    def read(self, config_id: UUID, caller: Principal) -> dict[str, Any]:
        with self._db.transaction(snapshot=True) as cursor:
            return described(cursor, [visible_config(cursor, config_id, caller)])[0]


def described(cursor: Cursor, rows: Sequence[ConfigRow]) -> list[dict[str, Any]]:
    """Configurations as the API shows them."""
    known = {one.id: one for one in templates.every_template(cursor)}
    newest = listing.newest_runs(cursor, [row.id for row in rows])
    return [config_json(row, known.get(row.template_id), newest.get(row.id)) for row in rows]


def _series(found: Sequence[Instrument], frame: str | None, session: str | None) -> list[dict[str, Any]]:
    if not found:
        return []
    return [one.as_dict() for one in series_of(found, timeframe(frame or _USUAL_FRAME), session)]


def _changed_series(
    cursor: Cursor, row: ConfigRow, body: ConfigChange, found: Sequence[Instrument] | None
) -> Sequence[Any]:
    if found is None and body.timeframe is None and body.session is None:
        return row.series
    usual = row.series[0] if row.series else {}
    named = known_instruments(cursor, row.series) if found is None else found
    if not named and (body.timeframe is not None or body.session is not None):
        raise InvalidInput.field("instruments", "is missing: there is nothing that has a timeframe or a session")
    return _series(named, body.timeframe or usual.get("timeframe"), body.session or usual.get("session"))
