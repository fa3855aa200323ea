"""``python -m harness.gpu_check``: run all checks that need a GPU, in one command.

The command proves every CUDA variant on the GPU, compares the GPU with the simulator bit by bit, races each dtype under both
protocols, and summarises the stored records. A part that fails does not stop the other parts. Unverified on hardware: no GPU
has run the command yet.
"""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rich.markup import escape

from harness.cuda.agreement import Agreement, agreement, compared_problems
from harness.proof.sandbox.client import Limits, Worker
from harness.race.outcome import BROKEN
from harness.race.session import PROTOCOLS
from harness.race.statistics import summarise
from harness.report.race_fields import race_fields
from registry.cli import add_keep, add_kernels_path, add_results, wide_console
from registry.command_parser import CommandParser
from registry.commands import Folders, pasted
from registry.devices import device
from registry.dtypes import DTYPES
from registry.enums import Device, Status
from registry.errors import DONE, FAILED, INTERRUPTED, CrucibleError
from registry.listing import Column, Listing
from registry.machine import machine_key
from registry.output import Output, execute
from registry.paths import ROOT
from registry.profiles import PROFILES
from registry.records import Store
from registry.table import discover

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from rich.console import Console

    from registry.documents import races as documents
    from registry.records import Evidence, Run
    from registry.variant import Variant

__all__ = ["Findings", "main", "parser"]

EVERY = "cuda_*"


@dataclass
class Findings:
    """The results of the parts.

    Attributes
    ----------
    proofs, runs : list
        The records that this command added.
    failures : list of str
        One message for each part that failed to run.
    """

    proofs: list[Evidence] = field(default_factory=list)
    agreements: list[Agreement] = field(default_factory=list)
    runs: list[Run] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    @property
    def sound(self) -> bool:
        """Whether every part ran and no part found a fault."""
        rejected = [p for p in self.proofs if p.status not in {Status.PASSED, Status.REFUSED}]
        broken = [r for run in self.runs for r in run.rows if r.status in BROKEN]
        return not (self.failures or rejected or broken or any(a.note for a in self.agreements))


def _command(module: str, words: Sequence[str]) -> str:
    """Run a command of the project with its output shown; return a message if it ended with an error, else ""."""
    command = ["-m", module, *words]
    done = subprocess.run([sys.executable, *command], cwd=ROOT, check=False)
    if done.returncode == INTERRUPTED:
        raise KeyboardInterrupt
    if done.returncode in {DONE, FAILED}:
        return ""
    return f"{pasted(module, *words)} ended with code {done.returncode}; its message is above"


def _compare(variants: Iterable[Variant], kernels_path: Iterable[Path], console: Console) -> list[Agreement]:
    agreements = []
    with Worker(kernels_path, Limits()) as worker:
        for variant in variants:
            agreements.append(agreement(variant, worker, compared_problems(variant.op, variant)))
            console.print(f"compared with the simulator: {variant}", highlight=False)
    return agreements


def _check(options: argparse.Namespace, console: Console) -> Findings:
    table = discover(*options.kernels_path)
    variants = [v for v in table.select(table.select_ops(options.op), EVERY) if v.path.with_suffix(".cu").exists()]
    store, findings = Store(options.results, machine_key(Device.CUDA), keep=options.keep), Findings()
    folders = Folders(tuple(options.kernels_path), options.results).absolute()
    shared = ["--op", options.op, "--variant", EVERY, "--device", "cuda", *folders.words()]
    shared += ["--keep"] if options.keep else []
    known_proofs, known_runs = len(store.evidence()), len(store.runs())

    def attempt(module: str, *words: str) -> None:
        if problem := _command(module, [*shared, *words]):
            findings.failures.append(problem)

    few = ["--examples", str(options.examples)] if options.examples else []
    attempt("harness.verify", "--profile", options.profile, *few)
    findings.proofs = store.evidence()[known_proofs:]
    try:
        findings.agreements = _compare(variants, options.kernels_path, console)
        path = store.folder / "agreement.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps([dataclasses.asdict(a) for a in findings.agreements], indent=1) + "\n")
    except (CrucibleError, OSError) as error:
        findings.failures.append(f"the comparison with the simulator: {error}")
    shape = ["--dims", options.dims] if options.dims else ["--workload", options.workload] if options.workload else []
    for dtype in [d for d in DTYPES if any(d in v.dtypes for v in variants)]:
        for protocol in PROTOCOLS[Device.CUDA]:
            attempt("harness.bench", "--protocol", protocol, "--dtype", dtype, "--budget", options.budget, *shape)
    findings.runs = store.runs()[known_runs:]
    return findings


def _times(runs: Iterable[Run], op: str, variant: str, way: tuple[str, str]) -> str:
    """Return the medians of a variant in one dtype and one protocol, one for each workload."""
    rows = [r for run in runs if (run.op, (run.dtype, run.protocol)) == (op, way) for r in run.rows if r.variant == variant]
    return ", ".join(f"{summarise(r.samples_ms).median:.4g}" if r.samples_ms else r.status for r in rows)


def _show(findings: Findings, store: Store, console: Console) -> None:
    dtypes = [d for d in DTYPES if d == DTYPES[0] or any(run.dtype == d for run in findings.runs)]
    ways = [(dtype, protocol) for dtype in dtypes for protocol in PROTOCOLS[Device.CUDA]]
    times = [f"{protocol}, ms" if dtype == DTYPES[0] else f"{dtype}, {protocol}, ms" for dtype, protocol in ways]
    numbers = (Column(name, justify="right") for name in ("of tolerance", "largest ULP", "equal bits", *times))
    title = f"On {machine_key('cuda')}"
    shown = Listing(Column("op", key=True), Column("variant", key=True), "battery", *numbers, title=title)
    proofs = {(p.op, p.variant): p for p in findings.proofs}
    agreements = {(a.op, a.variant): a for a in findings.agreements}
    raced = [(run.op, row.variant) for run in findings.runs for row in run.rows]
    for op, variant in sorted({*proofs, *agreements, *raced}):
        proof, agreed = proofs.get((op, variant)), agreements.get((op, variant))
        words = [proof.status, f"{proof.worst_over_tolerance:.3g}"] if proof else ["", ""]
        words += [str(agreed.ulps), f"{agreed.share:.2%}"] if agreed and agreed.problems else ["", ""]
        shown.add(op, variant, *words, *(_times(findings.runs, op, variant, way) for way in ways))
    console.print(shown)
    for agreed in findings.agreements:
        if agreed.note:
            console.print(f"not compared: {agreed.op}/{agreed.variant}: {escape(agreed.note)}", highlight=False, soft_wrap=True)
    for failure in findings.failures:
        console.print(f"[red]failed:[/] {escape(failure)}", highlight=False, soft_wrap=True)
    console.print(f"evidence, runs and agreement are stored in {store.folder}", highlight=False, soft_wrap=True)


def _proof_fields(proof: Evidence) -> documents.ProvenFields:
    return {
        "op": proof.op,
        "variant": proof.variant,
        "status": proof.status,
        "problems": proof.problems,
        "worst_over_tolerance": proof.worst_over_tolerance,
        "reproduce": proof.reproduce,
    }


def _agreement_fields(agreed: Agreement) -> documents.AgreementFields:
    return {
        "op": agreed.op,
        "variant": agreed.variant,
        "problems": agreed.problems,
        "elements": agreed.elements,
        "equal": agreed.equal,
        "ulps": agreed.ulps,
        "note": agreed.note,
    }


def run(options: argparse.Namespace) -> Output:
    """Check the GPU; return the findings."""
    device("cuda")
    console = wide_console()
    findings, store = _check(options, console), Store(options.results, machine_key(Device.CUDA), keep=options.keep)
    document: documents.GpuChecked = {
        "machine": store.folder.name,
        "proofs": [_proof_fields(proof) for proof in findings.proofs],
        "agreements": [_agreement_fields(agreed) for agreed in findings.agreements],
        "races": [race_fields(run, discover(*options.kernels_path), options) for run in findings.runs],
        "failures": findings.failures,
        "stored": str(store.folder),
    }
    return Output(document, lambda: _show(findings, store, console), DONE if findings.sound else FAILED)


def parser() -> CommandParser:
    """Return the command line."""
    parser = CommandParser(prog="python -m harness.gpu_check", description=__doc__)
    parser.add_argument("--op", default="all", metavar="PATTERN", help="an op, a family or a glob (default: %(default)s)")
    parser.add_argument("--profile", default="ci", choices=PROFILES, help="extent of the proofs (default: %(default)s)")
    parser.add_argument(
        "--examples", type=int, metavar="N", help="random problems per variant, instead of the profile's number"
    )
    parser.add_argument("--budget", default="5m", metavar="TIME", help="time budget of each race (default: %(default)s)")
    parser.add_argument("--workload", metavar="NAME", help="the workload of the races, as for harness.bench")
    parser.add_argument("--dims", metavar="'N=256 C=768'", help="a shape of your own for the races")
    add_results(parser)
    add_keep(parser)
    add_kernels_path(parser)
    return parser


def main(argv: list[str] | None = None) -> int:
    """Check the GPU; return an exit code."""
    return execute(parser(), run, argv)


if __name__ == "__main__":
    sys.exit(main())
