"""The processes that train one model together, each on rows of its own: started by torchrun, joined by torch.distributed.

This file alone of the trainer reads environment variables, since torchrun tells a process through them who it is, and imports
torch, when there is more than one process. Arrays of the host travel by gloo. Those of a GPU stay where they are (DLPack) and
travel by NCCL, on the stream that all other work is on: that path is unverified on hardware.
"""

from __future__ import annotations

import os
import re
import time
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from registry.dtypes import is_bfloat16
from registry.errors import CrucibleError, RequestError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from numpy.typing import NDArray

__all__ = ["ALONE", "Alone", "Ranks", "Together", "joined"]

TIMEOUT = timedelta(minutes=10)  # how long a process waits for the slowest one to come to the same exchange
POLL_SECONDS = 0.2
SIZE = "WORLD_SIZE"
PLACES = ("RANK", SIZE, "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_PORT")
KERNELS, FAILURES = "kernels", "failures"


class Ranks(Protocol):
    """A process among those of its run.

    Attributes
    ----------
    rank, count : int
        Its number, from 0 up, and how many there are. Rank 0 chooses the kernels, prints, saves and samples.
    local_rank, local_count : int
        The same on this machine.
    """

    rank: int
    count: int
    local_rank: int
    local_count: int

    def check(self, device: str) -> None:
        """Raise `RequestError` if arrays of this device cannot be exchanged."""

    def tell(self, kernels: str) -> None:
        """Let the other ranks go on, with these kernels."""

    def heard(self) -> str:
        """Wait until rank 0 has told its kernels, and return them; "" if it left without training."""
        ...

    def share(self, array: NDArray[Any]) -> None:
        """Replace an array by that of rank 0."""

    def add(self, array: NDArray[Any]) -> None:
        """Replace an array by the sum over all ranks, which has the same bits on each."""

    def mean(self, value: float) -> float:
        """Return the mean over all ranks."""
        ...

    def any(self, flag: bool) -> bool:
        """Return whether any rank says so."""
        ...

    def first(self, text: str) -> str:
        """Return the text of the first rank that has one, and which rank that is."""
        ...

    def is_first_failure(self) -> bool:
        """Whether no other rank has reported a failure before: then this one is to."""
        ...


class Alone:
    """The only process: there is nobody to exchange anything with."""

    rank = local_rank = 0
    count = local_count = 1

    def check(self, device: str) -> None:
        """Do nothing."""

    def tell(self, kernels: str) -> None:
        """Do nothing."""

    def heard(self) -> str:
        """Return nothing: nobody else chooses."""
        return ""

    def share(self, array: NDArray[Any]) -> None:
        """Do nothing."""

    def add(self, array: NDArray[Any]) -> None:
        """Do nothing."""

    def mean(self, value: float) -> float:
        """Return the value."""
        return value

    def any(self, flag: bool) -> bool:
        """Return the flag."""
        return flag

    def first(self, text: str) -> str:
        """Return the text."""
        return text

    def is_first_failure(self) -> bool:
        """Whether this process is to report its failure: yes."""
        return True


ALONE = Alone()


@contextmanager
def _in_one_line() -> Iterator[None]:
    """Tell an error of torch.distributed in one line."""
    try:
        yield
    except RuntimeError as error:
        reason = re.sub(r"^\[[^]]*\] *", "", str(error).strip()).partition("\n")[0].partition(". ")[0]
        raise CrucibleError(f"another process of the run is gone or cannot be reached ({reason})") from error


class Together:
    """One of several processes.

    Parameters
    ----------
    environment : mapping of str to str
        What torchrun sets: RANK, WORLD_SIZE, LOCAL_RANK, LOCAL_WORLD_SIZE, MASTER_ADDR, MASTER_PORT.

    Raises
    ------
    RequestError
        A part of it is missing.
    CrucibleError
        The others did not come in time.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        places = {name: environment.get(name, "") for name in PLACES}
        if wrong := [name for name, value in places.items() if not value.isdigit()]:
            told = ", ".join(f"{name}={places[name]!r}" for name in wrong)
            raise RequestError(f"{SIZE} is {places[SIZE]}, but {told}: start the processes with torchrun, or unset {SIZE}")
        self.rank, self.count, self.local_rank, self.local_count, _ = map(int, places.values())
        self._told = False
        self._gpu_group: Any = None
        import torch.distributed

        self._dist: Any = torch.distributed
        with _in_one_line():
            self._store: Any = next(self._dist.rendezvous("env://", timeout=TIMEOUT))[0]
            who = {"rank": self.rank, "world_size": self.count}
            self._dist.init_process_group("gloo", store=self._store, timeout=TIMEOUT, **who)

    def leave(self) -> None:
        """Leave in peace: every exchange that was begun is done."""
        self._dist.destroy_process_group()

    def let_go(self) -> None:
        """Let the others end, if this is rank 0 and they still wait for its kernels."""
        if self.rank == 0 and not self._told:
            self.tell("")

    def check(self, device: str) -> None:
        """Raise `RequestError` for a GPU where torch has no NCCL."""
        if device == "cuda" and not self._dist.is_nccl_available():
            import torch

            raise RequestError(
                f"--device cuda with {self.count} processes needs NCCL, which torch {torch.__version__} is built without; "
                "install a build of torch for CUDA, or train with one process"
            )

    def tell(self, kernels: str) -> None:
        """Let the other ranks go on, with these kernels."""
        with _in_one_line():
            self._store.set(KERNELS, kernels)
        self._told = True

    def heard(self) -> str:
        """Wait, without a limit and open to Ctrl-C, until rank 0 has told its kernels: it may prove and race for minutes."""
        with _in_one_line():
            while not self._store.check([KERNELS]):
                time.sleep(POLL_SECONDS)
            return str(self._store.get(KERNELS).decode())

    def share(self, array: NDArray[Any]) -> None:
        """Replace an array by that of rank 0."""
        self._exchange(self._dist.broadcast, array, src=0)

    def add(self, array: NDArray[Any]) -> None:
        """Replace an array by the sum over all ranks."""
        self._exchange(self._dist.all_reduce, array)

    def mean(self, value: float) -> float:
        """Return the mean over all ranks."""
        values = np.array([value])
        self.add(values)
        return float(values[0]) / self.count

    def any(self, flag: bool) -> bool:
        """Return whether any rank says so."""
        return self.mean(float(flag)) > 0

    def first(self, text: str) -> str:
        """Return the text of the first rank that has one, and which rank that is."""
        texts = [""] * self.count
        with _in_one_line():
            self._dist.all_gather_object(texts, text)
        return next((f"{text} on rank {rank}" for rank, text in enumerate(texts) if text), "")

    def is_first_failure(self) -> bool:
        """Whether no other rank has reported a failure before, as far as this one can know."""
        try:
            return bool(self._store.add(FAILURES, 1) == 1)
        except RuntimeError:
            return True

    def _exchange(self, do: Callable[..., object], array: NDArray[Any], **how: Any) -> None:
        """Exchange an array in place; one of a GPU between the work before and after it on the current stream."""
        import torch

        # torch does not know ml_dtypes' bfloat16, and CuPy exports it from version 14 on: the bits travel as integers.
        def tensor(array: NDArray[Any], taken: Callable[[Any], Any]) -> Any:  # noqa: ANN401 (torch comes late)
            return taken(array.view(np.int16)).view(torch.bfloat16) if is_bfloat16(array) else taken(array)

        with _in_one_line():
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
    """Yield this process's place in the run: alone, unless torchrun started it with others.

    After an error nobody is waited for: another process may be in the middle of an exchange.
    """
    if environment.get(SIZE, "1") in {"", "1"}:
        yield ALONE
        return
    ranks = Together(environment)
    try:
        yield ranks
    finally:
        ranks.let_go()
    ranks.leave()
