"""Make the champions that ``--kernels best`` needs: run the harness's proofs and races as child processes.

Champions reach the trainer as records only; nothing of the harness is imported here.
"""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

from registry.cli import INTERRUPTED
from registry.errors import BAD_REQUEST, FAILED, CrucibleError, RequestError
from registry.table import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

__all__ = ["RACE_BUDGET_SECONDS", "commands", "make_champions", "proofs_on"]

RACE_BUDGET_SECONDS = 40
QUICK_EXAMPLES = 6  # drawn problems a variant, beside the fixed ones: a first run should start soon; `make prove` tries harder


def commands(
    missing: Sequence[str],
    unproven: Mapping[str, Iterable[str]],
    *,
    every_op: bool,
    step: str,
    threads: int,
    results: Path,
    kernels_path: Iterable[Path] = (),
) -> list[list[str]]:
    """Return what to run, as arguments after ``python -m``.

    Parameters
    ----------
    missing : sequence of str
        Ops without a champion.
    unproven : mapping of str to names
        Per op, the variants without fresh evidence; where there are many, all are proven in one go.
    every_op : bool
        Whether `missing` is every op of the program: then one race of all is quicker than one for each.
    step : str
        Workload such as ``gpt2-micro-b8-t128``.
    """
    shared = ["--results", str(results), *(word for path in kernels_path for word in ("--kernels-path", str(path)))]
    verify = ["harness.verify", "--profile", "dev", "--examples", str(QUICK_EXAMPLES), *shared]
    race = ["harness.bench", "--workload", step, "--threads", str(threads), *shared]
    share = f"{max(1, RACE_BUDGET_SECONDS // max(1, len(missing)))}s"
    proofs = [[*verify, "--op", op, "--variant", ",".join(names)] for op, names in unproven.items()]
    if len(proofs) > len(missing) // 2:
        every = sorted({name for names in unproven.values() for name in names})
        proofs = [[*verify, "--op", "all", "--variant", ",".join(every)]]
    if every_op:
        return [*proofs, [*race, "--op", "all", "--budget", f"{RACE_BUDGET_SECONDS}s"]]
    return [*proofs, *([*race, "--op", op, "--budget", share] for op in missing)]


def proofs_on(device: str, ops: Iterable[str], *, results: Path, kernels_path: Iterable[Path] = ()) -> list[list[str]]:
    """Return what to run to prove the CUDA variants of `ops` on a device, as arguments after ``python -m``."""
    shared = ["--results", str(results), *(word for path in kernels_path for word in ("--kernels-path", str(path)))]
    quick = ["harness.verify", "--device", device, "--examples", str(QUICK_EXAMPLES), *shared]
    return [[*quick, "--op", op] for op in ops]


def make_champions(wanted: Iterable[Sequence[str]], say: Callable[[str], None]) -> None:
    """Run the commands one after the other, with their progress, without their boards: those are kept as records.

    A failed proof or race is no obstacle: what is not proven is not chosen, and what was not raced is chosen by its rung.

    Raises
    ------
    CrucibleError
        A command could not do its work; its own message stands above.
    KeyboardInterrupt
        It was interrupted.
    """
    for command in wanted:
        say(f"python -m {' '.join(command)}")
        done = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, stdout=subprocess.DEVNULL, check=False)
        if done.returncode == INTERRUPTED:
            raise KeyboardInterrupt
        if done.returncode < 0:
            raise CrucibleError(f"python -m {' '.join(command)} was ended by signal {-done.returncode}")
        if done.returncode == FAILED:
            say(f"python -m {' '.join(command)} did not succeed; going on with what is proven")
        if done.returncode == BAD_REQUEST:
            raise RequestError(f"python -m {' '.join(command)} refused the request; its message stands above")
