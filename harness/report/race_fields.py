"""Races and champions as parts of the documents of ``--json``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.race.champions import Standing, decision_of, race_again, rule_of, undecided_message
from harness.report.boards import board
from registry.cli import given_words
from registry.enums import Status
from registry.records import Champion

if TYPE_CHECKING:
    import argparse

    from registry.documents import races as documents
    from registry.records import Run
    from registry.table import Table

__all__ = ["champion_fields", "race_fields", "standing_fields", "undecided_fields"]

NOT_RACED = "not raced"


def champion_fields(champion: Champion) -> documents.ChampionFields:
    """Return a champion and its reason."""
    return {
        "op": champion.op,
        "workload": champion.workload,
        "dims": champion.dims,
        "dtype": champion.dtype,
        "device": champion.device,
        "protocol": champion.protocol,
        "threads": champion.threads,
        "variant": champion.variant,
        "median_ms": champion.median_ms,
        "runner_up": champion.runner_up or None,
        "ratio": champion.ratio,
        "interval": [champion.ratio_low, champion.ratio_high],
        "rule": rule_of(champion),
        "reason": champion.reason,
    }


def undecided_fields(standing: Standing, table: Table, options: argparse.Namespace) -> documents.UndecidedFields | None:
    """Return why a race decides no champion; None if it decides one."""
    if (undecided := standing.undecided) is None:
        return None
    return {
        "op": undecided.run.op,
        "workload": undecided.run.workload,
        "winner": undecided.winner,
        "runner_up": undecided.runner_up,
        "ratio": undecided.interval.ratio,
        "interval": [undecided.interval.low, undecided.interval.high],
        "message": undecided_message(standing, table, options),
        "command": race_again(undecided.run, table, *given_words(options)),
    }


def race_fields(run: Run, table: Table, options: argparse.Namespace) -> documents.RaceFields:
    """Return one race and its winner. The winner follows from this race alone."""
    decision = decision_of(run, table)
    champion = decision if isinstance(decision, Champion) else None
    return standing_fields(Standing(run, champion, None if isinstance(decision, Champion) else decision), table, options)


def standing_fields(standing: Standing, table: Table, options: argparse.Namespace) -> documents.RaceFields:
    """Return the deciding race of one workload and its champion."""
    run, champion = standing.run, standing.champion
    undecided = undecided_fields(standing, table, options)
    return {
        "op": run.op,
        "workload": run.workload,
        "dims": run.dims,
        "params": run.params,
        "dtype": run.dtype,
        "device": run.device,
        "protocol": run.protocol,
        "threads": run.threads,
        "rows": [_row(row, champion, undecided) for row in board(run)["rows"]],
        "champion": champion_fields(champion) if champion else None,
        "undecided": undecided,
        "controls": run.controls,
        "roofline": {name: value for name, value in run.roofline.items() if name != "floor_ms"},
        "reproduce": race_again(run, table, *given_words(options)),
    }


def _row(row: dict[str, Any], champion: Champion | None, undecided: documents.UndecidedFields | None) -> documents.RowFields:
    """Return a row of `harness.report.boards.board` with its proof and its verdict."""
    is_baseline, raced = row["baseline"], row["median_ms"] is not None
    if is_baseline:
        verdict = "baseline"
    elif not raced:
        verdict = NOT_RACED
    elif champion is None:
        noisy = undecided is not None and row["variant"] in (undecided["winner"], undecided["runner_up"])
        verdict = "undecided" if noisy else "slower"
    elif row["variant"] == champion.variant:
        verdict = "champion"
    else:
        verdict = "tie" if row["rank"].startswith("1") and not row["rank"][1:2].isdigit() else "slower"
    without_proof = row["status"] in {Status.UNPROVEN, Status.UNLOADABLE}
    return {
        "variant": row["variant"],
        "baseline": is_baseline,
        "proof": None if is_baseline else row["status"] if without_proof else "passed",
        "status": row["status"],
        "verdict": verdict,
        "rank": row["rank"] and row["rank"].replace("\N{EN DASH}", "-"),
        "p_best": row["p_best"],
        "lower_quartile_ms": row["lower_quartile_ms"],
        "median_ms": row["median_ms"],
        "q20_ms": row["q20_ms"],
        "q80_ms": row["q80_ms"],
        "speedup_vs_torch": row["speedup_vs_torch"],
        "speedup_interval": row["speedup_interval"],
        "percent_of_roofline": row["percent_of_roofline"],
        "rounds": row["rounds"],
        "note": row["note"],
    }
