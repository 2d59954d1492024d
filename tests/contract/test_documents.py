"""The documents tell the truth: every table and column, every state and reason word, links that lead somewhere."""

import re
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import closing
from functools import cache
from pathlib import Path

import psycopg2
import pytest

from ib_bridge.ib import codes as ib_codes
from ib_bridge.ib.health import ConnectionState
from nautilus.backfill.states import ChunkState, JobState
from nautilus.coverage.states import CoverageState
from nautilus.infra.messages import CommandHint, JobHint
from nautilus.monitoring import incidents

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


@cache
def committed() -> tuple[Path, ...]:
    """Every file under version control; outside a checkout, every file that is not hidden or installed."""
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        found = [ROOT / name for name in done.stdout.split("\0") if name]
    else:
        found = [p for p in ROOT.rglob("*") if not any(part.startswith(".") for part in p.relative_to(ROOT).parts)]
    return tuple(path for path in found if path.is_file())


PAGES = [path for path in committed() if path.suffix == ".md"]


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def rows(text: str) -> Iterator[list[str]]:
    """The cells of each row of the tables in a Markdown text."""
    for line in text.splitlines():
        if line.startswith("|"):
            yield [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def words(page: str, heading: str) -> dict[str, list[str]]:
    """First cell in backticks -> the other cells, of the tables whose first heading is `heading`."""
    found: dict[str, list[str]] = {}
    inside = False
    for cells in rows(page):
        quoted = re.fullmatch(r"`([\w:<>]+)`", cells[0])
        if quoted is None:
            inside = cells[0] == heading or (inside and set(cells[0]) <= set("-: "))
        elif inside:
            assert quoted[1] not in found, f"{quoted[1]} is explained twice"
            found[quoted[1]] = cells[1:]
    return found


# ---- data.md ---------------------------------------------------------------------------------------------------------

_SHORT = {
    "timestamp with time zone": "timestamptz",
    "double precision": "float8",
    "character varying": "varchar",
}


def documented_tables() -> dict[str, list[tuple[str, str]]]:
    """Table -> (column, type as written) in the order of the page. A heading may name several tables of one shape."""
    found: dict[str, list[tuple[str, str]]] = {}
    for part in re.split(r"^### ", (DOCS / "data.md").read_text(), flags=re.MULTILINE)[1:]:
        heading, _, text = part.partition("\n")
        columns: list[tuple[str, str]] = []
        for cells in rows(re.split(r"^## ", text, flags=re.MULTILINE)[0]):
            if cells == ["column", "type", "meaning"]:
                columns = []
            if len(cells) == 3 and (quoted := re.fullmatch(r"`(\w+)`", cells[0])):
                columns.append((quoted[1], cells[1]))
            elif columns:
                break  # another table follows, such as that of commands
        for table in re.findall(r"`(\w+)`", heading):
            assert table not in found, f"{table} is described twice"
            found[table] = columns
    return found


def migrated_tables(dsn: str) -> dict[str, list[tuple[str, str]]]:
    query = (
        "SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull FROM pg_class c"
        " JOIN pg_attribute a ON a.attrelid = c.oid WHERE c.relnamespace = 'public'::regnamespace"
        " AND c.relkind IN ('r', 'p') AND a.attnum > 0 AND NOT a.attisdropped ORDER BY c.relname, a.attnum"
    )
    found: dict[str, list[tuple[str, str]]] = {}
    with closing(psycopg2.connect(dsn)) as connection, connection.cursor() as cursor:
        cursor.execute(query)
        for table, column, kind, required in cursor.fetchall():
            for long, short in _SHORT.items():
                kind = kind.replace(long, short)
            found.setdefault(table, []).append((column, kind if required else f"{kind} NULL"))
    return found


def test_data_names_exactly_the_tables_and_columns_there_are(dsn: str) -> None:
    there, documented = migrated_tables(dsn), documented_tables()
    assert sorted(documented) == sorted(there), "docs/data.md has a heading ### `table` for each"
    for table, columns in there.items():
        expected = "\n".join(f"| `{name}` | {kind} | ... |" for name, kind in columns)
        assert documented[table] == columns, f"{table} in docs/data.md should read:\n{expected}"


def test_every_column_is_explained_or_plain() -> None:
    """A column without a word of meaning is one whose name says all."""
    plain = {"id", "job_id", "chunk_id", "port", "timeframe", "created_at", "finished_at", "last_login"}
    text = (DOCS / "data.md").read_text()
    silent = {cells[0].strip("`") for cells in rows(text) if len(cells) == 3 and not cells[2]}
    assert silent <= plain


def test_every_message_and_its_fields_are_described() -> None:
    documented = words((DOCS / "data.md").read_text(), "message")
    assert set(documented) == {"JobHint", "CommandHint"}
    for kind in (JobHint, CommandHint):
        assert set(re.findall(r"`(\w+)`:", documented[kind.__name__][0])) == set(kind.model_fields)


# ---- backfill.md and architecture.md ---------------------------------------------------------------------------------

BACKFILL = (DOCS / "backfill.md").read_text()


def reasons() -> dict[str, set[int]]:
    """Reason word of an answer -> the codes that lead to it."""
    found: dict[str, set[int]] = {ib_codes.meaning(-7).reason: set()}
    for code, documented in ib_codes.CODES.items():
        found.setdefault(documented.reason, set()).add(code)
    for code, texts in ib_codes.TEXTS.items():
        for _, documented in texts:
            found.setdefault(documented.reason, set()).add(code)
    found.setdefault(ib_codes.meaning(162, "Mensaje de error de los servicios de datos:no se sabe").reason, set()).add(
        162
    )
    for code in range(10, 11_000):
        documented = ib_codes.meaning(code)
        if code != 162 and documented.reason not in ("unmapped_code", ib_codes.CODES.get(code, documented).reason):
            raise AssertionError(f"{code} means {documented.reason} and stands in the table as something else")
        if documented.reason != "unmapped_code":
            found.setdefault(documented.reason, set()).add(code)
    return found


def codes_in(cell: str) -> set[int]:
    """`162, 505 to 509` as numbers."""
    found = set()
    for first, last in re.findall(r"(\d+)(?: to (\d+))?", cell):
        found |= set(range(int(first), int(last or first) + 1))
    return found


def test_every_reason_word_is_explained_with_its_codes() -> None:
    documented = words(BACKFILL, "reason")
    known = reasons()
    assert sorted(set(known) - set(documented)) == [], "docs/backfill.md explains each in a table headed `reason`"
    for reason, codes in known.items():
        assert codes <= codes_in(documented[reason][0]), f"{reason} in docs/backfill.md lacks codes"


def test_no_reason_is_explained_that_nobody_gives() -> None:
    """A word of ours stands, as a text of its own, in the source that gives it."""
    source = "\n".join(p.read_text() for p in committed() if p.suffix == ".py" and "tests" not in p.parts)
    given = [f'"{word}"'.replace('<ratio>"', "{") for word in words(BACKFILL, "reason")]
    assert [text for text in given if text not in source] == []


@pytest.mark.parametrize(
    ("heading", "kind"),
    [("state", CoverageState), ("status", JobState), ("chunk state", ChunkState)],
    ids=["coverage", "job", "chunk"],
)
def test_every_state_is_explained(heading: str, kind: type[CoverageState] | type[JobState] | type[ChunkState]) -> None:
    assert list(words(BACKFILL, heading)) == [member.value for member in kind]


def test_every_state_of_the_session_is_explained() -> None:
    documented = words((DOCS / "architecture.md").read_text(), "state")
    assert list(documented) == [member.value for member in ConnectionState]


# ---- links, commands, addresses --------------------------------------------------------------------------------------


def anchors(page: Path) -> set[str]:
    """What `#...` may follow a link to this page: its headings as code hosts spell them."""
    found = re.findall(r"^#+ (.+)$", page.read_text(), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in found}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(), flags=re.DOTALL)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert ROOT in (target, *target.parents), f"{link} leads out of the repository"
        assert not anchor or anchor in anchors(target), link


PATH = re.compile(r"`([\w.-]+(?:/[\w.-]+)*/?)`(?:\s\(`(\w+)`\))?")
"""A path in a page, and behind it, in brackets, a name that its module defines."""
BELOW = ("", "layers/shared", "layers/shared/nautilus", "ib_bridge")


def targets(page: Path, path: str) -> list[Path]:
    """The files and folders that a path in a page may mean."""
    found = [ROOT / folder / path for folder in BELOW] + [page.parent / path]
    return [target for target in found if target.exists()] or ([] if "/" in path else list(ROOT.glob(f"*/**/{path}")))


def is_path(text: str) -> bool:
    first, _, rest = text.partition("/")
    known = {"docs", "dev", "functions", "infra", "tests", "benchmarks", "layers", "nautilus", "ib_bridge"}
    return text.endswith((".py", ".md", ".yaml", ".toml")) or bool(rest and first in known)


def wrong_paths(page: Path, text: str) -> list[str]:
    """The paths in a page that lead nowhere, and the names that their modules do not have."""
    found = []
    for path, name in PATH.findall(re.sub(r"```.*?```", "", text, flags=re.DOTALL)):
        if is_path(path):
            sources = [target.read_text() for target in targets(page, path) if target.is_file()]
            defined = rf"^\s*(?:(?:async )?def |class )?{name}\b(?:\(|:| =)"
            there = sources or targets(page, path)
            if not there or (name and not any(re.search(defined, each, re.MULTILINE) for each in sources)):
                found.append(f"{path} {name}".rstrip())
    return found


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_paths_lead_somewhere(page: Path) -> None:
    assert wrong_paths(page, page.read_text()) == []


def test_paths_that_lead_nowhere_are_found() -> None:
    text = (
        "`backfill/gone.py` `errors.py` (`Gone`) `errors.py` (`Vanished`) `dev/nothing` `dev` `a/b` `EUR/USD` `gone.md`"
        " `ib/codes.py` (`CODES`) `functions/bars/app.py` (`bars`) `../README.md` `docs/`"
    )
    assert wrong_paths(DOCS / "api.md", text) == ["backfill/gone.py", "errors.py Vanished", "dev/nothing", "gone.md"]


def test_every_make_command_that_is_written_of_exists_and_is_in_the_help() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z][\w-]*):(?!=)", makefile, flags=re.MULTILINE))
    helped = set(re.findall(r"^([a-z-]+):.*## ", makefile, flags=re.MULTILINE))
    done = subprocess.run(
        ["make", "--no-print-directory", "help"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    shown = set(re.findall(r"^  make ([a-z-]+)", done.stdout, flags=re.MULTILINE))
    assert shown == helped == targets, "each target of the Makefile has a `## line` of help"
    written = {
        (name_of(page), word)
        for page in PAGES
        for word in re.findall(r"(?:`|^    |\d\. )make ([a-z-]+)", page.read_text(), flags=re.MULTILINE)
    }
    assert written, "the README shows commands"
    assert sorted((page, word) for page, word in written if word not in targets) == []


# Where packages come from and where this checkout lies is everybody's own affair. The folders are words here, so that this
# file, too, passes a search for them.
HOMES = "|".join(("home", "Users", "work", "mnt", "private"))
FOREIGN = re.compile(
    r"--(?:extra-)?index-url|--find-links|--trusted-host|https?://[^\s\"']*/simple\b|https?://files\.python"
    + r"hosted|"
    + r"\"resolved\":|(?<![\w.~$)}/-])/(?:"
    + HOMES
    + r")/\w|/"
    + "root"
    + r"/[\w.]|\b[A-Z]:\\\\Users"
)


def test_no_file_names_a_registry_or_a_place_on_one_machine() -> None:
    found = []
    for path in committed():
        text = path.read_bytes().decode("utf-8", "ignore")
        if path == Path(__file__):
            continue
        found += [f"{name_of(path)}: {match[0]}" for match in FOREIGN.finditer(text)]
        if str(ROOT) in text:
            found.append(f"{name_of(path)}: {ROOT}")
    assert found == []


def test_the_search_for_places_finds_them() -> None:
    for text in (
        "--index-url https://example.org",
        "see https://example.org/simple/uv",
        "cd /home/someone/x",
        "open('/{}/x')".format("work"),
        "/{}/.cache".format("root"),
        '"resolved": "https://example.org/x.tgz"',
    ):
        assert FOREIGN.search(text), text
    for text in (
        "below the home of root it cannot",
        "layers/mnt/x",
        "$(DATA)/mnt/x",
        "/tmp/calendars",
        "the home/office",
    ):
        assert not FOREIGN.search(text), text


def test_the_tests_that_are_said_to_hold_something_exist() -> None:
    source = "\n".join(p.read_text() for p in committed() if p.suffix == ".py" and "tests" in p.parts)
    documented = set(re.findall(r"`(test_\w+)", BACKFILL))
    assert len(documented) > 30
    assert [name for name in sorted(documented) if f"def {name}(" not in source] == []
    rows = set(re.findall(r"`test_fault\[(.*?)\]`", BACKFILL))
    faults = (ROOT / "tests" / "integration" / "backfill" / "test_fault_injection.py").read_text()
    assert [row for row in rows if not all(f'"{part}"' in faults for part in row.split(" & "))] == []


def held_by_tests(text: str) -> dict[int, list[str]]:
    """Number of a case -> the tests in its row."""
    return {
        int(cells[0].split()[0]): re.findall(r"`(test_\w+)`", cells[-1])
        for cells in rows(text)
        if len(cells) == 3 and cells[0][:1].isdigit()
    }


def missing_tests(cases: dict[int, list[str]], numbers: Iterable[int]) -> list[str]:
    """Cases without a test, and tests that do not exist."""
    source = "\n".join(p.read_text() for p in committed() if p.suffix == ".py" and "tests" in p.parts)
    without = [f"case {number}" for number in numbers if not cases.get(number)]
    return without + [name for each in cases.values() for name in each if f"def {name}(" not in source]


def test_each_case_of_live_data_is_held_by_a_test() -> None:
    page = (DOCS / "live.md").read_text()
    assert missing_tests(held_by_tests(page), range(1, 27)) == []
    wrong = page.replace("| 7 IB says", "| IB says").replace("`test_an_old_ticket_is_refused`", "`test_of_nothing`")
    assert missing_tests(held_by_tests(wrong), range(1, 27)) == ["case 7", "test_of_nothing"]


ORDER_CASES = [*range(1, 9), *range(10, 22), 23, 24, 26, 27, 28, 29]
"""Those that are missing are about the portfolio."""


def test_each_case_of_orders_is_held_by_a_test() -> None:
    page = (DOCS / "orders.md").read_text()
    assert missing_tests(held_by_tests(page), ORDER_CASES) == []
    wrong = page.replace("| 7 a modify", "| a modify").replace(
        "`test_a_second_process_does_not_start`", "`test_of_no_order`"
    )
    assert missing_tests(held_by_tests(wrong), ORDER_CASES) == ["case 7", "test_of_no_order"]


def test_each_case_of_the_portfolio_is_held_by_a_test() -> None:
    page = (DOCS / "portfolio.md").read_text().partition("## What holds")[2]
    assert missing_tests(held_by_tests(page), (9, 22, 25)) == []
    others = {n: re.findall(r"`(test_\w+)`", cells[-1]) for n, cells in enumerate(rows(page)) if n > 1}
    assert missing_tests(others, others) == [], "each line names tests that there are"
    wrong = page.replace("| 22 away", "| away").replace("`test_a_cent_breaks_it`", "`test_of_no_cent`")
    assert missing_tests(held_by_tests(wrong), (9, 22, 25)) == ["case 22"]


def test_every_incident_says_what_to_do() -> None:
    rows = re.findall(
        r"^\| `([\w-]+)` \| (\w+) \| (.+) \| (.+) \|$", (DOCS / "operations.md").read_text(), re.MULTILINE
    )
    documented = {code: severity for code, severity, meaning, action in rows if severity in incidents.SEVERITIES}
    assert documented == dict(incidents.CODES)
