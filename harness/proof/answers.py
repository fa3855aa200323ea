"""Answer keys that the variants of an op share: drawn once, kept while there is room, never sent to a worker.

A key is made in a thread, so that a variant can be called meanwhile; keys of problems known beforehand are made ahead.
"""

from __future__ import annotations

import dataclasses
import math
import sys
import threading
from collections import OrderedDict
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from harness.proof.tolerance import Reference, refer
from harness.proof.values import change_one, materialise
from registry.machine import thread_count
from registry.op import Role

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from registry.op import Op
    from registry.problem import Problem

    Values = dict[str, NDArray[Any]]

__all__ = ["Answer", "Answers"]

ROOM = 256 << 20  # bytes of values that are kept
ROOM_AHEAD = ROOM // 4  # of them made before they are asked for
KEY_BYTES = 24  # for each element of an output
LEAST_MAKERS = 2
SWITCH_SECONDS = 5e-4


@dataclass(frozen=True)
class Answer:
    """A problem with its values, and the key to it, which may still be in the making."""

    op: Op
    problem: Problem
    values: Values
    pending: Future[Reference]

    @property
    def reference(self) -> Reference:
        """The key; waits for it."""
        return self.pending.result()

    @property
    def size(self) -> int:
        """Bytes held, nearly: of an output's exact result, budget and flags."""
        outputs = sum(math.prod(a.shape(self.problem.dims)) for a in self.op.arguments if a.name in self.op.outputs)
        return sum(a.nbytes for a in self.values.values()) + KEY_BYTES * outputs


class Answers:
    """A store of answers, shared by the threads that examine variants of the same op; use it in a ``with`` statement."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._makers = ThreadPoolExecutor(max(LEAST_MAKERS, thread_count()), "answers")
        self._kept: OrderedDict[tuple[str, ...], Future[Answer]] = OrderedDict()
        self._size = 0

    def __enter__(self) -> Self:
        self._switch_seconds = sys.getswitchinterval()
        sys.setswitchinterval(SWITCH_SECONDS)  # who hears from a process shall not wait long for those who make keys
        return self

    def __exit__(self, *_: object) -> None:
        sys.setswitchinterval(self._switch_seconds)
        self._makers.shutdown(wait=False, cancel_futures=True)

    def _once(self, key: tuple[str, ...], make: Callable[[], Answer]) -> Answer:
        with self._lock:
            future = self._kept.get(key)
            mine = future is None
            if future is None:
                future = self._kept[key] = Future()
        if not mine:
            return future.result()
        try:
            answer = make()
        except BaseException as error:
            self._forget(key)
            future.set_exception(error if isinstance(error, Exception) else CancelledError())
            raise
        future.set_result(answer)
        with self._lock:
            self._size += answer.size
            while self._size > ROOM and len(self._kept) > 1 and next(iter(self._kept.values())).done():
                _, oldest = self._kept.popitem(last=False)
                self._size -= oldest.result().size
        # What went wrong once is told to those who ask now, and tried again for the next.
        answer.pending.add_done_callback(lambda made: self._forget(key) if made.cancelled() or made.exception() else None)
        return answer

    def _forget(self, key: tuple[str, ...]) -> None:
        with self._lock:
            future = self._kept.pop(key, None)
            if future is not None and future.done() and future.exception() is None:
                self._size -= future.result().size

    def _made(self, kind: str, op: Op, problem: Problem, values: Callable[[], Values]) -> Answer:
        def make() -> Answer:
            drawn = values()
            return Answer(op, problem, drawn, self._makers.submit(refer, op, problem, drawn))

        return self._once((kind, op.name, str(problem)), make)

    def of(self, op: Op, problem: Problem) -> Answer:
        """Return the answer to a problem as drawn."""
        return self._made("drawn", op, problem, lambda: materialise(op, problem))

    @contextmanager
    def made_ahead(self, op: Op, given: Sequence[tuple[Problem, bool]]) -> Iterator[None]:
        """Make the answers to given problems in a thread, while the variants' processes are waited for.

        Parameters
        ----------
        given : sequence
            Problems, and whether the answers to the same with other values are wanted too.
        """
        stop = threading.Event()

        def wanted() -> Iterator[Answer]:
            for problem, replay in given:
                yield self.of(op, problem)
                if replay:
                    yield self.redrawn(self.of(op, problem))
                    yield self.changed(self.of(op, problem))

        def make() -> None:
            made = 0
            with suppress(Exception):  # it comes again where the answer is asked for
                for answer in wanted():
                    made += answer.size
                    wait([answer.pending])  # one after the other: whoever asks for another one now comes next
                    if stop.is_set() or made > ROOM_AHEAD:
                        return

        thread = threading.Thread(target=make, name="answers ahead", daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def redrawn(self, answer: Answer) -> Answer:
        """Return the same problem with the values of the next seed."""
        other = dataclasses.replace(answer.problem, seed=answer.problem.seed + 1)
        return self.of(answer.op, other)

    def changed(self, answer: Answer) -> Answer:
        """Return the same problem with one element of each argument changed."""
        op, problem = answer.op, answer.problem
        return self._made("changed", op, problem, lambda: change_one(op, problem, answer.values))

    def added(self, answer: Answer) -> Answer | None:
        """Return the same call once more, added to what the first one gave; None where nothing accumulates."""
        flags = [n for n in answer.problem.params if n.startswith("accumulate")]
        if not flags:
            return None
        twice = dataclasses.replace(answer.problem, params={**answer.problem.params, **dict.fromkeys(flags, True)})
        exact = answer.reference.outputs
        gained = {a.name: exact[a.name].rounded for a in answer.op.with_role(Role.INOUT)}
        key = dataclasses.replace(answer.problem, op=f"{answer.op.name} twice")
        return self._made(f"added to {key.params}", answer.op, twice, lambda: {**answer.values, **gained})
