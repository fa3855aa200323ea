"""The documents about right and wrong variants: proofs, comparisons at the shapes of a run, mutants, counters."""

from __future__ import annotations

from typing import Annotated, Any, TypedDict

__all__ = ["CallFields", "ComparedCalls", "Inspected", "LineFields", "MutantFields", "Mutated", "ProofFields", "Proofs"]

Numbers = dict[str, int]


class ProofFields(TypedDict):
    """The proof of one variant."""

    op: Annotated[str, "the op"]
    variant: Annotated[str, "the variant"]
    device: Annotated[str, "`cpu`, `sim` or `cuda`"]
    status: Annotated[
        str,
        "`passed`; `refused` (it supports no drawn problem); `partial` (too few problems); `failed`, `crashed`, `hung` or a "
        "finding of the simulator such as `race`; `source_changed`; `unloadable`",
    ]
    gate: Annotated[str, "the check that rejected the variant, such as `values`; `` if none did"]
    problems: Annotated[int, "problems that the variant passed"]
    problem: Annotated[str | None, "the failing problem, smallest found, in one line"]
    message: Annotated[
        str,
        "the failure in one line: array, index, value, expected value, tolerance; or the file and why it could not be loaded",
    ]
    reproduce: Annotated[str, "the command that repeats the failing problem, or the whole proof if none failed"]
    worst_over_tolerance: Annotated[float, "the largest error over its tolerance; at most 1 if passed"]
    fakes_rejected: Annotated[float, "share of the fake kernels that the problems rejected"]
    seconds: Annotated[float, "seconds of the proof"]
    stored: Annotated[bool, "whether the proof was stored as evidence; not with `--problem`, nor for a part of the dtypes"]
    revoked: Annotated[str, "the reason why a race revoked the proof; `` if none did"]


class Proofs(TypedDict):
    """The proofs of the selected variants, and the files that could not be loaded."""

    results: Annotated[list[ProofFields], "one entry for each variant"]
    folder: Annotated[str, "the folder of the records"]


class LineFields(TypedDict):
    """The counts of one line of the source."""

    path: Annotated[str, "the file"]
    line: Annotated[int, "the line"]
    code: Annotated[str, "its text"]
    instructions: Annotated[int, "warp instructions"]
    active_lanes: Annotated[int, "lanes that took part in them"]
    requests: Annotated[int, "accesses of a warp to global or local memory"]
    sectors: Annotated[int, "32-byte sectors that they touch"]
    ideal_sectors: Annotated[int, "the fewest sectors that would do"]
    shared_requests: Annotated[int, "accesses of a warp to shared memory"]
    wavefronts: Annotated[int, "turns that they take"]
    bank_conflicts: Annotated[int, "turns beyond those without conflicts"]
    bytes_loaded: Annotated[int, "bytes over all lanes"]
    bytes_stored: Annotated[int, "bytes over all lanes"]
    flops: Annotated[Numbers, "floating-point operations by type"]


class FootprintFields(TypedDict):
    """The resources that the kernels of a CUDA variant take, by NVIDIA's compiler: of each the largest amount."""

    architecture: Annotated[str, "the architecture of the GPU, such as `sm_80`"]
    kernels: Annotated[int, "the number of kernels"]
    registers: Annotated[int, "registers of a thread"]
    spilled: Annotated[int, "bytes of spilled registers"]
    shared: Annotated[int, "bytes of static shared memory"]
    occupancy: Annotated[float, "the smallest occupancy"]


class Inspected(TypedDict):
    """The counters of one call of a CUDA variant in the simulator. A fault of the kernel is an error of kind `failed`."""

    op: Annotated[str, "the op"]
    variant: Annotated[str, "the variant"]
    dims: Annotated[Numbers, "the sizes of the call"]
    dtype: Annotated[str, "the dtype"]
    launches: Annotated[int, "kernel launches"]
    lines: Annotated[list[LineFields], "the counts of each line"]
    total: Annotated[dict[str, Any], "the sums of these counts"]
    mix: Annotated[Numbers, "warp instructions by opcode"]
    branch_efficiency: Annotated[float, "share of the branches at which no warp diverges"]
    bounds_us: Annotated[
        dict[str, dict[str, Any]], "per GPU the least microseconds by data sheet (`time`) and the limit (`set_by`)"
    ]
    workload: Annotated[str, "the workload of these bounds"]
    footprint: Annotated[FootprintFields | None, "the resources of the kernels; null without NVRTC"]
    advice: Annotated[list[str], "advice, one finding each"]


class MutantFields(TypedDict):
    """One planted bug."""

    op: Annotated[str, "the op"]
    variant: Annotated[str, "the variant that was changed"]
    rule: Annotated[str, "the rule of the bug"]
    file: Annotated[str, "the changed file"]
    line: Annotated[int, "the changed line"]
    original: Annotated[str, "its text"]
    mutated: Annotated[str, "its changed text"]
    status: Annotated[str, "`survived`; the check that found the bug; or the reason why it does not count"]
    message: Annotated[str, "the failure, or the reason, in words"]
    seconds: Annotated[float, "seconds of its proof"]
    reproduce: Annotated[str, "the command that proves the changed variant"]


class Mutated(TypedDict):
    """The planted bugs, and the share that the battery found."""

    score: Annotated[float, "share of the counted bugs that were found"]
    counts: Annotated[Numbers, "number of bugs by outcome"]
    mutants: Annotated[list[MutantFields], "one entry for each bug"]


class CallFields(TypedDict):
    """One call of a variant at the shape of a training run, compared with the reference."""

    op: Annotated[str, "the op"]
    variant: Annotated[str, "the variant"]
    source: Annotated[str, "the hash of its sources"]
    contract: Annotated[str, "the hash of the contract of the op"]
    dims: Annotated[Numbers, "the sizes"]
    params: Annotated[dict[str, Any], "the parameters"]
    status: Annotated[
        str, "`passed`; `not_compared` (too little memory); `failed`, `crashed`, `hung` or a finding of the simulator"
    ]
    gate: Annotated[str, "the check that rejected the variant; `` if none did"]
    message: Annotated[str, "the worst element in one line; `` if passed"]
    dtype: Annotated[str, "the dtype"]
    device: Annotated[str, "`cpu`, `sim` or `cuda`"]
    threads: Annotated[int, "CPU threads"]
    compared: Annotated[str, "number of compared elements, in words"]
    worst_over_tolerance: Annotated[float, "the largest error over its tolerance; at most 1 if passed"]
    seconds: Annotated[float, "seconds of the comparison"]
    reproduce: Annotated[str, "the command that repeats the comparison"]
    machine: Annotated[str, "the machine"]
    versions: Annotated[dict[str, str], "the libraries"]
    created: Annotated[str, "the time in UTC"]


class ComparedCalls(TypedDict):
    """The calls of a training run, compared with the reference."""

    results: Annotated[list[CallFields], "one entry for each call"]
