"""The interface of a process to the other processes of its run, and the interface of a run with one process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from registry.enums import Device

__all__ = ["SINGLE_PROCESS", "Ranks", "SingleProcess"]


class Ranks(Protocol):
    """The interface of a process to the other processes of its run.

    Attributes
    ----------
    rank, count : int
        The number of this process, from 0 up, and the number of processes. Rank 0 chooses the kernels, prints, saves and
        samples.
    local_rank, local_count : int
        The number of this process and the number of processes on this machine.
    """

    rank: int
    count: int
    local_rank: int
    local_count: int

    def check(self, device: Device) -> None:
        """Raise `RequestError` if the processes cannot exchange arrays of this device."""

    def broadcast_kernels(self, kernels: str) -> None:
        """Send the kernel names of rank 0 to the other ranks, which wait for them."""

    def receive_kernels(self) -> str:
        """Wait for the kernel names of rank 0 and return them; "" if rank 0 exited before training."""
        ...

    def broadcast(self, array: NDArray[Any]) -> None:
        """Overwrite an array with the array of rank 0."""

    def all_reduce_sum(self, array: NDArray[Any]) -> None:
        """Overwrite an array with the sum over all ranks. The sum has the same bits on each rank."""

    def mean(self, value: float) -> float:
        """Return the mean over all ranks."""
        ...

    def any(self, flag: bool) -> bool:
        """Return whether `flag` is true on any rank."""
        ...

    def first(self, text: str) -> str:
        """Return the first text that is not empty, in the order of the ranks, followed by its rank."""
        ...

    def is_first_failure(self) -> bool:
        """Whether this rank is the first to fail. Only the first one prints its error."""
        ...


class SingleProcess:
    """The only process of a run. It exchanges nothing."""

    rank = local_rank = 0
    count = local_count = 1

    def check(self, device: Device) -> None:
        """Do nothing."""

    def broadcast_kernels(self, kernels: str) -> None:
        """Do nothing."""

    def receive_kernels(self) -> str:
        """Return "": no other process chooses kernels."""
        return ""

    def broadcast(self, array: NDArray[Any]) -> None:
        """Do nothing."""

    def all_reduce_sum(self, array: NDArray[Any]) -> None:
        """Do nothing: the array is the sum."""

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
        """Return True: this process prints its own error."""
        return True


SINGLE_PROCESS = SingleProcess()
