"""Functions and modules stay small enough to be read at once; what is larger is named here, and nothing else is."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from statistics import median

ROOT = Path(__file__).parents[2]
OF_THE_PRODUCT = (
    *("layers/shared/nautilus", "functions", "ib_bridge", "stream", "strategy_host", "strategy_runner", "export_task"),
    *("dev", "clients/python"),
)
"""What runs at people's, and what starts it; the simulator and the measurements have a limit for functions alone."""
FOLDERS = (*OF_THE_PRODUCT, "ib_gateway_sim", "benchmarks")
LONGEST_FUNCTION = 60
LONGEST_MODULE = 350
MEDIAN_FUNCTION = 8
MOST_POSITIONAL = 4

# To be split. A row leaves when its module or function has become small; none comes.
LONG_FUNCTIONS: set[str] = set()
LONG_MODULES: set[str] = set()


def sources(*folders: str) -> Iterator[tuple[str, str]]:
    """(path below the root, text) of each module."""
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield path.relative_to(ROOT).as_posix(), path.read_text()


@cache
def lengths(text: str) -> list[tuple[str, int]]:
    """(name, lines) of each function of a module, methods and inner functions too."""
    nodes = (each for each in ast.walk(ast.parse(text)) if isinstance(each, (ast.FunctionDef, ast.AsyncFunctionDef)))
    return [(each.name, (each.end_lineno or each.lineno) - each.lineno + 1) for each in nodes]


def too_long(functions: dict[str, int]) -> set[str]:
    return {name for name, lines in functions.items() if lines > LONGEST_FUNCTION}


def test_no_function_is_longer_than_a_screen() -> None:
    functions = {f"{path}:{name}": n for path, text in sources(*FOLDERS) for name, n in lengths(text)}
    assert too_long(functions) == LONG_FUNCTIONS


def positional(text: str) -> list[tuple[str, int]]:
    """(name, number of arguments that a call may give without their names) of each function, `self` apart."""
    found = []
    for each in ast.walk(ast.parse(text)):
        if isinstance(each, (ast.FunctionDef, ast.AsyncFunctionDef)) and not routed(each):
            names = [one.arg for one in (*each.args.posonlyargs, *each.args.args)]
            found.append((each.name, len(names) - (names[:1] in (["self"], ["cls"]))))
    return found


def routed(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """FastAPI calls it, always by names."""
    return any("router." in ast.unparse(one) for one in function.decorator_list)


def test_a_call_names_its_arguments_where_there_are_more_than_four() -> None:
    many = {
        f"{path}:{name}"
        for path, text in sources(*OF_THE_PRODUCT)
        for name, n in positional(text)
        if n > MOST_POSITIONAL
    }
    assert many == set()
    assert positional("def f(self, a, b, c, d, e, *, g): ...") == [("f", 5)]


def test_half_of_the_functions_have_eight_lines_at_most() -> None:
    assert median(n for _, text in sources(*FOLDERS) for _, n in lengths(text)) <= MEDIAN_FUNCTION


def test_no_module_is_longer_than_a_reader_can_hold() -> None:
    assert {path for path, text in sources(*OF_THE_PRODUCT) if text.count("\n") > LONGEST_MODULE} == LONG_MODULES


def test_every_folder_with_code_is_measured() -> None:
    """A folder that is made anew is named above, or here with what makes it another thing."""
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")} | {"layers", "functions", "clients"}
    measured = {folder.split("/")[0] for folder in FOLDERS}
    assert packages - measured == {"tests"}
    assert all(list(sources(folder)) for folder in FOLDERS)


def test_a_function_of_one_line_more_is_found() -> None:
    longest = "def f():\n" + "    x = 1\n" * (LONGEST_FUNCTION - 1)
    assert too_long(dict(lengths(longest))) == set()
    assert too_long(dict(lengths(longest + "    x = 2\n"))) == {"f"}
