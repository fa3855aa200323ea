"""CUDA graphs: kernel launches that are captured once and then submitted together, without Python in between.

The code follows CuPy's documented interface (`cupy.cuda.Stream.begin_capture`, `cupy.cuda.Graph`). No GPU has run it yet.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["GraphedWork", "capture"]


def capture(stream: Any, work: Callable[[], object]) -> Callable[[], None]:  # noqa: ANN401 (CuPy has no types)
    """Capture the launches that `work` submits to a stream, without running them, and return a function that runs them."""
    stream.begin_capture()
    try:
        work()
    finally:
        graph = stream.end_capture()
    graph.upload(stream)

    def launch() -> None:
        graph.launch(stream)

    return launch


class GraphedWork:
    """Work on the current stream that makes the same launches each time, run as a CUDA graph from the second call on.

    The first call runs the work, because compiling kernels and loading modules are not allowed during a capture. The second
    call captures the work and runs the graph. Work that cannot be captured is run launch by launch: CuPy refuses to capture
    calls of NVIDIA's libraries.

    Parameters
    ----------
    work : callable
        It launches kernels; it neither waits for the GPU nor allocates. Only values in its arrays may change between calls.
    refused : callable
        Called with the reason if the work cannot be captured.
    """

    def __init__(self, work: Callable[[], None], refused: Callable[[str], None]) -> None:
        self._work, self._refused = work, refused
        self._submit: Callable[[], None] | None = None
        self._warm = False

    def __call__(self) -> None:
        """Run the work."""
        if self._submit is None and self._warm:
            self._submit = self._captured()
        self._warm = True
        (self._submit or self._work)()

    def _captured(self) -> Callable[[], None]:
        import cupy

        try:
            return capture(cupy.cuda.get_current_stream(), self._work)
        except RuntimeError as error:  # the base class of CuPy's CUDA errors and of its NotImplementedError
            self._refused(" ".join(str(error).split()))
            return self._work
