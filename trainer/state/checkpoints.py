"""Checkpoints: folders that hold all that a run needs to continue with the same bits.

::

    out/RUN/checkpoints/step-00001000/
        state.safetensors   parameters, master weights and moments, one tensor each
        checkpoint.json     step, progress of the run, and the CRC-32 of every tensor

A checkpoint is written into a hidden folder beside the others, flushed to the disk, and renamed last. A process or a machine
that stops during a write therefore leaves the older checkpoints as they were. `read` returns a checkpoint only if every byte is
as it was written.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import zlib
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from registry.errors import CrucibleError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from registry.devices import DeviceMemory

    Tensors = Mapping[str, NDArray[Any]]

__all__ = ["CheckpointError", "Progress", "checkpoints_in", "delete_drafts", "move_later", "prune", "read", "step_of", "write"]

SCHEMA = 1
STATE, ABOUT = "state.safetensors", "checkpoint.json"
NAME = re.compile(r"step-(\d{8,})")
DRAFT = ".draft-"
LATER = "later"

Progress = dict[str, Any]  # data for JSON


class CheckpointError(CrucibleError):
    """A checkpoint cannot be read. The message is one line: the file, the fault, and the tensor where there is one."""


@dataclass(frozen=True)
class _About:
    """The contents of ``checkpoint.json``."""

    model: str
    checksums: dict[str, int]
    progress: Progress


def step_of(path: Path) -> int:
    """Return the number of updates before a checkpoint, from the name of its folder."""
    match = NAME.fullmatch(path.name)
    if match is None:
        raise CheckpointError(f"{str(path)!r} is no checkpoint: its name is not like step-00001000")
    return int(match[1])


def checkpoints_in(folder: Path) -> list[Path]:
    """Return the checkpoints in `folder`, the newest first. None of them has been checked."""
    named = [path for path in folder.glob("step-*") if NAME.fullmatch(path.name) and path.is_dir()]
    return sorted(named, key=step_of, reverse=True)


def delete_drafts(folder: Path) -> None:
    """Delete the unfinished checkpoints of processes that have ended. Only the run that owns the folder may call this."""
    for path in folder.glob(f"{DRAFT}*"):
        _delete(path)


def write(folder: Path, model: str, step: int, tensors: Tensors, progress: Progress, beside: Path | None = None) -> Path:
    """Write the checkpoint ``folder/step-N`` and return its path.

    Parameters
    ----------
    model : str
        The model's name. `read` refuses the checkpoint of another model.
    tensors : mapping of str to array
        Contiguous arrays. They must not change until the function returns.
    progress : dict
        Data for JSON, which `read` returns.
    beside : Path, optional
        A file that `progress` refers to. It is flushed to the disk before the checkpoint counts.

    Raises
    ------
    OSError
        The checkpoint cannot be written. Older checkpoints stay as they were.
    """
    path, draft = folder / f"step-{step:08d}", folder / f"{DRAFT}{step:08d}"
    folder.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(draft, ignore_errors=True)
    try:
        draft.mkdir()
        try:
            save_file(dict(tensors), draft / STATE)
        except SafetensorError as error:
            raise OSError(str(error)) from error
        checksums = {name: _checksum(tensor) for name, tensor in tensors.items()}
        about = {"model": model, "step": step, "checksums": checksums, "progress": progress}
        (draft / ABOUT).write_text(_sealed(about))
        shutil.copymode(draft / ABOUT, draft / STATE)  # the library writes a file that only its owner can read
        for part in (draft / STATE, draft / ABOUT, draft, *([beside] if beside else [])):
            _flush(part)
        older = folder / f"{DRAFT}old-{path.name}"
        if os.path.lexists(path):  # such as a file of the user
            path.rename(older)
        draft.rename(path)
        _flush(folder)
        _delete(older)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    return path


def prune(folder: Path, keep: int, keep_every: int | None = None) -> None:
    """Delete old checkpoints.

    Parameters
    ----------
    keep : int
        Number of the newest checkpoints that stay.
    keep_every : int, optional
        Checkpoints whose step is a multiple of this number stay, too.
    """
    for path in checkpoints_in(folder)[keep:]:
        if not (keep_every and step_of(path) % keep_every == 0):
            doomed = path.with_name(f"{DRAFT}old-{path.name}")
            with suppress(OSError):  # a folder that cannot be deleted costs only its room
                path.rename(doomed)
                shutil.rmtree(doomed)


def move_later(folder: Path, step: int) -> Path | None:
    """Move the checkpoints after `step` to ``folder/later``, and return that folder; None if there are none.

    A run that resumes at `step` makes these steps again. Its own checkpoints must be the newest ones in `folder`.
    """
    later = [path for path in checkpoints_in(folder) if step_of(path) > step]
    if not later:
        return None
    target = folder / LATER
    target.mkdir(exist_ok=True)
    for path in later:
        shutil.rmtree(target / path.name, ignore_errors=True)
        path.rename(target / path.name)
    return target


def read(path: Path, model: str, tensors: Tensors, device: DeviceMemory) -> Progress:
    """Fill `tensors`, arrays of `device`, in place from a checkpoint, and return its progress.

    Raises
    ------
    CheckpointError
        A file is missing, damaged, of another model or of a later version. The contents of `tensors` are then undefined.
    """
    about = _read_about(path, step_of(path))
    if about.model != model:
        raise CheckpointError(f"{str(path)!r} is a checkpoint of {about.model}, not of {model}")
    file_path = path / STATE
    try:
        with safe_open(file_path, framework="numpy") as file:
            _check_shapes(file_path, {name: file.get_slice(name) for name in file.keys()}, tensors)  # noqa: SIM118 (no mapping)
            for name, tensor in tensors.items():
                stored = file.get_tensor(name)
                if stored.dtype != tensor.dtype:
                    raise CheckpointError(
                        f"{str(file_path)!r}: tensor {name!r} is {stored.dtype}, this run needs {tensor.dtype}"
                    )
                if _checksum(stored) != about.checksums.get(name):
                    raise CheckpointError(f"{str(file_path)!r} is damaged: tensor {name!r} is not as it was written")
                device.put(tensor, stored)
    except SafetensorError as error:
        raise CheckpointError(f"{str(file_path)!r} is damaged or not a safetensors file: {error}") from error
    except OSError as error:
        raise CheckpointError(f"cannot read {str(file_path)!r}: {error.strerror or error}") from error
    return about.progress


def _delete(path: Path) -> None:
    """Delete a folder or a file. One that cannot be deleted costs only its room."""
    with suppress(OSError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def _checksum(tensor: NDArray[Any]) -> int:
    return zlib.crc32(tensor.reshape(-1).view(np.uint8).data)


def _sealed(about: Mapping[str, Any]) -> str:
    """Return the text of ``checkpoint.json``: a line of JSON, and a line with its CRC-32."""
    line = json.dumps({"schema": SCHEMA, **about})
    return f"{line}\n{zlib.crc32(line.encode())}\n"


def _read_about(path: Path, step: int) -> _About:
    file_path = path / ABOUT
    try:
        line, checksum, _ = file_path.read_bytes().split(b"\n")
        intact = int(checksum) == zlib.crc32(line)
        about = json.loads(line) if intact else {}
    except OSError as error:
        raise CheckpointError(f"cannot read {str(file_path)!r}: {error.strerror or error}") from error
    except ValueError:
        intact, about = False, {}
    if not intact:
        raise CheckpointError(f"{str(file_path)!r} is damaged: it is not as it was written")
    types = {"schema": int, "model": str, "step": int, "checksums": dict, "progress": dict}
    if not isinstance(about, dict) or any(not isinstance(about.get(name), kind) for name, kind in types.items()):
        raise CheckpointError(f"{str(file_path)!r} is no description of a checkpoint: it needs {', '.join(types)}")
    if about["schema"] > SCHEMA:
        raise CheckpointError(
            f"{str(file_path)!r} was written by a later version of Crucible (schema {about['schema']}; this one reads up to "
            f"{SCHEMA})"
        )
    if about["step"] != step:
        raise CheckpointError(f"{str(path)!r} holds the checkpoint of step {about['step']}: the folder was renamed")
    return _About(about["model"], about["checksums"], about["progress"])


def _check_shapes(path: Path, stored: Mapping[str, Any], tensors: Tensors) -> None:
    for problem, names in (("lacks", tensors.keys() - stored.keys()), ("also has", stored.keys() - tensors.keys())):
        if names:
            raise CheckpointError(f"{str(path)!r} {problem} the tensors {', '.join(sorted(names))}")
    for name, tensor in tensors.items():
        shape = tuple(stored[name].get_shape())
        if shape != tensor.shape:
            raise CheckpointError(f"{str(path)!r}: tensor {name!r} has shape {shape}, this run needs {tensor.shape}")


def _flush(path: Path) -> None:
    """Wait until the disk holds a file or the entries of a folder."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
