"""A self-contained HTML page of boards: per workload, each row's median and 20-80 % interval, the roofline and torch."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2

from harness.race.board import BASELINE
from harness.report.boards import COLUMNS, board, cells, dtype_suffix, duration, floor_of
from registry.errors import CrucibleError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from registry.records import Run

__all__ = ["write_page"]

TEMPLATE = Path(__file__).with_name("html_page.jinja")
LEFT, WIDTH, ROW = 190, 900, 26
STEPS = (1, 2, 5)


def _ticks(low: float, high: float) -> list[float]:
    """Return the axis labels between two positive numbers: steps of 1, 2 and 5, or powers of ten on a long axis."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    steps = STEPS if len(decades) < 4 else STEPS[:1]  # noqa: PLR2004 (labels would touch)
    return [s * 10.0**d for d in decades for s in steps if low <= s * 10.0**d <= high]


def _plot(run: Run, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the positions of a plot with a logarithmic time axis; empty without a time."""
    floor = floor_of(run)
    timed = [r for r in rows if r["median_ms"]]
    edges = [r[key] for r in timed for key in ("q20_ms", "q80_ms")] + ([floor] if floor else [])
    if not edges:
        return {}
    low, high = min(edges) / 1.25, max(edges) * 1.25

    def x(ms: float) -> float:
        return round(LEFT + (WIDTH - LEFT - 20) * math.log(ms / low) / math.log(high / low), 1)

    lines = [
        {
            "name": row["variant"],
            "y": ROW * number + ROW,
            "x": x(row["median_ms"]),
            "x20": x(row["q20_ms"]),
            "x80": x(row["q80_ms"]),
            "label": duration(row["median_ms"]),
            "kind": "baseline" if row["baseline"] else "best" if row["rank"].startswith("1") else "variant",
        }
        for number, row in enumerate(timed)
    ]
    torch = next((line["x"] for line in lines if line["name"] == BASELINE), None)
    height = ROW * (len(lines) + 1)
    ticks = [{"x": x(ms), "label": duration(ms, digits=0)} for ms in _ticks(low, high)]
    roof = {"x": x(floor), "label": duration(floor)} if floor else None
    return {"lines": lines, "torch": torch, "roof": roof, "ticks": ticks, "height": height, "width": WIDTH, "left": LEFT}


def write_page(path: Path, runs: Sequence[Run]) -> None:
    """Write one HTML file that needs no other file.

    Raises
    ------
    CrucibleError
        The file cannot be written.
    """
    boards = []
    for run in runs:
        rows = board(run)["rows"]
        boards.append({"run": run, "dtype": dtype_suffix(run), "plot": _plot(run, rows), "rows": [(r, cells(r)) for r in rows]})
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined)
    page = environment.from_string(TEMPLATE.read_text()).render(
        boards=boards, columns=COLUMNS, machine=runs[0].machine if runs else ""
    )
    try:
        path.write_text(page)
    except OSError as error:
        raise CrucibleError(f"cannot write {path}: {error.strerror}") from error
