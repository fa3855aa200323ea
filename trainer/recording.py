"""The record of a run in its folder, and the start of a run that continues another.

::

    out/RUN/
        settings.toml       all that was requested, and the kernels
        log.jsonl           a line for each update and each validation
        checkpoints/        see `trainer.state.checkpoints`
        model.safetensors   the model at the end
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from registry.errors import RequestError
from registry.fingerprint import code_hash, source_hash
from registry.machine import machine_key, versions
from registry.paths import ROOT
from trainer.loop import NO_RECORDER, History, Start
from trainer.state.background import BackgroundWriter
from trainer.state.checkpoints import checkpoints_in, move_later
from trainer.state.log_file import FILE as LOG
from trainer.state.log_file import LogFile, read_log
from trainer.state.recorder import RunRecorder
from trainer.state.resume import CHECKPOINTS, differences, require_steps, restore, resumable, resume_command
from trainer.state.run_file import FILE as SETTINGS
from trainer.state.run_file import RunFile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from trainer.data.dataset import Dataset
    from trainer.loop import Recorder
    from trainer.program.program import Program
    from trainer.selection.selection import Kernels
    from trainer.settings import Settings

__all__ = ["announced_start", "announcement", "conditions", "recorder_of", "recovery_hint", "resumed_start"]


def conditions(settings: Settings, kernels: Kernels, data: Dataset) -> dict[str, Any]:
    """Return the conditions on which the bits of a run depend, as data for JSON."""
    chosen = {str(variant): variant for variant in kernels.variants.values()}
    names = ("data", "batch", "sequence", "total_batch", "steps", "learning_rate", "threads", "ranks", "seed", "dtype")
    return {
        "options": {name: settings.options()[name] for name in names},
        "tokens": data.checksum(),
        "code": code_hash(ROOT / "trainer", ROOT / "models", ROOT / "registry"),
        "kernels": kernels.names(),
        "sources": {name: source_hash(variant) for name, variant in chosen.items()},
        "machine": machine_key(settings.device),
        "versions": versions(settings.device),
    }


def announcement(settings: Settings, kernels: Kernels, folder: Path | None, start: Start | None) -> str:
    """Return the message of rank 0 to the other ranks: options, kernels, folder, and the start of a resumed run."""
    names = ",".join(f"{call}={variant}" for call, variant in kernels.names().items())
    begins = None
    if start:
        validations = {"val_loss": start.history.val_loss, "val_steps": start.history.val_steps}
        begins = {"step": start.step, "loader": dict(start.loader), "history": {"steps": start.step, **validations}}
    chosen = {"kernels": names, "out": folder and str(folder.absolute())}
    return json.dumps({"options": settings.options() | chosen, "start": begins})


def announced_start(announced: Mapping[str, Any]) -> Start | None:
    """Return the start that rank 0 announced; None for a run that begins."""
    begins = announced["start"]
    return Start(begins["step"], begins["loader"], History(**begins["history"])) if begins else None


def resumed_start(
    folder: Path, wanted: str, program: Program, facts: Mapping[str, Any], updates: int, say: Callable[[str], None]
) -> Start:
    """Read the state of a checkpoint into the program and return the start, with the losses of the run's log."""
    restored = restore(folder, wanted, program, say)
    require_steps(folder, restored.step, updates)
    progress = restored.progress
    if missing := [name for name in (*facts, "loader", "log") if name not in progress]:
        raise RequestError(f"{str(restored.path)!r} was written by another version of Crucible: it lacks {', '.join(missing)}")
    changed = differences({name: progress[name] for name in facts}, facts)
    bits = "bit-equal to an uninterrupted run"
    if changed:
        bits = f"its bits may differ from those of an uninterrupted run: {'; '.join(changed)}"
    if later := move_later(folder / CHECKPOINTS, restored.step):
        say(f"moved the checkpoints after step {restored.step} to {later}: this run makes these steps again")
    say(f"resuming after step {restored.step} from {restored.path}; {bits}")
    with LogFile(folder / LOG, say, progress["log"]):
        pass  # opening the log deletes the lines of updates that this run makes again
    history = History(steps=restored.step)
    for line in read_log(folder / LOG):
        if "val_loss" in line:
            history.val_loss.append(line["val_loss"])
            history.val_steps.append(line["step"])
        elif "loss" in line:
            history.train_loss.append(line["loss"])
    return Start(restored.step, progress["loader"], history)


@contextmanager
def recorder_of(
    folder: Path | None,
    settings: Settings,
    program: Program,
    kernels: Kernels,
    facts: Mapping[str, Any],
    start: Start | None,
    say: Callable[[str], None],
) -> Iterator[Recorder]:
    """Yield the recorder of the run: rank 0 writes its settings, its log and its checkpoints."""
    if folder is None:
        yield NO_RECORDER
        return
    RunFile(settings.options(), kernels.names(), facts["sources"]).write(folder)
    position = (folder / LOG).stat().st_size if start else 0
    with LogFile(folder / LOG, say, position) as log:
        writer = BackgroundWriter(
            folder / CHECKPOINTS,
            settings.model.name,
            program.state_tensors,
            device=program.device,
            keep=settings.keep,
            keep_every=settings.keep_every,
            say=say,
            beside=log.path,
        )
        minutes = settings.minutes_between_checkpoints
        try:
            yield RunRecorder(log, writer, facts, every=settings.checkpoint_every, minutes=minutes, say=say)
        finally:
            writer.finish()
            if start is None and not any("loss" in line for line in read_log(log.path)):  # it ended before its first update
                for name in (SETTINGS, LOG):
                    (folder / name).unlink(missing_ok=True)


def recovery_hint(folder: Path | None, settings: Settings) -> str:
    """Return how to go on after a loss that is not finite: from the newest checkpoint, with half the learning rate."""
    slower = ("--learning-rate", f"{settings.schedule.peak / 2:g}")
    if folder is None or not resumable(folder):
        return f"there is no checkpoint before it; start again with {' '.join(slower)}"
    newest = checkpoints_in(folder / CHECKPOINTS)[0]
    return f"the newest checkpoint is {newest}; continue from it with: {resume_command(folder, newest.name, *slower)}"
