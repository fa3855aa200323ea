"""CUDA graphs: launches recorded once and then submitted together, without Python in between. Unverified on hardware.

Written to CuPy's documented interface (`cupy.cuda.Stream.begin_capture`, `cupy.cuda.Graph`); no GPU has replayed one yet.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Replay", "capture"]


def capture(stream: Any, work: Callable[[], object]) -> Callable[[], None]:  # noqa: ANN401 (CuPy has no types)
    """Record what `work` submits to a stream, without doing it, and return what does it."""
    stream.begin_capture()
    try:
        work()
    finally:
        graph = stream.end_capture()
    graph.upload(stream)

    def launch() -> None:
        graph.launch(stream)

    return launch


class Replay:
    """Work on the current stream that is the same each time.

    The first call does it: kernels are compiled and modules loaded, which a capture does not allow. The second records it, and
    from then on the recording is submitted. What cannot be recorded goes on being done as it is: CuPy refuses to record calls
    of NVIDIA's libraries.

    Parameters
    ----------
    work : callable
        Launches kernels; nothing in it waits for the GPU, allocates, or changes from call to call but the values in arrays.
    refused : callable
        Told why, if it cannot be recorded.
    """

    def __init__(self, work: Callable[[], None], refused: Callable[[str], None]) -> None:
        self._work, self._refused = work, refused
        self._submit: Callable[[], None] | None = None
        self._warm = False

    def __call__(self) -> None:
        """Do the work."""
        if self._submit is None and self._warm:
            self._submit = self._recorded()
        self._warm = True
        (self._submit or self._work)()

    def _recorded(self) -> Callable[[], None]:
        import cupy

        try:
            return capture(cupy.cuda.get_current_stream(), self._work)
        except RuntimeError as error:  # CuPy's errors of CUDA and its NotImplementedError are such
            self._refused(" ".join(str(error).split()))
            return self._work
