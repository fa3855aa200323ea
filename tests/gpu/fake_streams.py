"""The streams, graphs and events of the stand-in for CuPy. Work is done at its submission, unless a stream captures it."""

from __future__ import annotations

from time import perf_counter

__all__ = ["CUDADriverError", "CUDARuntimeError", "Event", "Graph", "Stream", "context", "get_elapsed_time"]

NO_CAPTURE = "cudaErrorStreamCaptureUnsupported: operation not permitted when stream is capturing"
INVALIDATED = "cudaErrorStreamCaptureInvalidated: operation failed due to a previous error during capture"
IMPLICIT = "cudaErrorStreamCaptureImplicit: operation would make the legacy stream depend on a capturing blocking stream"


class CUDARuntimeError(RuntimeError):
    """An error of the CUDA runtime, like ``cupy.cuda.runtime.CUDARuntimeError``."""


class CUDADriverError(RuntimeError):
    """An error of the CUDA driver, like ``cupy.cuda.driver.CUDADriverError``."""


class Context:
    """The state of this process on the device: a fatal error, and the stack of current streams."""

    def __init__(self):
        self.lost = ""
        self.device = 0
        self.streams, self.capturing, self.done = [], [], []

    def submit(self, work, what):
        """Do `work`, or record it if the current stream captures."""
        if self.lost:
            raise CUDARuntimeError(self.lost)
        stream = self.streams[-1]
        if stream in self.capturing:
            stream.captured.append((work, what))
            return
        if stream is Stream.null and any(not s.is_non_blocking for s in self.capturing):
            self.refuse(IMPLICIT)
        work()
        self.done.append((stream.ptr, what))

    def wait(self):
        """Refuse an operation that no stream may capture (a wait for the device, an allocation) and invalidate the captures."""
        if self.lost:
            raise CUDARuntimeError(self.lost)
        if self.capturing:
            self.refuse(NO_CAPTURE)

    def refuse(self, why):
        """Raise an error and invalidate all captures."""
        for stream in self.capturing:
            stream.captured = None
        raise CUDARuntimeError(why)


context = Context()


class Stream:
    """A queue of work that is always empty. As a context manager it becomes the current stream."""

    null: Stream

    def __init__(self, null=False, non_blocking=False):
        self.ptr, self.captured = (0 if null else id(self)), []
        self.is_non_blocking = non_blocking

    def __enter__(self):
        context.streams.append(self)
        return self

    def __exit__(self, *_):
        context.streams.pop()

    def use(self):
        """Become the current stream."""
        context.streams[-1] = self
        return self

    def synchronize(self):
        """Wait until all work is done."""
        context.wait()

    def begin_capture(self):
        """Record what is submitted from now on, instead of doing it."""
        if self.ptr == 0:
            raise RuntimeError("cannot capture on the default (legacy) stream")
        self.captured = []
        context.capturing.append(self)

    def end_capture(self):
        """Return what was recorded."""
        context.capturing.remove(self)
        if self.captured is None:
            raise CUDARuntimeError(INVALIDATED)
        return Graph(self.captured)

    def is_capturing(self):
        """Return whether the stream records submitted work."""
        return self in context.capturing


class Graph:
    """Recorded work."""

    def __init__(self, work):
        self._work = work

    def upload(self, stream=None):
        """Do nothing: the graph needs no upload."""

    def launch(self, stream=None):
        """Do the recorded work in order."""
        with stream or context.streams[-1]:
            for work, what in self._work:
                context.submit(work, what)


class Event:
    """A point in time on the device's clock, which is the CPU's clock here."""

    def __init__(self, block=False):
        self.block, self.stream, self.at = block, None, None

    def record(self, stream=None):
        """Store the current time."""
        self.stream, self.at = stream, perf_counter()

    def synchronize(self):
        """Wait for the work before the event."""
        context.wait()


def get_elapsed_time(start_event, end_event):
    """Return the milliseconds between two events."""
    return 1e3 * (end_event.at - start_event.at)


Stream.null = Stream(null=True)
context.streams.append(Stream.null)
