"""The result of a race as board rows, and as rich and Markdown tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.race.board import BASELINE
from harness.race.statistics import best_probability, paired_ratio, rank_text, ranks, summarise
from registry.listing import Column, Listing

if TYPE_CHECKING:
    from registry.records import Run

__all__ = [
    "COLUMNS",
    "board",
    "cells",
    "dtype_suffix",
    "duration",
    "floor_of",
    "listing",
    "markdown",
]

COLUMNS = ("rank", "variant", "median", "20-80 %", "lower quartile", "against torch", "of roofline", "best", "remark")
LEAST_WIDTH = {"20-80 %": 120, "lower quartile": 140, "best": 100, "remark": 90}
WIDE = max(LEAST_WIDTH.values())


def floor_of(run: Run) -> float:
    """Return the least milliseconds that the roofline allows; 0 without a roofline."""
    return run.roofline.get("floor_ms", 0.0)


def board(run: Run) -> dict[str, Any]:
    """Return the rows of one workload, the fastest first, rows without a time last.

    Each passed row has ``median_ms``, ``q20_ms``, ``q80_ms``, ``lower_quartile_ms``, ``rounds``, ``speedup_vs_torch`` with
    ``speedup_interval`` (95 %) and ``percent_of_roofline`` (null without a roofline). A passed row of a
    variant has ``rank`` and ``p_best`` too; a baseline, marked by ``baseline``, has neither.
    """
    floor_ms = floor_of(run)
    torch = next((r.samples_ms for r in run.rows if r.variant == BASELINE and r.samples_ms), None)
    ranked = [r for r in run.rows if r.samples_ms and not r.baseline]
    samples = [r.samples_ms for r in ranked]
    places = {r.variant: (rank_text(k), p) for r, k, p in zip(ranked, ranks(samples), best_probability(samples), strict=True)}
    rows = []
    for row in run.rows:
        shown: dict[str, Any] = dict.fromkeys(
            (
                "median_ms",
                "q20_ms",
                "q80_ms",
                "lower_quartile_ms",
                "speedup_vs_torch",
                "speedup_interval",
                "percent_of_roofline",
            )
        )
        if row.samples_ms:
            summary = summarise(row.samples_ms)
            shown |= {
                "median_ms": summary.median,
                "q20_ms": summary.q20,
                "q80_ms": summary.q80,
                "lower_quartile_ms": summary.lower_quartile,
                "percent_of_roofline": 100 * floor_ms / summary.median if floor_ms else None,
            }
            if torch:
                ratio = paired_ratio(torch, row.samples_ms)
                shown |= {"speedup_vs_torch": ratio.ratio, "speedup_interval": [ratio.low, ratio.high]}
        rank, probability = places.get(row.variant, (None, None))
        shown |= {"variant": row.variant, "status": row.status, "rank": rank, "p_best": probability}
        rows.append({**shown, "baseline": row.baseline, "rounds": len(row.samples_ms), "note": row.note})
    rows.sort(key=lambda r: (r["median_ms"] is None, r["median_ms"]))
    return {"workload": run.workload, "dtype": run.dtype, "dims": run.dims, "params": run.params, "rows": rows}


def duration(ms: float, digits: int = 3) -> str:
    """Return a time with its unit: s, ms or us, by its size."""
    size, unit = next(((s, u) for s, u in ((1e3, "s"), (1.0, "ms")) if ms >= s), (1e-3, "us"))
    value = ms / size
    return f"{value:.{max(digits - len(str(int(value))), 0)}f} {unit}"


def _ratio(value: float) -> str:
    return f"{value:.2f}" if value >= 0.1 else f"{value:.2g}"  # noqa: PLR2004 (two digits either way)


def cells(row: dict[str, Any]) -> list[str]:
    """Return the cells of one row of `board`, in the order of `COLUMNS`."""
    if row["median_ms"] is None:
        return ["baseline" if row["baseline"] else "", row["variant"], row["status"], "", "", "", "", "", row["note"]]
    against = ""
    if row["speedup_vs_torch"] is not None and row["variant"] != BASELINE:
        low, high = row["speedup_interval"]
        against = f"{_ratio(row['speedup_vs_torch'])} ({_ratio(low)} to {_ratio(high)})"
    percent = row["percent_of_roofline"]
    return [
        "baseline" if row["baseline"] else row["rank"],
        row["variant"],
        duration(row["median_ms"]),
        f"{duration(row['q20_ms'])} to {duration(row['q80_ms'])}",
        duration(row["lower_quartile_ms"]),
        against,
        "" if percent is None else f"{percent:.{0 if percent >= 10 else 1}f} %",  # noqa: PLR2004 (two digits either way)
        "" if row["p_best"] is None else f"{row['p_best']:.0%}",
        row["note"],
    ]


def dtype_suffix(run: Run) -> str:
    """Return the dtype to append to a heading; "" for float32."""
    return "" if run.dtype == "float32" else f", {run.dtype}"


def listing(run: Run, width: int = WIDE) -> Listing:
    """Return one board for a terminal `width` characters wide; a narrow terminal gets fewer columns."""
    hidden = {column for column, least in LEAST_WIDTH.items() if width < least}
    dims = " ".join(f"{k}={v}" for k, v in run.dims.items())
    title = f"{run.op} at {run.workload} ({dims}), {run.protocol}, {run.threads} threads{dtype_suffix(run)}"
    left = ("rank", "variant", "remark")
    columns = [
        Column(name, key=name == "variant", wrap=name == "remark", justify="left" if name in left else "right")
        for name in COLUMNS
        if name not in hidden
    ]
    table = Listing(*columns, title=title)
    for row in board(run)["rows"]:
        style = "dim" if row["baseline"] else "red" if row["median_ms"] is None else "bold" if row["rank"][0] == "1" else ""
        shown = zip(COLUMNS, cells(row), strict=True)
        table.add(*(cell for column, cell in shown if column not in hidden), style=style)
    return table


def markdown(run: Run) -> str:
    """Return one board as a Markdown table under a heading."""
    lines = [
        f"### {run.op}, {run.workload}{dtype_suffix(run)}",
        "",
        "| " + " | ".join(COLUMNS) + " |",
        "|" + " --- |" * len(COLUMNS),
    ]
    lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in cells(row)) + " |" for row in board(run)["rows"]]
    return "\n".join(lines) + "\n"
