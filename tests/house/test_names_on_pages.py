"""Files, links and options that the pages name exist."""

import argparse
import importlib
import re

import pytest

from registry.paths import ROOT
from tests.house.pages import GENERATED, PAGES, SPAN

ROOMS = "registry|kernels|harness|trainer|simulator|models|tests|docs|results|benchmarks"
PATH = re.compile(rf"(?:{ROOMS})/[\w./-]*\w/?")
LINK = re.compile(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]*))?\)")
OPTION = re.compile(r"--[a-z][\w-]*")
COMMANDS = (
    "registry.__main__", "harness.bench", "harness.explain", "harness.gpu_check", "harness.inspect", "harness.leaderboard",
    "harness.mutate", "harness.pages", "harness.verify", "trainer.run",
)  # fmt: skip
LINE = 122  # characters: a link or a piece of code may pass 120
WRITTEN_BY_MAKE = {"docs/board.md", "docs/cuda_board.md", "docs/ladders.md"}
MADE = {"results/local/"}  # by the first command that keeps a record
OF_OTHERS = {"--shutdown-timeout": "torchrun"}


def spans(page):
    """Return the inline code of a page, what `make readme` writes left out."""
    text = GENERATED.sub("", (ROOT / page).read_text())
    return [" ".join(span[2].split()) for span in SPAN.finditer(text)]


def anchors(path):
    """Return the anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def children(parser):
    """Return the parsers of a command's sub-commands."""
    groups = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]  # noqa: SLF001 (argparse lists them nowhere else)
    return [made for group in groups for made in group.choices.values()]


@pytest.mark.parametrize("page", PAGES)
def test_every_file_that_a_page_names_exists(page):
    named = {span for span in spans(page) if PATH.fullmatch(span) and "_mine" not in span and "NAME" not in span}
    assert {n for n in named if not (ROOT / n).exists()} - MADE == set()


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_to_a_file_and_a_heading(page):
    for target, anchor in LINK.findall((ROOT / page).read_text()):
        path = ((ROOT / page).parent / target).resolve() if target else ROOT / page
        assert path.exists(), target
        assert not anchor or anchor in anchors(path), f"{target}#{anchor}"


@pytest.mark.parametrize("page", [page for page in PAGES if page not in WRITTEN_BY_MAKE])
def test_a_sentence_on_a_page_has_short_lines(page):
    """Tables, listings and outputs, and the parts that `make readme` writes, may be wider."""
    text = re.sub(r"^( *)```.*?^\1```", "", GENERATED.sub("", (ROOT / page).read_text()), flags=re.MULTILINE | re.DOTALL)
    prose = [line for line in text.splitlines() if not line.startswith(("|", "    "))]
    assert [line for line in prose if len(line) > LINE] == []


def test_every_option_that_a_page_names_exists():
    parsers = [importlib.import_module(name).parser() for name in COMMANDS]
    parsers += [made for parser in parsers for made in children(parser)]
    known = {word for parser in parsers for word in parser._option_string_actions}  # noqa: SLF001 (argparse lists them nowhere else)
    known |= set(OPTION.findall((ROOT / "conftest.py").read_text())) | set(OF_OTHERS)
    named = {word: page for page in PAGES for span in spans(page) if span.startswith("--") for word in OPTION.findall(span)}
    assert {word: page for word, page in named.items() if word not in known} == {}
    assert OF_OTHERS.keys() <= named.keys()
