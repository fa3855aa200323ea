"""``python -m harness.proof.sandbox.worker``: the process that calls variants; it has no reference outputs.

The first process imports a family at the first request for one of its variants, and forks one process per variant. Each forked
process then starts from the same state and need not repeat the imports. All of them use the socket of the first process, one at
a time. Messages are short; arrays are in shared memory. Output that a variant prints goes to standard error.
"""

from __future__ import annotations

import argparse
import gc
import os
import resource
import sys
import tempfile
import traceback
import warnings
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.child import Server, end_with_parent
from harness.proof.sandbox.buffers import Slot, fresh_inouts, view
from harness.proof.sandbox.confinement import confine_writes
from harness.proof.sandbox.mapping import GuardedMap
from harness.proof.sandbox.process_state import ProcessState
from registry.cuda import SimulatedFault, compile_ahead, load_simulator, simulation
from registry.devices import set_threads
from registry.enums import Device
from registry.op import Role
from registry.paths import ROOT
from registry.table import discover

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from registry.table import Table
    from registry.variant import Variant

__all__ = ["main"]

WRITABLE = (ROOT / ".cache" / "numba", ROOT / ".cache" / "simulator", Path("/dev"))  # and the folder for temporary files
GPU_ERRORS = ("CUDARuntimeError", "CUDADriverError")  # after one of them, the process cannot use the GPU any more


def _limit_memory(limit: int) -> None:
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


class VariantProcess:
    """The process of one variant: it maps the memory and calls the variant."""

    def __init__(self, variant: Variant, memory: int) -> None:
        self.variant, self.memory = variant, memory
        self.map: GuardedMap | None = None
        self.threads = 0
        self.state = ProcessState()

    def call(
        self, slots: list[list[Any]], params: dict[str, Any], size: int, threads: int, settings: dict[str, Any] | None
    ) -> dict[str, str]:
        """Call the variant once and return how it failed: the message of an exception, or ""."""
        if self.map is None or self.map.size != size:
            if self.map is not None:
                self.map.close()
            self.map = GuardedMap(self.memory, size)
        arrays = [view(self.map.buffer, Slot(*slot)) for slot in slots]
        if len(arrays) > len(self.variant.op.arguments):
            params["workspace"] = arrays.pop()
        if threads != self.threads:
            self.threads = threads
            set_threads(threads)
        try:
            returned = self._call_function(arrays, params) if settings is None else self._on_gpu(settings, arrays, params)
        except SimulatedFault as fault:
            return {"error": "\n".join(fault.lines()), "fault": fault.kind}
        except Exception as error:  # noqa: BLE001 (a variant may raise anything)
            lost = type(error).__name__ in GPU_ERRORS
            return {"error": f"{type(error).__name__}: {' '.join(str(error).split())}", **({"lost": "context"} if lost else {})}
        if (settings is None or settings["device"] != Device.CUDA) and (changed := self.state.changed(self.threads)):
            return {"error": f"changed {changed}", "lost": "state"}
        return {"error": "" if returned is None else f"returned a {type(returned).__name__}; a variant must return None"}

    def _call_function(self, arrays: list[NDArray[Any]], params: dict[str, Any]) -> object:
        function: Callable[..., object] = self.variant.function
        return function(*arrays, **params)

    def _unwritten(self, arrays: list[NDArray[Any]], params: dict[str, Any]) -> list[NDArray[Any]]:
        """Return the arrays that the variant must write before it reads them."""
        op = self.variant.op
        fresh = {a.name for a in op.with_role(Role.OUTPUT)} | set(fresh_inouts(op, params))
        unwritten = [array for argument, array in zip(op.arguments, arrays, strict=True) if argument.name in fresh]
        return [*unwritten, *([params["workspace"]] if "workspace" in params else [])]

    def _on_gpu(self, settings: dict[str, Any], arrays: list[NDArray[Any]], params: dict[str, Any]) -> object:
        """Call in the simulator, or on the GPU (unverified on hardware)."""
        if settings["device"] == Device.SIM:
            with simulation(settings["mode"], settings["order"], unwritten=self._unwritten(arrays, params)):
                return self._call_function(arrays, params)
        import cupy

        # The whole memory is copied to the GPU and back: alignments stay as they are, and so do the guard bands.
        memory = np.frombuffer(self.map.buffer if self.map else b"", np.uint8)
        whole = cupy.asarray(memory)

        def there(array: NDArray[Any]) -> Any:  # noqa: ANN401 (CuPy has no types)
            start = array.ctypes.data - memory.ctypes.data
            return whole[start : start + array.nbytes].view(array.dtype).reshape(array.shape)

        work = {"workspace": there(params["workspace"])} if "workspace" in params else {}
        returned = self._call_function([there(array) for array in arrays], {**params, **work})
        memory[...] = cupy.asnumpy(whole)
        return returned


def _serve_variants(server: Server, table: Table, memory: int, limit: int) -> None:
    """Import families, and fork one process per variant, until the owner closes the socket."""

    def begin(op: str, variant: str, device: str, ahead: bool) -> int:
        """Fork a process, which replies with its id and then serves calls; return its exit code when it has ended."""
        called = table.variant(op, variant)  # the first use of a family imports it, for all forked processes
        if device == Device.SIM:
            load_simulator()  # once, for all forked processes
        parent = os.getpid()
        gc.freeze()  # a collection in a forked process would copy the pages of all objects that the processes share
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python warns of a fork with threads; those of BLAS survive a fork
            pid = os.fork()
        if pid:
            return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        try:
            gc.enable()
            end_with_parent()
            if os.getppid() != parent:  # the first process ended before the call of `end_with_parent`
                os._exit(1)
            if device != Device.CUDA:  # CUDA's driver reserves more addresses than there is memory, and writes files
                _limit_memory(limit)
                confine_writes((*WRITABLE, Path(tempfile.gettempdir())))
            server.reply(os.getpid())
            if ahead:
                with suppress(Exception):  # the call of the kernel raises it again
                    compile_ahead(called)
            server.serve(call=VariantProcess(called, memory).call)
        except BaseException:  # noqa: BLE001 (such as the `SystemExit` of a variant)
            traceback.print_exc()
            os._exit(1)
        os._exit(0)

    server.serve(ready=lambda: None, begin=begin)


def main(argv: list[str] | None = None) -> int:
    """Serve variants until the owner closes the socket."""
    parser = argparse.ArgumentParser(prog="python -m harness.proof.sandbox.worker", description=__doc__)
    parser.add_argument("--memory", type=int, required=True, help="inherited memory that holds the arrays")
    parser.add_argument("--memory-limit", type=int, required=True, help="bytes that a variant may allocate")
    parser.add_argument("--kernels-path", type=Path, action="append", default=[], help="a folder of more variants")
    options = parser.parse_args(argv)
    server = Server()
    gc.disable()  # imports leave little garbage
    for folder in WRITABLE:
        folder.mkdir(parents=True, exist_ok=True)
    np.seterr(all="ignore")
    _serve_variants(server, discover(*options.kernels_path), options.memory, options.memory_limit)
    return 0


if __name__ == "__main__":
    sys.exit(main())
