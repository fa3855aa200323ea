"""A listing never cuts a name of a row, in a terminal of any width."""

from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from registry.listing import Column, Listing

NAMES = st.text("abcdefghijk_019", min_size=1, max_size=38)
PROSE = st.lists(st.text("lmnop", min_size=1, max_size=12), max_size=15).map(" ".join)
ROWS = st.lists(st.tuples(NAMES, NAMES, st.integers(0, 10**7).map(str), PROSE), min_size=1, max_size=6)


def shown(listing, width):
    """Return the lines of a listing in a terminal of this width."""
    console = Console(width=width, color_system=None)
    with console.capture() as capture:
        console.print(listing)
    return capture.get().splitlines()


def listing_of(rows):
    """Return a listing with two columns of names, one of numbers and one of prose."""
    listing = Listing(
        Column("op", key=True), Column("variant", key=True), Column("n", justify="right"), Column("why", wrap=True)
    )
    for row in rows:
        listing.add(*row)
    return listing


@given(rows=ROWS, width=st.integers(40, 200))
def test_names_and_numbers_are_whole_and_no_line_is_too_long(rows, width):
    lines = shown(listing_of(rows), width)
    assert max(map(len, lines)) <= width
    words = [set(line.replace(";", " ").replace("│", " ").split()) for line in lines]
    for op, variant, number, prose in rows:
        assert any(op in line for line in words)
        assert any(variant in line for line in words)
        assert any(number in line for line in words)
        assert all(any(word in line for line in words) for word in prose.split())


@given(rows=ROWS)
def test_a_wide_terminal_shows_one_line_for_each_row(rows):
    lines = shown(listing_of(rows), 1000)
    assert len(lines) == len(rows) + 4
    for line, row in zip(lines[3:-1], rows, strict=True):
        assert [cell.strip() for cell in line.strip("│").split("│")] == list(row)


@given(text=st.sampled_from(["[red]not markup[/]", "[/]", "a[0]"]))
def test_cells_are_shown_literally(text):
    listing = Listing("what")
    listing.add(text)
    assert any(text in line for line in shown(listing, 80))
