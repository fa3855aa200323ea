"""Tables for terminals in which nothing is ever cut: a terminal that is too narrow shows a block of lines for each row.

rich's own tables cut or break cells where they do not fit, also the names by which a reader tells one row from another.
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
BETWEEN, EDGE = 3, 1  # characters that a column's frame and padding take, and that the last one takes more


@dataclass(frozen=True)
class Column:
    """A column of a listing.

    Attributes
    ----------
    key : bool
        It names the row: in a block, it stands in the first line.
    wrap : bool
        Its cells are prose that may go over several lines, broken at spaces. Cells of other columns are never broken.
    """

    heading: str
    key: bool = False
    wrap: bool = False
    justify: Literal["left", "right"] = "left"


class Listing:
    """Rows under headings, as a rich renderable.

    Parameters
    ----------
    *columns : Column or str
        A plain string is a heading of a column that names nothing and is never broken.
    title : str
        A line above; "" for none.
    """

    def __init__(self, *columns: Column | str, title: str = "") -> None:
        self.columns = [column if isinstance(column, Column) else Column(column) for column in columns]
        self.title = title
        self.rows: list[tuple[list[Text], str]] = []

    def add(self, *cells: str | Text, style: str = "") -> None:
        """Add a row; a plain string is shown as it is, without markup."""
        texts = [cell if isinstance(cell, Text) else Text(cell) for cell in cells]
        if len(texts) != len(self.columns):
            raise ValueError(f"{len(texts)} cells for {len(self.columns)} columns")
        self.rows.append((texts, style))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield a table if each column has the width it needs, else a block of lines for each row."""
        if self.title:
            yield Text(self.title, style="table.title")
        widths = self._widths(console, options)
        if widths is None:
            yield from self._blocks(options.max_width)
        else:
            yield self._table(widths)

    def _widths(self, console: Console, options: ConsoleOptions) -> list[int] | None:
        """Return a width for each column, None if there is not enough room for all of them."""
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
        for _ in range(spare):  # to the column that is furthest from its wish
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
    """Return the texts as lines, as many in each as have room."""
    lines: list[Text] = []
    for text in texts:
        if lines and lines[-1].cell_len + len(apart) + text.cell_len <= width:
            lines[-1] = Text.assemble(lines[-1], apart, text)
        else:
            lines.append(text)
    return lines
