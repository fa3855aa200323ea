"""A listing that names a file of the project shows text of this file; files called ``*_mine`` are the reader's own."""

import re

import pytest

from registry.paths import ROOT

LISTING = re.compile(r"```(?:python|c\+\+)\n(?:#|//) (kernels/\S+)\n(.*?)\n```", flags=re.DOTALL)
PAGES = sorted((ROOT / "docs").glob("*.md"))
FOUND = [(page.name, *listing) for page in PAGES for listing in LISTING.findall(page.read_text())]
LISTINGS = [(page, file, text) for page, file, text in FOUND if "_mine." not in file]


def test_there_are_listings():
    assert {"add-an-op.md", "tutorial.md"} <= {page for page, _, _ in LISTINGS}


@pytest.mark.parametrize(("page", "file", "text"), LISTINGS)
def test_a_listing_is_part_of_the_file_it_names(page, file, text):
    assert text in (ROOT / file).read_text(), page
