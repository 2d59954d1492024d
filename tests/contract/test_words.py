"""Names use the words of docs/glossary.md, and sentences are short enough to be understood at the first reading."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from functools import cache
from inspect import cleandoc
from itertools import pairwise
from pathlib import Path

from tests.contract.test_documents import DOCS, ROOT, committed, name_of, rows

# ---- retired words ---------------------------------------------------------------------------------------------------

MIGRATIONS = re.compile(r"db/migrations/versions/")
"""A migration keeps its name for ever."""
VERBS = {"look_up": "lookup"}
"""Two words that the glossary has as one."""
BORDER = {"NOT_ASKED", "not_asked", "asked_at"}
"""A coverage state and a column, as the API and the database spell them."""
COMMANDS = {"weather"}
"""Commands of the simulator's control port, each a function of its name."""

WAITING = {
    "layers/shared/nautilus/reading/schemas.py": {"Stretch"},  # the API's description has this name, too
}
"""File -> names with a retired word that are not changed yet. An entry goes with the commit that changes its name."""


@cache
def retired() -> tuple[frozenset[str], frozenset[str]]:
    """The words of the table "Words not used": those that no name has, and those that stand as verbs in names of tests."""
    section = (DOCS / "glossary.md").read_text().partition("## Words not used")[2]
    never, verbs = set(), set()
    for cells in list(rows(section))[2:]:
        for word, remark in re.findall(r"([a-z][a-z ]*[a-z])(?: \(([^)]*)\))?", cells[0]):
            if not remark:
                never.add(word.replace(" ", "_"))
            elif remark == "as a noun":
                verbs.add(word)
    return frozenset(never), frozenset(verbs)


def stems(part: str) -> set[str]:
    """A word and what it may be the plural or the past of."""
    return {part} | {part.removesuffix(end) for end in ("s", "es", "ed", "d") if part.endswith(end)}


def retired_in(name: str) -> set[str]:
    """The retired words in a name."""
    never, verbs = retired()
    words = "_".join(re.findall(r"[A-Z]?[a-z0-9]+|[A-Z]+(?![a-z])", name)).lower()
    for two, one in VERBS.items():
        words = words.replace(two, one)
    found = {word for word in never if f"_{word}_" in f"_{words}_"}
    parts = words.split("_")
    return found | never & set().union(*map(stems, parts)) | (set() if name.startswith("test_") else verbs & set(parts))


def names(tree: ast.AST) -> Iterator[str]:
    """The names that a module gives: of functions, classes, parameters, variables and attributes."""
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield name
            case ast.arg(arg=name) | ast.alias(asname=str(name)):
                yield name
            case ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()):
                yield name


def with_retired_words(path: Path, text: str) -> set[str]:
    found = {*names(ast.parse(text)), *path.parts, path.stem}
    kept = BORDER | (COMMANDS if "control" in path.parts else set())
    return {name for name in found - kept if retired_in(name)}


def test_no_name_has_a_retired_word() -> None:
    found = {}
    for path in committed():
        name = name_of(path)
        if path.suffix == ".py" and not MIGRATIONS.search(name):
            found[name] = with_retired_words(path.relative_to(ROOT), path.read_text())
    assert {name: words for name, words in found.items() if words} == WAITING


def test_a_command_of_the_simulator_keeps_its_name_in_its_table_alone() -> None:
    text = "def weather(control): weather = 1"
    assert not with_retired_words(Path("ib_gateway_sim/control/record.py"), text)
    assert with_retired_words(Path("ib_gateway_sim/faults/state.py"), text) == {"weather"}


def test_retired_words_are_found_in_names_alone() -> None:
    text = """
class OldScene:
    wishes: int
def test_what_is_told_is_a_wish(doubted, x): self._second_look = look_up = told = "weather"
def test_what_was_said(): reach = replanted
"""
    assert with_retired_words(Path("a/crowds.py"), text) == {
        *("OldScene", "wishes", "test_what_is_told_is_a_wish", "doubted", "_second_look", "told", "reach", "crowds")
    } | {"crowds.py"}


PROSE = re.compile(r"(layers|functions|ib_bridge|stream|dev|clients)/")
KEPT = re.compile('second_look_at|"wish"|job-put-off|second-looks')
"""Fields of the API, actions of the log, and the loop that some of these are named after."""
SECOND_MEANING = {"derived"}
"""A key is derived from a secret; and the API says of aggregated bars that they are derived."""


def retired_in_prose(text: str) -> set[str]:
    """The retired words in the comments, docstrings and other texts of a module. Verbs may stand there."""
    kinds = (tokenize.COMMENT, tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", tokenize.STRING))
    words: set[str] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type in kinds:
            prose = KEPT.sub("", token.string.lower())
            words |= set(re.findall(r"[a-z]+", prose)) | {
                "_".join(two) for two in pairwise(re.findall(r"[a-z]+", prose))
            }
    found: set[str] = set().union(*map(stems, words))
    return (found & retired()[0]) - SECOND_MEANING


def test_no_comment_and_no_text_has_a_retired_word() -> None:
    found = {}
    for path in committed():
        name = name_of(path)
        if path.suffix == ".py" and PROSE.match(name) and not MIGRATIONS.search(name):
            found[name] = retired_in_prose(path.read_text())
    assert {name: words for name, words in found.items() if words} == {}


def test_retired_words_are_found_in_prose() -> None:
    assert retired_in_prose('"""The seams of two stretches."""\nx = 1  # second look') == {
        "seam",
        "stretch",
        "second_look",
    }
    assert retired_in_prose('scene = "IB was asked, and looked it up"  # a derived key') == set()


UNCLEAR = re.compile(
    r"\b(told|hears?|heard|asked|said|moments?|doubts?|proofs?|edges?|stretch(?:es)?|put off|places?|wish(?:es)?"
    r"|(?:first|second|last|a) look)\b",
    re.IGNORECASE,
)
"""Words that meant many things in documents, docstrings and comments. Say what is done: requested, sent, received, answered,
published, unconfirmed, the time, the slot."""
ORDINARY = re.compile(
    r"\bIB (?:is|was) asked|\basked IB|gateway is asked"  # a question, and who answers it
    r"|\basked to stop"  # a request of a person
    r"|\bnot asked yet|\bnothing said"  # a state of coverage, in words
    r"|\bIB said (?:no\b|that|once|twice)|Brokers said no"  # words of IB
    r"|\blow edge"  # of a price ladder
    r"|\bin place\b|\bin one place|\bonly place|\bone place|\btakes? place"  # where something is; instead of
    r"|\bplaces? (?:an? )?orders?",  # what a trader does
    re.IGNORECASE,
)
"""Where such a word has its ordinary meaning and is clear. A text of another kind gets a line here, with its reason."""


def comments(text: str) -> str:
    """The comments of a module, those in a row as one text."""
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    return "\n".join(token.string.lstrip("# ") for token in tokens if token.type == tokenize.COMMENT)


def unclear(text: str) -> set[str]:
    """The unclear words of a text: none of code, of links and of quotations."""
    plain = re.sub(r"```.*?```|^ {4}.*$", "", text, flags=re.DOTALL | re.MULTILINE) if "```" in text else text
    plain = re.sub(r"`[^`]*`|\]\([^)]*\)", "", plain)
    return {word.lower() for word in UNCLEAR.findall(ORDINARY.sub("", re.sub(r"\s+", " ", plain)))}


def test_no_document_docstring_or_comment_has_an_unclear_word() -> None:
    found = {}
    for path in committed():
        name = name_of(path)
        outside = path.suffix == ".md" or "tests" not in path.parts
        if outside and path.name != "glossary.md" and not MIGRATIONS.search(name):
            texts = [*prose(path), comments(path.read_text()) if path.suffix == ".py" else ""]
            found[name] = set().union(*map(unclear, texts))
    assert {name: words for name, words in found.items() if words} == {}, (
        "say what is done: requested, sent, received, answered, published; docs/glossary.md, the last table"
    )


def test_unclear_words_are_found_where_they_are_not_ordinary() -> None:
    assert unclear("What was asked for is told. A second\nlook is in doubt, in its place.") == {
        *("asked", "told", "second look", "doubt", "place")
    }
    assert not unclear(
        "IB was asked, and `told` [so](proof.md). In place of 3, jobs are asked to stop; place an order."
    )
    assert unclear(comments('x = "told"  # nobody heard\n')) == {"heard"}


# ---- sentences -------------------------------------------------------------------------------------------------------

LONGEST_SENTENCE = 45
"""Words of one sentence, at most; a piece of code counts as one."""


def paragraphs(text: str) -> Iterator[str]:
    """The prose of a Markdown text or a docstring: no headings, no code, no drawings; each cell and each item by itself."""
    for part in re.split(r"\n\s*\n", re.sub(r"```.*?```", "\n\n", text, flags=re.DOTALL)):
        lines: list[str] = []
        for line in part.splitlines():
            if line.startswith("|"):
                yield from re.split(r"(?<!\\)\|", line)
            elif line.startswith(("    ", "#")) or re.search(r"\S {2,}\S", line):
                lines.append("\n")
            else:
                lines.append(re.sub(r"^\s*(?:[-*]|\d+\.) ", "\n", line))
        yield from " ".join(lines).split("\n")


def long_sentences(text: str) -> list[str]:
    found = []
    for paragraph in paragraphs(text):
        plain = re.sub(r"\]\([^)]*\)", "]", re.sub(r"`[^`]*`", "code", paragraph))
        found += [s for s in re.split(r"(?<=[.!?:])\**\s", plain) if len(re.findall(r"\w\S*", s)) > LONGEST_SENTENCE]
    return found


def prose(path: Path) -> Iterator[str]:
    """The texts of a file in which sentences stand: a whole page, or the docstrings of modules, classes, functions and names."""
    if path.suffix == ".md":
        yield path.read_text()
    elif path.suffix == ".py":
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Expr(value=ast.Constant(value=str(text))):
                    yield cleandoc(text)


def test_no_sentence_is_too_long() -> None:
    found = {name_of(p): [s for text in prose(p) for s in long_sentences(text)] for p in committed()}
    assert {name: long for name, long in found.items() if long} == {}


def test_long_sentences_are_found_in_prose_alone() -> None:
    long, short = "Many words " * 23, "Few words. " * 30
    for text in (long, f"- {long}", f"| {short} | {long} |", f"Few.\n{long}\nmore", f"{long}: {long}"):
        assert long_sentences(text), text
    for text in (short, f"```\n{long}\n```", f"    {long}", f"# {long}", f"a   drawing {long}", f"`{long}`"):
        assert not long_sentences(text), text


# ---- the glossary ----------------------------------------------------------------------------------------------------


OF_THE_API = {"sid", "rth", "all", "reset_window"}
"""Words of tokens and answers, which are texts in the code."""


SIMULATOR_ALONE = re.compile(r"ib_gateway_sim/|tests/support/sim_|tests/conformance/|db/migrations/versions/")
"""The glossary's column names what carries a word outside of the simulator, which speaks IB's language."""


def names_in_code() -> set[str]:
    """Every name that the code gives, the names of its modules and packages, and its members of enumerations."""
    found: set[str] = set()
    for path in committed():
        if path.suffix == ".py" and not SIMULATOR_ALONE.search(name_of(path)) and "tests" not in path.parts:
            found |= {path.stem, *path.relative_to(ROOT).parts, *names(ast.parse(path.read_text()))}
    return found


def test_the_names_that_the_glossary_gives_exist() -> None:
    page = (DOCS / "glossary.md").read_text()
    known = names_in_code()
    named = {
        (cells[0], name) for cells in rows(page) if len(cells) == 3 for name in re.findall(r"`([\w.]+)`", cells[2])
    }
    assert len(named) > 60
    assert sorted((word, name) for word, name in named if not {*name.split(".")} <= known | OF_THE_API) == []
