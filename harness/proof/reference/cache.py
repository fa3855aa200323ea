"""Reference outputs, computed once per problem for all variants of an op. Workers never see them.

They are computed while the variant is called. The newest request comes first: while hypothesis shrinks a failure, the proof
waits for the latest problem only, not for earlier ones.
"""

from __future__ import annotations

import atexit
import dataclasses
import math
import threading
from collections import OrderedDict
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, LifoQueue
from typing import TYPE_CHECKING, Any, Self

from harness.proof.cases.values import change_one, materialise
from registry.op import Role

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from harness.proof.reference.tolerance import ReferenceOutputs
    from registry.op import Op
    from registry.problem import Problem

    Values = dict[str, NDArray[Any]]
    Request = tuple[Op, Problem, Values]
    Compute = Callable[[Op, Problem, Values], ReferenceOutputs]

__all__ = ["ReferenceCache", "SolvedProblem"]

ROOM = 256 << 20  # bytes of values in the cache
OUTPUT_BYTES = 24  # of the cache, for each element of an output


@dataclass(frozen=True)
class SolvedProblem:
    """A problem with its input values and its reference outputs, which may still be in computation."""

    op: Op
    problem: Problem
    values: Values
    pending: Future[ReferenceOutputs]

    @property
    def reference(self) -> ReferenceOutputs:
        """The reference outputs; waits until they are computed."""
        return self.pending.result()

    @property
    def size(self) -> int:
        """About how many bytes it holds: input values, and each output's exact result, tolerance and flags."""
        outputs = sum(math.prod(a.shape(self.problem.dims)) for a in self.op.arguments if a.name in self.op.outputs)
        return sum(a.nbytes for a in self.values.values()) + OUTPUT_BYTES * outputs


class _NewestFirst:
    """Threads that compute reference outputs, one thread for each of `computes`, the newest request first."""

    def __init__(self, computes: Sequence[Compute]) -> None:
        self._requests: LifoQueue[tuple[Future[ReferenceOutputs], Request] | None] = LifoQueue()
        self._lock, self._stopped = threading.Lock(), False
        self._threads = [
            threading.Thread(target=self._work, args=(compute,), name=f"reference {n}", daemon=True)
            for n, compute in enumerate(computes)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, *request: *Request) -> Future[ReferenceOutputs]:
        """Request reference outputs; the future holds them, or the exception that their computation raised."""
        future: Future[ReferenceOutputs] = Future()
        with self._lock:
            if self._stopped:
                future.cancel()
            else:
                self._requests.put((future, request))
        return future

    def _work(self, compute: Compute) -> None:
        while entry := self._requests.get():
            future, request = entry
            try:
                future.set_result(compute(*request))
            except Exception as error:  # noqa: BLE001 (raised where the result is read)
                future.set_exception(error)

    def stop(self) -> None:
        """Cancel all waiting requests; the interpreter's exit waits for the computations that have begun."""
        with self._lock, suppress(Empty):
            self._stopped = True
            while entry := self._requests.get_nowait():
                entry[0].cancel()
        for thread in self._threads:
            self._requests.put(None)
            atexit.register(thread.join)  # a thread inside torch must end before the interpreter does


class ReferenceCache:
    """The solved problems of several proofs, shared by the threads that prove variants; use it in a ``with`` statement.

    Parameters
    ----------
    computes : sequence of callable
        Each computes the reference outputs of one problem at a time, as
        `harness.proof.reference.tolerance.compute_reference` does. All of them run at the same time.
    """

    def __init__(self, computes: Sequence[Compute]) -> None:
        self._lock = threading.Lock()
        self._queue = _NewestFirst(computes)
        self._kept: OrderedDict[tuple[str, ...], Future[SolvedProblem]] = OrderedDict()
        self._size = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._queue.stop()

    def _once(self, key: tuple[str, ...], make: Callable[[], SolvedProblem]) -> SolvedProblem:
        with self._lock:
            future = self._kept.get(key)
            mine = future is None
            if future is None:
                future = self._kept[key] = Future()
        if not mine:
            return future.result()
        try:
            solved = make()
        except BaseException as error:
            self._forget(key)
            future.set_exception(error if isinstance(error, Exception) else CancelledError())
            raise
        future.set_result(solved)
        with self._lock:
            self._size += solved.size
            while self._size > ROOM and len(self._kept) > 1 and next(iter(self._kept.values())).done():
                _, oldest = self._kept.popitem(last=False)
                self._size -= oldest.result().size
        # A failed computation raises in all threads that wait for it; a later request computes again.
        solved.pending.add_done_callback(lambda done: self._forget(key) if done.cancelled() or done.exception() else None)
        return solved

    def _forget(self, key: tuple[str, ...]) -> None:
        with self._lock:
            future = self._kept.pop(key, None)
            if future is not None and future.done() and future.exception() is None:
                self._size -= future.result().size

    def _solved(self, kind: str, op: Op, problem: Problem, values_of: Callable[[], Values]) -> SolvedProblem:
        def make() -> SolvedProblem:
            values = values_of()
            return SolvedProblem(op, problem, values, self._queue.submit(op, problem, values))

        return self._once((kind, op.name, str(problem)), make)

    def of(self, op: Op, problem: Problem) -> SolvedProblem:
        """Return a problem with the values that its seed gives."""
        return self._solved("drawn", op, problem, lambda: materialise(op, problem))

    def redrawn(self, solved: SolvedProblem) -> SolvedProblem:
        """Return the same problem with the values of the next seed."""
        other = dataclasses.replace(solved.problem, seed=solved.problem.seed + 1)
        return self.of(solved.op, other)

    def changed(self, solved: SolvedProblem) -> SolvedProblem:
        """Return the same problem with one element of one argument changed."""
        op, problem = solved.op, solved.problem
        return self._solved("changed", op, problem, lambda: change_one(op, problem, solved.values))

    def added(self, solved: SolvedProblem) -> SolvedProblem | None:
        """Return a second call that accumulates onto the exact results of the first; None if the op does not accumulate."""
        flags = [n for n in solved.problem.params if n.startswith("accumulate")]
        if not flags:
            return None
        twice = dataclasses.replace(solved.problem, params={**solved.problem.params, **dict.fromkeys(flags, True)})
        exact = solved.reference.outputs
        gained = {a.name: exact[a.name].rounded for a in solved.op.with_role(Role.INOUT)}
        return self._solved(f"added to {solved.problem.params}", solved.op, twice, lambda: {**solved.values, **gained})
