"""``python -m harness.proof.sandbox.worker``: the process that calls variants; it has no reference outputs.

The first process imports a family at the first request for one of its variants, and forks one child per variant. Each child
then starts from the same state and need not repeat the imports. Parent and worker exchange short JSON messages over one socket;
arrays are in shared memory. Output that a variant prints goes to standard error.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import os
import resource
import signal
import socket
import sys
import tempfile
import warnings
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.proof.sandbox.buffers import Slot, fresh_inouts, view
from harness.proof.sandbox.confinement import confine_writes
from harness.proof.sandbox.mapping import GuardedMap
from harness.proof.sandbox.process_state import ProcessState
from registry.cuda import SimulatedFault, compile_ahead, load_simulator, simulation
from registry.devices import set_threads
from registry.op import Role
from registry.paths import ROOT
from registry.table import discover

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from registry.table import Table
    from registry.variant import Variant

__all__ = ["main"]

LONGEST_MESSAGE = 1 << 16
PR_SET_PDEATHSIG = 1
WRITABLE = (ROOT / ".cache" / "numba", ROOT / ".cache" / "simulator", Path("/dev"))  # and the folder for temporary files
GPU_ERRORS = ("CUDARuntimeError", "CUDADriverError")  # after one of them, the process cannot use the GPU any more


def _die_with_parent(parent: int) -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # the parent ended before the call of prctl
        os._exit(1)


def _limit_memory(limit: int) -> None:
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


class Child:
    """The process of one variant: it maps the memory, calls the variant, and replies."""

    def __init__(self, variant: Variant, talk: socket.socket, memory: int) -> None:
        self.variant, self.talk, self.memory = variant, talk, memory
        self.map: GuardedMap | None = None
        self.threads = 0
        self.state = ProcessState()

    def serve(self) -> None:
        """Handle calls until the message ``stop``."""
        while (message := self.talk.recv(LONGEST_MESSAGE)) and (call := json.loads(message)) != "stop":
            self.talk.send(json.dumps(self.reply(call)).encode())

    def reply(self, call: dict[str, Any]) -> dict[str, str]:
        """Call the variant once and return the reply, which holds the message of an exception."""
        if self.map is None or self.map.size != call["size"]:
            if self.map is not None:
                self.map.close()
            self.map = GuardedMap(self.memory, call["size"])
        arrays = [view(self.map.buffer, Slot(*slot)) for slot in call["slots"]]
        params = dict(call["params"])
        if call["workspace"]:
            params["workspace"] = arrays.pop()
        if call["threads"] != self.threads:
            self.threads = call["threads"]
            set_threads(self.threads)
        call_it = self._call_function if "settings" not in call else partial(self._on_gpu, call["settings"])
        try:
            returned: object = call_it(arrays, params)
        except SimulatedFault as fault:
            return {"error": "\n".join(fault.lines()), "fault": fault.kind}
        except Exception as error:  # noqa: BLE001 (a variant may raise anything)
            lost = type(error).__name__ in GPU_ERRORS
            return {"error": f"{type(error).__name__}: {' '.join(str(error).split())}", **({"lost": "context"} if lost else {})}
        if call.get("settings", {}).get("device") != "cuda" and (changed := self.state.changed(self.threads)):
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
        if settings["device"] == "sim":
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


def _serve_variants(table: Table, talk: socket.socket, memory: int, limit: int) -> None:
    talk.send(json.dumps({"ready": os.getpid()}).encode())
    while message := talk.recv(LONGEST_MESSAGE):
        order = json.loads(message)
        variant = table.variant(order["op"], order["variant"])  # the first use of a family imports it, for all children
        if order["device"] == "sim":
            load_simulator()  # once, for all children
        parent = os.getpid()
        gc.freeze()  # a collection in a child would copy the pages of all objects that children share
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python warns of a fork with threads; those of BLAS survive a fork
            pid = os.fork()
        if pid == 0:
            gc.enable()
            _die_with_parent(parent)
            if order["device"] != "cuda":  # CUDA's driver reserves more addresses than there is memory, and writes files
                _limit_memory(limit)
                confine_writes((*WRITABLE, Path(tempfile.gettempdir())))
            talk.send(json.dumps({"pid": os.getpid()}).encode())
            if order["ahead"]:
                with suppress(Exception):  # the call of the kernel raises it again
                    compile_ahead(variant)
            Child(variant, talk, memory).serve()
            os._exit(0)
        _, status = os.waitpid(pid, 0)
        talk.send(json.dumps({"exited": os.waitstatus_to_exitcode(status)}).encode())


def main(argv: list[str] | None = None) -> int:
    """Serve variants over the inherited socket until the parent closes it."""
    parser = argparse.ArgumentParser(prog="python -m harness.proof.sandbox.worker", description=__doc__)
    parser.add_argument("--parent", type=int, required=True, help="process that this one ends with")
    parser.add_argument("--socket", type=int, required=True, help="inherited socket to the parent")
    parser.add_argument("--memory", type=int, required=True, help="inherited memory that holds the arrays")
    parser.add_argument("--memory-limit", type=int, required=True, help="bytes that a variant may allocate")
    parser.add_argument("--kernels-path", type=Path, action="append", default=[], help="a folder of more variants")
    options = parser.parse_args(argv)
    _die_with_parent(options.parent)
    gc.disable()  # imports leave little garbage
    for folder in WRITABLE:
        folder.mkdir(parents=True, exist_ok=True)
    os.dup2(2, 1)
    np.seterr(all="ignore")
    with socket.socket(fileno=options.socket) as talk:
        _serve_variants(discover(*options.kernels_path), talk, options.memory, options.memory_limit)
    return 0


if __name__ == "__main__":
    sys.exit(main())
