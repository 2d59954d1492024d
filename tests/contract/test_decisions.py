"""The index of decisions lists every page by its title, and says of every number without a page what became of it."""

import re
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "docs" / "decisions"
INDEX = (FOLDER / "README.md").read_text()
PAGES = {int(page.name[:4]): page for page in sorted(FOLDER.glob("[0-9]*.md"))}


def test_each_page_has_a_number_of_its_own() -> None:
    assert len(PAGES) == len(list(FOLDER.glob("[0-9]*.md")))
    assert [page.name for page in FOLDER.glob("*.md") if page not in PAGES.values()] == ["README.md"]


def test_the_index_lists_every_page_by_its_title() -> None:
    rows = [f"| [{number}]({page.name}) | {title_of(number, page)} |" for number, page in PAGES.items()]
    assert re.findall(r"^\| \[.*$", INDEX, flags=re.MULTILINE) == rows


def title_of(number: int, page: Path) -> str:
    heading = page.read_text().splitlines()[0]
    assert heading.startswith(f"# {number}. "), f"{page.name} begins with its number"
    return heading.removeprefix(f"# {number}. ")


def test_numbers_without_a_page_are_explained() -> None:
    missing = set(range(1, max(PAGES) + 1)) - set(PAGES)
    section = INDEX.partition("## Numbers without a page")[2]
    named = {
        int(word) for line in re.findall(r"^- ([\d, ]+):", section, flags=re.MULTILINE) for word in line.split(",")
    }
    assert named == missing
