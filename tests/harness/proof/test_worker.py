"""The worker: one fresh process per variant, short messages; a variant cannot end the process that proves it."""

import os
import threading

import numpy as np
import psutil
import pytest

from harness.child import Stopped
from harness.proof.cases.values import materialise
from harness.proof.sandbox.buffers import Buffers
from harness.proof.sandbox.client import Died, Limits, Raised, Worker
from registry.machine import thread_count
from registry.problem import Problem
from registry.table import discover

FILE = '''"""{name}

Idea: a test.
Source: a test.
"""
import os, sys
import numpy as np
from kernels.softmax.spec import SOFTMAX
from registry import register
CALLS = []

@register(SOFTMAX{options})
def {name}(x, y, *{keywords}):
    CALLS.append(1)
    {body}
'''
VARIANTS = {
    "numpy_says_its_process": "y[:] = os.getpid() % 65536",
    "numpy_says_torch": "y[:] = 'torch' in sys.modules",
    "numpy_counts_calls": "y[:] = len(CALLS)",
    "numpy_breaks_globals": "np.exp = np.zeros_like = None; y[:] = 0",
    "numpy_needs_globals": "y[:] = np.exp(np.zeros_like(x))",
    "numpy_fills_memory": "np.ones(1 << 40)",
    "numpy_prints": "print('not a message'); y[:] = 1",
    "numpy_raises": "raise KeyError('two\\nlines')",
    "numpy_says_threads": "from threadpoolctl import ThreadpoolController as Pools; "
    "y[:] = Pools().select(user_api='blas').info()[0]['num_threads']",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Make variants that report the state of their process."""
    folder = tmp_path_factory.mktemp("reporting")
    for name, body in VARIANTS.items():
        (folder / f"{name}.py").write_text(FILE.format(name=name, body=body, options="", keywords="").replace(", *)", ")"))
    scratch = FILE.format(
        name="numpy_scratch",
        options=", workspace=lambda threads, N, C: threads * C",
        keywords=", workspace",
        body="assert np.isnan(workspace).all(); y[:] = workspace.size; workspace[:] = 0",
    )
    (folder / "numpy_scratch.py").write_text(scratch)
    return folder


@pytest.fixture(scope="module")
def own(folder):
    """Start a worker with these variants."""
    with Worker([folder], Limits(memory=4 << 30)) as process:
        yield process


def called(worker, folder, name, threads=1, columns=3):
    """Call a variant on a small problem and return the largest element of y."""
    table = discover(folder)
    assert table.unloadable == []
    variant = table.variant("softmax", name)
    problem = Problem("softmax", {"N": 2, "C": columns})
    buffers = Buffers(variant.op, problem, variant.workspace_size(problem.dims, threads) if variant.workspace else None)
    values = materialise(variant.op, problem)
    buffers.fill(worker.memory, values)
    worker.call(variant, buffers, threads)
    assert buffers.damage(worker.memory, values) == ""
    return float(buffers.outputs(worker.memory)["y"].max(initial=-1.0))


def test_every_variant_has_a_process_of_its_own(own, folder):
    first = called(own, folder, "numpy_says_its_process")
    assert called(own, folder, "numpy_says_its_process") == first
    called(own, folder, "numpy_prints")
    assert called(own, folder, "numpy_says_its_process") != first


def test_variant_starts_from_a_clean_state(own, folder):
    assert [called(own, folder, "numpy_counts_calls") for _ in range(3)] == [1, 2, 3]
    with pytest.raises(Died, match=r"^changed numpy.exp and numpy.zeros_like$"):
        called(own, folder, "numpy_breaks_globals")
    assert called(own, folder, "numpy_needs_globals") == 1
    assert called(own, folder, "numpy_counts_calls") == 1


def test_torch_is_not_in_the_process(own, folder):
    assert called(own, folder, "numpy_says_torch") == 0


def test_an_exception_is_one_line_and_the_process_goes_on(own, folder):
    with pytest.raises(Raised, match=r"^KeyError: 'two\\nlines'$"):
        called(own, folder, "numpy_raises")
    with pytest.raises(Raised):
        called(own, folder, "numpy_raises")


def test_memory_is_limited(own, folder):
    with pytest.raises(Raised, match="MemoryError"):
        called(own, folder, "numpy_fills_memory")


def test_workspace_is_poisoned_scratch(own, folder):
    assert called(own, folder, "numpy_scratch") == 3
    assert called(own, folder, "numpy_scratch") == 3


def test_workspace_of_no_elements_is_passed_too(own, folder):
    assert called(own, folder, "numpy_scratch", columns=0) == -1


def test_threads_are_set(own, folder):
    assert called(own, folder, "numpy_says_threads", threads=1) == 1
    assert called(own, folder, "numpy_says_threads", threads=thread_count()) == thread_count()


def test_worker_that_is_killed_is_started_again(folder):
    before = set(psutil.Process().children())
    with Worker([folder]) as worker:
        called(worker, folder, "numpy_prints")
        (process,) = set(psutil.Process().children()) - before
        process.kill()
        process.wait()
        with pytest.raises(Died):
            called(worker, folder, "numpy_prints")
        assert called(worker, folder, "numpy_prints") == 1


def test_closed_worker_calls_nothing(folder):
    worker = Worker([folder])
    called(worker, folder, "numpy_prints")
    worker.stop()
    with pytest.raises(Stopped):
        called(worker, folder, "numpy_prints")
    worker.close()


def test_memory_that_grows_is_mapped_again(own, folder):
    table = discover(folder)
    variant = table.variant("softmax", "numpy_prints")
    problem = Problem("softmax", {"N": 1, "C": own.memory.size // 2})
    buffers = Buffers(variant.op, problem)
    buffers.fill(own.memory, materialise(variant.op, problem))
    own.call(variant, buffers, 1)
    assert np.all(buffers.outputs(own.memory)["y"] == 1)


def test_a_worker_outlives_the_thread_that_started_it(folder):
    pids = []
    with Worker([folder]) as worker:
        thread = threading.Thread(target=lambda: pids.append(called(worker, folder, "numpy_says_its_process")))
        thread.start()
        thread.join()
        assert called(worker, folder, "numpy_says_its_process") == pids[0]


def test_a_process_that_compiles_ahead_does_so_before_it_is_called_and_ends_with_the_worker(tmp_path):
    waited_for = tmp_path / "waited_for.cuh"
    os.mkfifo(waited_for)  # the compiler waits until the pipe is closed
    (tmp_path / "cuda_waits.cu").write_text('#include "waited_for.cuh"')
    text = FILE.format(name="cuda_waits", body="pass", options="", keywords="").replace(", *)", ")")
    kernel = "from registry.cuda import CudaKernel\nKERNEL = CudaKernel(__file__, 'waits')\n@register"
    (tmp_path / "cuda_waits.py").write_text(text.replace("@register", kernel))
    with Worker([tmp_path]) as worker:
        before = set(psutil.Process().children(recursive=True))
        worker.begin(discover(tmp_path).variant("softmax", "cuda_waits"), "sim", ahead=True)
        opened = []
        reader = threading.Thread(target=lambda: opened.append(os.open(waited_for, os.O_WRONLY)), daemon=True)
        reader.start()
        reader.join(60)
        assert opened, "no process compiles"
        started = set(psutil.Process().children(recursive=True)) - before
    os.close(opened[0])
    assert started
    assert psutil.wait_procs(started, timeout=20)[1] == []
