"""``python -m harness.inspect``: count the memory requests of a CUDA variant, line by line, without a GPU.

The command runs one problem in the simulator's checked mode. It counts requests in PTX, before NVIDIA's assembler merges some
of them, so the counts are upper bounds. The times at the end are lower bounds from data sheets, not predictions for a GPU.
"""

from __future__ import annotations

import linecache
import sys
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from harness.cuda.advice import advice
from harness.cuda.datasheets import SHEETS, bound
from harness.cuda.footprint import Footprint, footprint
from harness.cuda.nvrtc import unavailable
from harness.proof.cases.values import materialise
from harness.race.board import params_for, parse_dims, shrunken
from models.workloads import STANDARD_STEP, Workload, workloads_of
from registry.cli import add_kernels_path, wide_console
from registry.command_parser import CommandParser
from registry.cuda import SimulatedFault, simulation
from registry.devices import Cpu
from registry.dtypes import DTYPES
from registry.enums import Device
from registry.errors import CrucibleError, RequestError, UnknownNameError
from registry.listing import Column, Listing
from registry.op import Role
from registry.output import Output, execute
from registry.problem import Problem
from registry.table import discover

if TYPE_CHECKING:
    import argparse

    from rich.console import Console

    from registry.documents import proofs as documents
    from registry.op import Op
    from registry.variant import Variant
    from simulator import Counters
    from simulator.interface.counters import LineCounters

__all__ = ["Report", "inspect", "lines_listing", "main", "parser"]

WORK = 4e6
LEAST_SHARE = 0.01  # of the instructions, sectors and wavefronts: lines below this share in all three are left out
WARP = 32


@dataclass(frozen=True)
class Report:
    """The counters of one call, and the bounds and advice that follow from them.

    Attributes
    ----------
    counters : simulator.Counters
        The sum over all launches of the call.
    bounds : dict
        Per GPU, the least microseconds of a call at the workload's shape, and the unit that limits it.
    """

    variant: Variant
    dims: dict[str, int]
    dtype: str
    launches: int
    counters: Counters
    advice: list[str]
    bounds: dict[str, tuple[float, str]]
    workload: str
    footprint: Footprint | None


def _merged(parts: list[Counters]) -> Counters:
    """Return the sum of the counters of several launches."""
    from simulator import Counters

    whole = Counters()
    for part in parts:
        whole.add(part)
    return whole


def _call(variant: Variant, problem: Problem) -> list[Any]:
    op = variant.op
    values = materialise(op, problem)
    cpu = Cpu()  # aligned to 64 bytes; a GPU's allocations are aligned to at least as much
    arrays = {a.name: cpu.empty(a.shape(problem.dims), a.numpy_dtype(problem.dtype)) for a in op.arguments}
    for name, array in arrays.items():
        array[...] = values.get(name, 0)
    params = dict(problem.params)
    unwritten = [arrays[a.name] for a in op.with_role(Role.OUTPUT)]
    if variant.workspace:
        params["workspace"] = cpu.empty((variant.workspace_size(problem.dims, 1),), np.float32)
        unwritten.append(params["workspace"])
    with simulation("checked", unwritten=unwritten) as launches:
        variant.function(*arrays.values(), **params)
    return launches


def inspect(variant: Variant, dims: dict[str, int], workload: str | None = None, dtype: str = "float32") -> Report:
    """Run one call in checked mode and return its report.

    Raises
    ------
    SimulatedFault
        The simulator found a fault of the kernel.
    RequestError
        The variant does not take this shape or dtype, or launches no kernel.
    """
    op = variant.op
    params = params_for(op, dims)
    if reasons := variant.refusals(dims, params, dtype):
        raise RequestError(f"{variant} refuses {dims}: {'; '.join(reasons)}")
    launches = _call(variant, Problem(op.name, dims, params, dtype=dtype))
    if not launches:
        raise RequestError(f"{variant} launches no kernel at {dims}; give a larger shape with --dims")
    counters = _merged([launch.counters for launch in launches])
    full = _workload(op, workload, dims)
    full_params = {**params_for(op, dict(full.dims)), **full.params}
    growth = op.flops(**full.dims) / max(op.flops(**dims), 1)
    flops = {kind: count * growth for kind, count in counters.total.flops.items()}
    return Report(
        variant=variant,
        dims=dims,
        dtype=dtype,
        launches=len(launches),
        counters=counters,
        advice=advice(counters, float(op.bytes_moved(dims, dtype, params))),
        bounds={sheet.name: bound(sheet, float(op.bytes_moved(full.dims, dtype, full_params)), flops) for sheet in SHEETS},
        workload=full.name,
        footprint=None if unavailable() else footprint(variant, dtype),
    )


def _plain(counts: LineCounters) -> dict[str, Any]:
    named = {part.name: getattr(counts, part.name) for part in fields(counts)}
    return {**named, "flops": dict(counts.flops)}


def as_json(report: Report) -> documents.Inspected:
    """Return the document that ``--json`` prints."""
    lines = [
        {"path": Path(path).name, "line": line, "code": linecache.getline(path, line).strip(), **_plain(counts)}
        for (path, line), counts in sorted(report.counters.lines.items())
    ]
    return {
        "op": report.variant.op.name,
        "variant": report.variant.name,
        "dims": report.dims,
        "dtype": report.dtype,
        "launches": report.launches,
        "lines": cast("list[documents.LineFields]", lines),
        "total": _plain(report.counters.total),
        "mix": dict(report.counters.mix),
        "branch_efficiency": report.counters.branch_efficiency,
        "bounds_us": {name: {"time": time, "set_by": unit} for name, (time, unit) in report.bounds.items()},
        "workload": report.workload,
        "footprint": cast("documents.FootprintFields", asdict(report.footprint)) if report.footprint else None,
        "advice": report.advice,
    }


def _number(value: float) -> str:
    return f"{value:,.0f}" if value else ""


def lines_listing(report: Report) -> Listing:
    """Return the counters as a table with one row per line of the source."""
    counters, total = report.counters, report.counters.total
    shape = " ".join(f"{k}={v}" for k, v in report.dims.items())
    counts = ("warp instr.", "lanes", "requests", "sectors/req.", "shared", "conflicts", "bytes", "FLOPs")
    columns = (Column("line", key=True), Column("code", key=True, wrap=True), *(Column(c, justify="right") for c in counts))
    table = Listing(*columns, title=f"{report.variant} at {shape}, {report.dtype}")
    for (path, line), c in sorted(counters.lines.items()):
        shares = ((c.instructions, total.instructions), (c.sectors, total.sectors), (c.wavefronts, total.wavefronts))
        if not any(part > LEAST_SHARE * whole for part, whole in shares):
            continue
        lanes = f"{c.active_lanes / (WARP * c.instructions):.0%}" if c.instructions else ""
        sectors = f"{c.sectors_per_request:.1f} ({c.ideal_sectors / c.requests:.1f})" if c.requests else ""
        table.add(
            f"{Path(path).name}:{line}", linecache.getline(path, line).strip(), _number(c.instructions), lanes,
            _number(c.requests), sectors, _number(c.shared_requests), _number(c.bank_conflicts),
            _number(c.bytes_loaded + c.bytes_stored), _number(sum(c.flops.values())),
        )  # fmt: skip
    return table


def _show(report: Report, console: Console) -> None:
    console.print(lines_listing(report))
    total, counters = report.counters.total, report.counters
    flops = ", ".join(f"{count:,.0f} {kind}" for kind, count in total.flops.items()) or "none"
    mix = ", ".join(f"{name} {count:,}" for name, count in counters.mix.most_common(8))
    lines = [
        f"{report.launches} launches, {total.instructions:,} warp instructions ({mix})",
        f"floating-point operations: {flops}",
        f"global memory: {total.requests:,} requests of {total.sectors_per_request:.2f} sectors each",
        f"loads and stores of all kinds: {total.bytes_loaded + total.bytes_stored:,} bytes",
        f"branches at which no warp diverges: {counters.branch_efficiency:.0%}",
    ]
    if resources := report.footprint:
        lines.append(
            f"{resources.architecture} by NVRTC: {resources.registers} registers, {resources.spilled} bytes spilled, "
            f"{resources.shared} bytes of shared memory, occupancy {resources.occupancy:.0%}"
        )
    lines.append(f"least time of one call of {report.workload} by data sheets (not measured on a GPU):")
    lines += [f"  {name}: {time:.1f} us, limited by {unit}" for name, (time, unit) in report.bounds.items()]
    lines += [f"- {line}" for line in report.advice] or ["no advice"]
    console.print("\n".join(lines), highlight=False, markup=False, soft_wrap=True)


def _workload(op: Op, name: str | None, dims: dict[str, int] | None = None) -> Workload:
    """Return the first call of `op` in a step; for an op that no step calls, its first example, else the shape `dims`.

    Raises
    ------
    RequestError
        The step makes no call of the op, or no step calls the op and it has no example.
    """
    if workloads := workloads_of(op, name):
        return workloads[0]
    if name is None and dims is not None:
        return Workload("the shape given by --dims", op.name, "", dims)
    if name is None:
        raise RequestError(f"no GPT-2 step calls {op.name} and its spec gives no examples; give a shape with --dims")
    raise RequestError(f"{name} makes no call of {op.name}; leave --workload out")


def _dims(op: Op, text: str | None, workload: str | None) -> dict[str, int]:
    return parse_dims(op, text) if text else shrunken(op, dict(_workload(op, workload).dims), WORK)


def parser() -> CommandParser:
    """Return the command line."""
    parser = CommandParser(prog="python -m harness.inspect", description=__doc__)
    parser.add_argument("--op", required=True, help="an op")
    parser.add_argument("--variant", required=True, help="a CUDA variant of the op")
    parser.add_argument("--dims", metavar="'N=64 C=768'", help="the shape to run (default: the workload's, made smaller)")
    parser.add_argument("--workload", metavar="NAME", help=f"the shape of the bound (default: a call of {STANDARD_STEP})")
    parser.add_argument("--dtype", metavar="NAME", help=f"{', '.join(DTYPES)} (default: the first that the variant takes)")
    add_kernels_path(parser)
    return parser


def _run(options: argparse.Namespace) -> Output:
    if options.dtype not in {None, *DTYPES}:
        raise UnknownNameError("dtype", options.dtype, DTYPES)
    variant = discover(*options.kernels_path).requested(options.op, options.variant)
    if variant.device != Device.CUDA:
        raise RequestError(f"{variant} runs on the CPU: only CUDA variants can be inspected")
    try:
        dims, dtype = _dims(variant.op, options.dims, options.workload), options.dtype or variant.dtypes[0]
        report = inspect(variant, dims, options.workload, dtype)
    except SimulatedFault as fault:
        raise CrucibleError("\n".join(["the simulator found:", *fault.lines()])) from None
    return Output(as_json(report), lambda: _show(report, wide_console()))


def main(argv: list[str] | None = None) -> int:
    """Inspect one variant; return an exit code."""
    return execute(parser(), _run, argv)


if __name__ == "__main__":
    sys.exit(main())
