"""Tables for terminals that never cut a cell: a terminal that is too narrow shows a block of lines for each row.

The tables of rich cut or break cells that do not fit, also the names that distinguish one row from another.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from rich.box import HEAVY_HEAD
from rich.measure import Measurement
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console, ConsoleOptions, RenderResult

__all__ = ["Column", "Listing"]

INDENT = 4
BETWEEN, EDGE = 3, 1  # characters for the frame and padding of a column, and extra characters for the last column


@dataclass(frozen=True)
class Column:
    """A column of a listing.

    Attributes
    ----------
    key : bool
        The column names the row. A block shows it in its first line.
    wrap : bool
        The cells are prose that may be broken at spaces into several lines. Cells of other columns are never broken.
    """

    heading: str
    key: bool = False
    wrap: bool = False
    justify: Literal["left", "right"] = "left"


class Listing:
    """A table of rows under headings, which rich can print.

    Parameters
    ----------
    *columns : Column or str
        A plain string is the heading of a column with default settings.
    title : str
        A line above the table; "" for no line.
    """

    def __init__(self, *columns: Column | str, title: str = "") -> None:
        self.columns = [column if isinstance(column, Column) else Column(column) for column in columns]
        self.title = title
        self.rows: list[tuple[list[Text], str]] = []

    def add(self, *cells: str | Text, style: str = "") -> None:
        """Add a row. A plain string is shown literally, without markup."""
        texts = [cell if isinstance(cell, Text) else Text(cell) for cell in cells]
        if len(texts) != len(self.columns):
            raise ValueError(f"{len(texts)} cells for {len(self.columns)} columns")
        self.rows.append((texts, style))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield a table if the terminal is wide enough, else a block of lines for each row."""
        if self.title:
            yield Text(self.title, style="table.title")
        widths = self._widths(console, options)
        if widths is None:
            yield from self._blocks(options.max_width)
        else:
            yield self._table(widths)

    def _widths(self, console: Console, options: ConsoleOptions) -> list[int] | None:
        """Return a width for each column, or None if the terminal is too narrow."""
        least, most = [], []
        wide = options.update(width=max(cell.cell_len for row, _ in [*self.rows, ([Text()], "")] for cell in row) + 1)
        for number, column in enumerate(self.columns):
            cells = [Measurement.get(console, wide, row[number]) for row, _ in self.rows]
            heading = Measurement.get(console, wide.update(width=len(column.heading) + 1), Text(column.heading))
            widest = max((cell.maximum for cell in cells), default=0)
            least.append(max(heading.minimum, max((c.minimum for c in cells), default=0) if column.wrap else widest))
            most.append(max(heading.maximum, widest))
        spare = options.max_width - BETWEEN * len(least) - EDGE - sum(least)
        if spare < 0:
            return None
        for _ in range(spare):  # to the column that lacks most of its full width
            number = max(range(len(least)), key=lambda n: most[n] - least[n], default=0)
            if not least or least[number] >= most[number]:
                break
            least[number] += 1
        return least

    def _table(self, widths: Sequence[int]) -> Table:
        table = Table(box=HEAVY_HEAD)
        for column, width in zip(self.columns, widths, strict=True):
            table.add_column(column.heading, width=width, justify=column.justify, overflow="fold")
        for row, style in self.rows:
            table.add_row(*row, style=style)
        return table

    def _blocks(self, width: int) -> RenderResult:
        for row, style in self.rows:
            named = list(zip(self.columns, row, strict=True))
            for line in _packed([cell for column, cell in named if column.key], width, "  "):
                yield Text.assemble(line, style=f"bold {style}".strip(), overflow="fold")
            facts = [(c, Text.assemble((f"{c.heading} ", "dim"), cell)) for c, cell in named if not c.key and cell.plain]
            short = _packed([fact for column, fact in facts if not column.wrap], width - INDENT, "; ")
            for line in (*short, *(fact for column, fact in facts if column.wrap)):
                yield Padding(line, (0, 0, 0, INDENT))


def _packed(texts: Sequence[Text], width: int, apart: str) -> list[Text]:
    """Return the texts as lines, each with as many texts as fit."""
    lines: list[Text] = []
    for text in texts:
        if lines and lines[-1].cell_len + len(apart) + text.cell_len <= width:
            lines[-1] = Text.assemble(lines[-1], apart, text)
        else:
            lines.append(text)
    return lines
