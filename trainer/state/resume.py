"""Find the run to resume and its newest good checkpoint, and compare the conditions of both processes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from registry.commands import pasted
from registry.errors import RequestError, UnknownNameError
from trainer.state.checkpoints import CheckpointError, checkpoints_in, read, step_of
from trainer.state.log_file import FILE as LOG
from trainer.state.model_file import FILE as MODEL
from trainer.state.run_file import FILE as SETTINGS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from trainer.program.program import Program
    from trainer.state.checkpoints import Progress

__all__ = [
    "CHECKPOINTS",
    "NEWEST",
    "Restored",
    "chosen_step",
    "differences",
    "held_by_run",
    "newest_run",
    "require_steps",
    "restore",
    "resumable",
    "resume_command",
]

CHECKPOINTS = "checkpoints"
NEWEST = "newest"


@dataclass(frozen=True)
class Restored:
    """A checkpoint that has been read into a program."""

    path: Path
    step: int
    progress: Progress


def newest_run(out: Path) -> Path:
    """Return the run of `out` with the newest checkpoint.

    Raises
    ------
    RequestError
        No run in `out` has a checkpoint.
    """
    newest = {known[0].stat().st_mtime: run for run in out.glob("*") if (known := checkpoints_in(run / CHECKPOINTS))}
    if not newest:
        raise RequestError(f"there is no run to resume in {str(out)!r}; name its folder with --out DIR")
    return newest[max(newest)]


def resumable(folder: Path) -> bool:
    """Whether a folder holds a run with a checkpoint."""
    return bool(checkpoints_in(folder / CHECKPOINTS))


def held_by_run(folder: Path) -> bool:
    """Whether a folder holds the files of a run."""
    return resumable(folder) or any((folder / name).exists() for name in (SETTINGS, LOG))


def resume_command(folder: Path, step: str = NEWEST, *more: str) -> str:
    """Return the command that resumes a run, as a line for a shell."""
    return pasted("trainer.run", "--resume", *([] if step == NEWEST else [step]), "--out", str(folder), *more)


def require_steps(folder: Path, step: int, updates: int) -> None:
    """Raise `RequestError` if a run of `updates` updates is complete at `step`, and its model is saved."""
    if step > updates or (step == updates and (folder / MODEL).exists()):
        more = resume_command(folder, NEWEST, "--steps", str(2 * step))
        raise RequestError(f"{str(folder)!r} is complete after {step} steps; continue with more: {more}")


def chosen_step(folder: Path, wanted: str) -> int:
    """Return the step of a checkpoint by its name, without reading it.

    Raises
    ------
    RequestError
        There is no such checkpoint.
    """
    known = checkpoints_in(folder / CHECKPOINTS)
    if not known:
        raise RequestError(f"{str(folder)!r} has no checkpoint to resume from; start anew with another --out")
    if wanted == NEWEST:
        return step_of(known[0])
    if wanted not in (names := [path.name for path in known]):
        raise UnknownNameError("checkpoint", wanted, names)
    return step_of(folder / wanted)


def restore(folder: Path, wanted: str, program: Program, say: Callable[[str], None]) -> Restored:
    """Read a checkpoint into the program.

    Parameters
    ----------
    folder : Path
        The run's folder.
    wanted : str
        The name of a checkpoint, or ``newest``: the newest good one.

    Raises
    ------
    RequestError
        There is no such checkpoint, or it cannot be read. The message offers the newest good one.
    """
    step, known = chosen_step(folder, wanted), checkpoints_in(folder / CHECKPOINTS)
    if wanted == NEWEST:
        return _newest_good(folder, known, program, say)
    named = next(path for path in known if step_of(path) == step)
    try:
        return _read(named, program)
    except CheckpointError as error:
        others = [path for path in known if path != named]
        good = _newest_good(folder, others, program, say) if others else None
        way = f"; the newest good one: {resume_command(folder, good.path.name)}" if good else ""
        raise RequestError(f"{error}{way}") from error


def _newest_good(folder: Path, known: Iterable[Path], program: Program, say: Callable[[str], None]) -> Restored:
    for path in known:
        try:
            return _read(path, program)
        except CheckpointError as error:
            say(f"{error}; trying the checkpoint before it")
    raise RequestError(f"no checkpoint of {str(folder)!r} can be read; start anew with another --out")


def _read(path: Path, program: Program) -> Restored:
    progress = read(path, program.model.name, program.state_tensors, program.device)
    return Restored(path, step_of(path), progress)


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return the conditions that differ from those of a checkpoint, each as "threads 2 -> 1"."""
    changed = []
    for name in sorted(before.keys() | now.keys()):
        one, other = before.get(name), now.get(name)
        if isinstance(one, dict) and isinstance(other, dict):
            changed += differences(one, other)
        elif one != other:
            changed.append(f"{name} {one} -> {other}")
    return changed
