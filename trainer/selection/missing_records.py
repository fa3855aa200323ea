"""Run the proofs and races whose records are missing, as child processes.

The trainer does not import the harness. It reads the champions from the records that these processes write.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from registry.commands import Folders, pasted
from registry.errors import BAD_REQUEST, FAILED, INTERNAL, RequestError
from trainer.selection.child import run_command

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from registry.enums import Device

__all__ = ["RACE_BUDGET_SECONDS", "commands", "make_champions", "proofs_on"]

RACE_BUDGET_SECONDS = 40
# Random problems of each variant beside the fixed ones: few, so that a first run starts soon. `make prove` takes more.
QUICK_EXAMPLES = 6


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
    """Return the commands for missing proofs and races, each as the arguments of ``python -m``.

    Parameters
    ----------
    missing : sequence of str
        Ops without a champion.
    unproven : mapping of str to names
        The variants without fresh evidence, by op. For many ops, one command proves all of them.
    every_op : bool
        Whether `missing` holds every op of the program. One race command for all ops is then quicker than one for each.
    step : str
        A workload such as ``gpt2-micro-b8-t128``.
    """
    shared = Folders(tuple(kernels_path), results).absolute().words()
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


def proofs_on(device: Device, ops: Iterable[str], *, results: Path, kernels_path: Iterable[Path] = ()) -> list[list[str]]:
    """Return the commands that prove the CUDA variants of `ops` on a device, each as the arguments of ``python -m``."""
    shared = Folders(tuple(kernels_path), results).absolute().words()
    quick = ["harness.verify", "--device", device, "--examples", str(QUICK_EXAMPLES), *shared]
    return [[*quick, "--op", op] for op in ops]


def make_champions(wanted: Iterable[Sequence[str]], say: Callable[[str], None]) -> None:
    """Run the commands one after the other. Their progress is printed; their boards are not, since they are kept as records.

    After a failed proof or race the function continues: an unproven variant is not chosen, and without a race the variant of
    the highest rung is chosen.

    Raises
    ------
    CrucibleError
        A command refused the request, which it printed, or was ended by a signal.
    KeyboardInterrupt
        The user interrupted a command.
    """
    for command in wanted:
        line = pasted(*command)
        say(line)
        code = run_command(command)
        if code in {FAILED, INTERNAL}:
            say(f"{line} failed; the run continues with the proven variants")
        if code == BAD_REQUEST:
            raise RequestError(f"{line} refused the request; its message is above")
