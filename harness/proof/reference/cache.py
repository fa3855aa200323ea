"""Answer keys: the right outputs of a problem, computed once for all variants of an op. Workers never see them.

Keys are made beside those who ask, so that a variant can be called meanwhile, the newest first: whoever makes a failure smaller
waits for the key of the last problem, and no more for those that were asked before.
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

    from harness.proof.reference.tolerance import Reference
    from registry.op import Op
    from registry.problem import Problem

    Values = dict[str, NDArray[Any]]
    Question = tuple[Op, Problem, Values]
    Make = Callable[[Op, Problem, Values], Reference]

__all__ = ["Answer", "Answers"]

ROOM = 256 << 20  # bytes of values that are kept
KEY_BYTES = 24  # for each element of an output


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


class _NewestFirst:
    """Threads that make, each with a maker, what was asked for last."""

    def __init__(self, makers: Sequence[Make]) -> None:
        self._asked: LifoQueue[tuple[Future[Reference], Question] | None] = LifoQueue()
        self._lock, self._stopped = threading.Lock(), False
        self._threads = [
            threading.Thread(target=self._work, args=(make,), name=f"answers {n}", daemon=True) for n, make in enumerate(makers)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, *question: *Question) -> Future[Reference]:
        """Have a key made; what that raises, the future tells."""
        future: Future[Reference] = Future()
        with self._lock:
            if self._stopped:
                future.cancel()
            else:
                self._asked.put((future, question))
        return future

    def _work(self, make: Make) -> None:
        while asked := self._asked.get():
            future, question = asked
            try:
                future.set_result(make(*question))
            except Exception as error:  # noqa: BLE001 (told where the result is asked for)
                future.set_exception(error)

    def stop(self) -> None:
        """Make nothing more, and tell those who wait; what is under way is waited for only as the process ends."""
        with self._lock, suppress(Empty):
            self._stopped = True
            while asked := self._asked.get_nowait():
                asked[0].cancel()
        for thread in self._threads:
            self._asked.put(None)
            atexit.register(thread.join)  # a thread inside torch must not see the interpreter end


class Answers:
    """A store of answers, shared by the threads that examine variants of the same op; use it in a ``with`` statement.

    Parameters
    ----------
    makers : sequence of callable
        Each makes one key at a time, as `harness.proof.reference.tolerance.refer` does, and all of them at the same time.
    """

    def __init__(self, makers: Sequence[Make]) -> None:
        self._lock = threading.Lock()
        self._makers = _NewestFirst(makers)
        self._kept: OrderedDict[tuple[str, ...], Future[Answer]] = OrderedDict()
        self._size = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._makers.stop()

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
            return Answer(op, problem, drawn, self._makers.submit(op, problem, drawn))

        return self._once((kind, op.name, str(problem)), make)

    def of(self, op: Op, problem: Problem) -> Answer:
        """Return the answer to a problem as drawn."""
        return self._made("drawn", op, problem, lambda: materialise(op, problem))

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
