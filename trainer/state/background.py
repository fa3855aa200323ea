"""Write checkpoints in a thread of its own while the training goes on.

The parameters, master weights and moments change only in the update at the end of a step. The thread copies them while the
micro-steps of the next step run, so the training waits only if the copy is not finished when the update begins.
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np

from registry.devices import Gpu
from trainer.state.checkpoints import delete_drafts, prune, write

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from registry.devices import DeviceMemory
    from trainer.state.checkpoints import Progress

__all__ = ["BackgroundWriter"]


class BackgroundWriter:
    """Writes checkpoints of one run, one at a time.

    Parameters
    ----------
    folder : Path
        The run's folder of checkpoints. Drafts that a stopped process left there are deleted.
    model : str
        The model's name.
    tensors : mapping of str to array
        The arrays of the state, on the CPU or on a GPU.
    device : Device
        The device of the arrays. The arrays of a GPU are copied by the thread that calls `begin`, on its stream.
    keep : int
        Number of the newest checkpoints that stay.
    keep_every : int, optional
        Checkpoints whose step is a multiple of this number stay, too.
    say : callable
        Prints a line if a checkpoint could not be written.
    beside : Path, optional
        A file that the progress refers to, flushed to the disk before a checkpoint counts.
    """

    def __init__(
        self,
        folder: Path,
        model: str,
        tensors: Mapping[str, NDArray[Any]],
        *,
        device: DeviceMemory,
        keep: int,
        keep_every: int | None,
        say: Callable[[str], None],
        beside: Path | None = None,
    ) -> None:
        self.folder, self.model, self._tensors, self._device = folder, model, tensors, device
        self._keep, self._keep_every, self._say, self._beside = keep, keep_every, say, beside
        self._copy: dict[str, NDArray[Any]] = {}
        self._threads = ThreadPoolExecutor(2, "checkpoint")
        self._copying: Future[None] | None = None
        self._writing: Future[None] | None = None
        self.written: Path | None = None
        delete_drafts(folder)

    @property
    def busy(self) -> bool:
        """Whether a checkpoint is being written."""
        return self._writing is not None and not self._writing.done()

    def begin(self, step: int, progress: Progress) -> None:
        """Begin to write the checkpoint of `step`. Wait until the write before has ended.

        The caller must call `wait_copied` before it changes the state.
        """
        self.finish()
        if not self._copy:
            self._copy = {name: np.empty(tensor.shape, tensor.dtype) for name, tensor in self._tensors.items()}
        if isinstance(self._device, Gpu):  # CuPy's stream belongs to a thread
            self._copying = Future()
            self._copy_state()
            self._copying.set_result(None)
        else:
            self._copying = self._threads.submit(self._copy_state)
        self._writing = self._threads.submit(self._write, step, progress, self._copying)

    def wait_copied(self) -> None:
        """Wait until the state may change."""
        if self._copying is not None:
            self._copying.exception()  # the writing thread reports it
            self._copying = None

    def finish(self) -> None:
        """Wait until the checkpoint is on the disk, or could not be written."""
        self.wait_copied()
        if self._writing is not None:
            self._writing.result()
            self._writing = None

    def _copy_state(self) -> None:
        for name, tensor in self._tensors.items():
            np.copyto(self._copy[name], self._device.get(tensor))

    def _write(self, step: int, progress: Progress, copying: Future[None]) -> None:
        try:
            copying.result()
            self.written = write(self.folder, self.model, step, self._copy, progress, self._beside)
            prune(self.folder, self._keep, self._keep_every)
        except Exception as error:  # noqa: BLE001 (a checkpoint that fails must not end the training)
            reason = (isinstance(error, OSError) and error.strerror) or f"{type(error).__name__}: {error}"
            newest = f"the newest one is {self.written}" if self.written else "this process has written none yet"
            self._say(f"cannot write the checkpoint of step {step}: {reason}; {newest}")
