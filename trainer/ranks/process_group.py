"""Data-parallel training: processes that torchrun starts, connected by torch.distributed, each with its own rows of a batch.

Only this file of the trainer reads environment variables (torchrun passes the rank in them), and only this file imports torch,
if there is more than one process. Processes exchange numpy arrays by gloo. They exchange GPU arrays in place (DLPack) by NCCL,
on the stream of all other work; the NCCL path is unverified on hardware.
"""

from __future__ import annotations

import os
import re
import time
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import numpy as np

from registry.dtypes import is_bfloat16
from registry.enums import Device
from registry.errors import CrucibleError, RequestError
from trainer.ranks.interface import SINGLE_PROCESS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from numpy.typing import NDArray

    from trainer.ranks.interface import Ranks

__all__ = ["ProcessGroup", "joined"]

TIMEOUT = timedelta(minutes=10)  # the longest wait for the slowest process in an exchange
POLL_SECONDS = 0.2
SIZE = "WORLD_SIZE"
VARIABLES = ("RANK", SIZE, "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_PORT")
KERNELS, FAILURES = "kernels", "failures"


@contextmanager
def _errors_in_one_line() -> Iterator[None]:
    """Convert an error of torch.distributed to a `CrucibleError` of one line."""
    try:
        yield
    except RuntimeError as error:
        reason = re.sub(r"^\[[^]]*\] *", "", str(error).strip()).partition("\n")[0].partition(". ")[0]
        raise CrucibleError(f"another process of the run is gone or cannot be reached ({reason})") from error


class ProcessGroup:
    """One of several processes of a run.

    Parameters
    ----------
    environment : mapping of str to str
        The variables that torchrun sets: RANK, WORLD_SIZE, LOCAL_RANK, LOCAL_WORLD_SIZE, MASTER_ADDR, MASTER_PORT.

    Raises
    ------
    RequestError
        A variable is missing, or is not a number.
    CrucibleError
        The other processes did not connect in time.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        values = {name: environment.get(name, "") for name in VARIABLES}
        if wrong := [f"{name}={value!r}" for name, value in values.items() if not value.isdigit()]:
            shown = ", ".join(wrong)
            raise RequestError(f"{SIZE} is {values[SIZE]}, but {shown}: start the processes with torchrun, or unset {SIZE}")
        self.rank, self.count, self.local_rank, self.local_count, _ = map(int, values.values())
        self._kernels_sent = False
        self._gpu_group: Any = None
        import torch.distributed

        self._dist: Any = torch.distributed
        with _errors_in_one_line():
            self._store: Any = next(self._dist.rendezvous("env://", timeout=TIMEOUT))[0]
            self._dist.init_process_group("gloo", store=self._store, timeout=TIMEOUT, rank=self.rank, world_size=self.count)

    def leave(self) -> None:
        """Destroy the process group. Call this only after every exchange has finished on all ranks."""
        self._dist.destroy_process_group()

    def abort(self) -> None:
        """On rank 0, send the other ranks "" if they still wait for kernels, so that they exit."""
        if self.rank == 0 and not self._kernels_sent:
            self.broadcast_kernels("")

    def check(self, device: Device) -> None:
        """Raise `RequestError` for a GPU where torch has no NCCL."""
        if device == Device.CUDA and not self._dist.is_nccl_available():
            import torch

            raise RequestError(
                f"--device cuda with {self.count} processes needs NCCL, which torch {torch.__version__} is built without; "
                "install a build of torch for CUDA, or train with one process"
            )

    def broadcast_kernels(self, kernels: str) -> None:
        """Send the kernel names of rank 0 to the other ranks, which wait for them."""
        with _errors_in_one_line():
            self._store.set(KERNELS, kernels)
        self._kernels_sent = True

    def receive_kernels(self) -> str:
        """Wait for the kernel names of rank 0 and return them; "" if rank 0 exited before training.

        The wait has no time limit, since rank 0 may prove and race for minutes. Ctrl-C ends it.
        """
        with _errors_in_one_line():
            while not self._store.check([KERNELS]):
                time.sleep(POLL_SECONDS)
            return str(self._store.get(KERNELS).decode())

    def broadcast(self, array: NDArray[Any]) -> None:
        """Overwrite an array with the array of rank 0."""
        self._exchange(self._dist.broadcast, array, src=0)

    def all_reduce_sum(self, array: NDArray[Any]) -> None:
        """Overwrite an array with the sum over all ranks."""
        self._exchange(self._dist.all_reduce, array)

    def mean(self, value: float) -> float:
        """Return the mean over all ranks."""
        values = np.array([value])
        self.all_reduce_sum(values)
        return float(values[0]) / self.count

    def any(self, flag: bool) -> bool:
        """Return whether `flag` is true on any rank."""
        return self.mean(float(flag)) > 0

    def first(self, text: str) -> str:
        """Return the first text that is not empty, in the order of the ranks, followed by its rank."""
        texts = [""] * self.count
        with _errors_in_one_line():
            self._dist.all_gather_object(texts, text)
        return next((f"{text} on rank {rank}" for rank, text in enumerate(texts) if text), "")

    def is_first_failure(self) -> bool:
        """Whether this rank is the first to fail; True also if the other ranks cannot be reached."""
        try:
            return bool(self._store.add(FAILURES, 1) == 1)
        except RuntimeError:
            return True

    def _exchange(self, do: Callable[..., object], array: NDArray[Any], **how: Any) -> None:
        """Exchange an array in place. A GPU array is exchanged on the current stream, in order with the other work."""
        import torch

        # torch does not know ml_dtypes' bfloat16, and CuPy exports it only from version 14 on, so the bits pass as int16.
        def tensor(array: NDArray[Any], convert: Callable[[Any], Any]) -> Any:  # noqa: ANN401 (torch is imported here)
            return convert(array.view(np.int16)).view(torch.bfloat16) if is_bfloat16(array) else convert(array)

        with _errors_in_one_line():
            if isinstance(array, np.ndarray):
                do(tensor(array, torch.from_numpy), **how)
                return
            import cupy

            streams: Any = torch.cuda
            streams.set_device(self.local_rank)
            if self._gpu_group is None:
                self._gpu_group = self._dist.new_group(backend="nccl", timeout=TIMEOUT)
            with streams.stream(streams.ExternalStream(cupy.cuda.get_current_stream().ptr)):
                do(tensor(array, torch.from_dlpack), group=self._gpu_group, **how)


@contextmanager
def joined(environment: Mapping[str, str] = os.environ) -> Iterator[Ranks]:
    """Yield the interface to the other processes: `SINGLE_PROCESS`, unless torchrun started several.

    After an error this process exits without waiting, since another process may be in the middle of an exchange.
    """
    if environment.get(SIZE, "1") in {"", "1"}:
        yield SINGLE_PROCESS
        return
    ranks = ProcessGroup(environment)
    try:
        yield ranks
    finally:
        ranks.abort()
    ranks.leave()
