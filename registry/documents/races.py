"""The documents about times: races, champions, boards, comparisons with another revision."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypedDict

__all__ = [
    "AgreementFields",
    "ChampionFields",
    "Checked",
    "Compared",
    "ComparisonFields",
    "DifferenceFields",
    "Explained",
    "GpuChecked",
    "Interval",
    "Leaderboard",
    "ProvenFields",
    "RaceFields",
    "Races",
    "RevokedFields",
    "RowFields",
    "UndecidedFields",
]

Numbers = dict[str, int]
Interval = Annotated[list[float], "the two bounds of the 95 % interval"]


class RowFields(TypedDict):
    """One variant or baseline of a race, the fastest first. The times are null without a race."""

    variant: Annotated[str, "the name of the variant, or `torch`, or `numpy` for the reference"]
    baseline: Annotated[bool, "whether it is a baseline, which cannot become champion"]
    proof: Annotated[str | None, "`passed`, or why it was not raced: `unproven`, `unloadable`; null for a baseline"]
    status: Annotated[
        str,
        "`passed` if it has times; `wrong`, `failed`, `crashed`, `hung`, `implausible`; `unproven`, `refused`, `unloadable`",
    ]
    verdict: Annotated[
        str,
        "`champion`; `tie` (its interval with the fastest contains 1); `slower`; `undecided` (no champion); `baseline`; "
        "`not raced`",
    ]
    rank: Annotated[str | None, "its place, such as `1` or `2-3` for a tie; null for a baseline"]
    p_best: Annotated[float | None, "probability of being the fastest, by bootstrap"]
    lower_quartile_ms: Annotated[float | None, "lower quartile of the times: the number that decides"]
    median_ms: Annotated[float | None, "median of the times"]
    q20_ms: Annotated[float | None, "20 % quantile of the times"]
    q80_ms: Annotated[float | None, "80 % quantile of the times"]
    speedup_vs_torch: Annotated[float | None, "torch's time over its time"]
    speedup_interval: Annotated[list[float] | None, "95 % interval of this ratio"]
    percent_of_roofline: Annotated[float | None, "share of the speed that the measured roofline allows"]
    rounds: Annotated[int, "number of times"]
    note: Annotated[str, "a remark, such as the reason why it was not raced, with the command to paste"]


class ChampionFields(TypedDict):
    """The winner at one workload, and the reason."""

    op: Annotated[str, "the op"]
    workload: Annotated[str, "the workload"]
    dims: Annotated[Numbers, "the sizes"]
    dtype: Annotated[str, "the dtype"]
    device: Annotated[str, "`cpu` or `cuda`"]
    protocol: Annotated[str, "the protocol of the race"]
    threads: Annotated[int, "CPU threads"]
    variant: Annotated[str, "the champion"]
    median_ms: Annotated[float, "its median time"]
    runner_up: Annotated[str | None, "the next variant; null if there is none"]
    ratio: Annotated[float, "the runner-up's time over the champion's time"]
    interval: Annotated[Interval, "95 % interval of this ratio"]
    rule: Annotated[
        Literal["fastest", "tie_without_thread_pool", "tie_with_shorter_file", "only"], "the rule that made it champion"
    ]
    reason: Annotated[str, "the reason in words"]


class UndecidedFields(TypedDict):
    """A race that decides no champion, since it was too noisy."""

    op: Annotated[str, "the op"]
    workload: Annotated[str, "the workload"]
    winner: Annotated[str, "the fastest variant"]
    runner_up: Annotated[str, "the next variant"]
    ratio: Annotated[float, "the runner-up's time over the winner's time"]
    interval: Annotated[Interval, "95 % interval of this ratio"]
    message: Annotated[str, "the reason in words"]
    command: Annotated[str, "the command that races again, with more time"]


class RaceFields(TypedDict):
    """One race: an op at one workload."""

    op: Annotated[str, "the op"]
    workload: Annotated[str, "the workload, such as `gpt2-124m-b4-t64/qkv`"]
    dims: Annotated[Numbers, "the sizes"]
    params: Annotated[dict[str, Any], "the parameters"]
    dtype: Annotated[str, "the dtype"]
    device: Annotated[str, "`cpu` or `cuda`"]
    protocol: Annotated[str, "the protocol, such as `cpu-warm`"]
    threads: Annotated[int, "CPU threads"]
    rows: Annotated[list[RowFields], "the contestants"]
    champion: Annotated[ChampionFields | None, "the winner; null if the race is undecided"]
    undecided: Annotated[UndecidedFields | None, "why there is no champion"]
    controls: Annotated[dict[str, float], "the controls of the session (docs/races.md)"]
    roofline: Annotated[dict[str, float], "the measured roofline of the session"]
    reproduce: Annotated[str, "the command that races this workload again"]


class RevokedFields(TypedDict):
    """A proof that a race revoked, because the outputs were wrong at the raced shape."""

    op: Annotated[str, "the op"]
    variant: Annotated[str, "the variant"]
    message: Annotated[str, "the reason"]
    reproduce: Annotated[str, "the command that repeats the failing problem"]


class Races(TypedDict):
    """The races of the selected ops."""

    races: Annotated[list[RaceFields], "one entry for each op and workload"]
    not_raced: Annotated[list[str], "ops of which no variant has fresh evidence"]
    refused: Annotated[list[str], "races that were not stored, because the machine was busy"]
    revoked: Annotated[list[RevokedFields], "proofs that the races revoked"]
    seconds: Annotated[dict[str, float], "the time of each part of the command"]
    stored: Annotated[str | None, "the folder of the records; null if none was stored"]


class ComparisonFields(TypedDict):
    """One variant at one workload, in the working tree (now) and in the other revision (then)."""

    op: Annotated[str, "the op"]
    workload: Annotated[str, "the workload"]
    variant: Annotated[str, "the variant"]
    verdict: Annotated[str, "`SAME`, `FASTER`, `SLOWER`, `UNDECIDED`, `NEW`, `UNPROVEN`, or the status of a failure"]
    ratio: Annotated[float | None, "time now over time then; null without a race"]
    interval: Annotated[list[float] | None, "95 % interval of this ratio"]
    rounds: Annotated[int, "number of times of each"]
    note: Annotated[str, "a remark"]


class Compared(TypedDict):
    """The working tree against another revision."""

    revision: Annotated[str, "the revision as it was named"]
    commit: Annotated[str, "its commit"]
    comparisons: Annotated[list[ComparisonFields], "one entry for each op, workload and variant"]


class Leaderboard(TypedDict):
    """The boards and champions that follow from the records."""

    machine: Annotated[str, "the machine of the records"]
    races: Annotated[list[RaceFields], "the deciding race of each op and workload"]
    stored: Annotated[str, "the folder of the written champions"]


class DifferenceFields(TypedDict):
    """A champion on file that does not follow from the records."""

    op: Annotated[str, "the op"]
    workload: Annotated[str, "the workload"]
    written: Annotated[str | None, "the champion on file"]
    derived: Annotated[str | None, "the champion that follows from the records"]


class Checked(TypedDict):
    """The champions on file, compared with the records."""

    champions: Annotated[int, "the number of champions on file"]
    differences: Annotated[list[DifferenceFields], "the champions that differ"]


class Explained(TypedDict):
    """The champions of an op with the reasons, or why there is none."""

    machine: Annotated[str, "the machine of the records"]
    champions: Annotated[list[ChampionFields], "one entry for each decided workload"]
    undecided: Annotated[list[UndecidedFields], "the races that decide no champion"]


class AgreementFields(TypedDict):
    """A GPU and the simulator on one variant."""

    op: Annotated[str, "the op"]
    variant: Annotated[str, "the variant"]
    problems: Annotated[int, "compared problems"]
    elements: Annotated[int, "compared elements"]
    equal: Annotated[int, "elements with equal bits"]
    ulps: Annotated[int, "the largest distance of two elements, in units in the last place"]
    note: Annotated[str, "why the variant was not compared; `` if it was"]


class ProvenFields(TypedDict):
    """The proof of one variant on the GPU."""

    op: Annotated[str, "the op"]
    variant: Annotated[str, "the variant"]
    status: Annotated[str, "as for `harness.verify`"]
    problems: Annotated[int, "problems that the variant passed"]
    worst_over_tolerance: Annotated[float, "the largest error over its tolerance"]
    reproduce: Annotated[str, "the command that repeats the failing problem, or the proof"]


class GpuChecked(TypedDict):
    """All checks that need a GPU."""

    machine: Annotated[str, "the machine of the records"]
    proofs: Annotated[list[ProvenFields], "the proofs on the GPU"]
    agreements: Annotated[list[AgreementFields], "the comparisons with the simulator"]
    races: Annotated[list[RaceFields], "the races"]
    failures: Annotated[list[str], "the parts that could not run, each with the reason"]
    stored: Annotated[str, "the folder of the records"]
