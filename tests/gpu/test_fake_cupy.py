"""The stand-in for CuPy has CuPy's names and errors. If CuPy is installed, its names are compared."""

import importlib.util
import subprocess
import sys

import numpy as np
import pytest

from registry.cuda import CudaKernel, launch
from registry.dtypes import BFLOAT16
from registry.paths import ROOT

ADD_ONE = """extern "C" __global__ void add_one(float* x, int size) {
  int i = blockIdx.x * 32 + threadIdx.x;
  if (i < size) x[i] += 1;
}
extern "C" __global__ void far_off(float* x, int size) { x[1LL << 40] = size; }
"""
NAMES = """
import cupy
for name in {names}:
    attribute = cupy
    for part in name.split("."):
        if part == "at" or not hasattr(attribute, part):
            print(name)
            break
        attribute = getattr(attribute, part)
"""
CLASSES = {
    "ndarray": (
        "__cuda_array_interface__",
        "T",
        "fill",
        "reshape",
        "view",
        "copy",
        "sum",
        "get",
        "item",
        "flags",
        "nbytes",
        "__dlpack__",
    ),
    "RawModule": ("get_function",),
    "RawKernel": ("__call__", "max_dynamic_shared_size_bytes"),
    "cuda.Stream": ("null", "use", "synchronize", "begin_capture", "end_capture", "is_capturing", "is_non_blocking"),
    "cuda.Graph": ("launch", "upload"),
    "cuda.Event": ("record", "synchronize"),
    "cuda.Device": ("attributes", "compute_capability", "mem_info", "synchronize", "use"),
    "cuda.runtime": ("CUDARuntimeError", "getDeviceCount", "getDeviceProperties", "runtimeGetVersion"),
    "cuda.driver": ("CUDADriverError",),
    "cuda.compiler": ("CompileException",),
    "cuda": ("get_current_stream", "get_elapsed_time"),
}


def attribute(module, path):
    """Return the object at ``module.path``."""
    for part in path.split("."):
        module = getattr(module, part)
    return module


@pytest.fixture
def add_one(tmp_path):
    """Return a kernel that adds one to each element, and a kernel that writes outside of all arrays."""
    (tmp_path / "kernels.cu").write_text(ADD_ONE)
    return [CudaKernel(str(tmp_path / "kernels.py"), name) for name in ("add_one", "far_off")]


@pytest.mark.skipif(importlib.util.find_spec("cupy") is None, reason="CuPy is not installed: there is nothing to compare with")
def test_every_name_is_one_of_cupy():
    names = [f"{group}.{name}" for group, members in CLASSES.items() for name in members]
    names += ["asarray", "asnumpy", "empty", "zeros", "get_default_memory_pool", "__version__"]
    command = [sys.executable, "-c", NAMES.format(names=names)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


@pytest.mark.parametrize("group", CLASSES)
def test_the_stand_in_has_them(gpu, group):
    members = set(CLASSES[group]) - {"is_non_blocking", "max_dynamic_shared_size_bytes"}  # attributes of instances
    assert [name for name in members if not hasattr(attribute(gpu, group), name)] == []


def test_arrays_of_the_cpu_and_the_gpu_do_not_mix(gpu):
    there = gpu.zeros((4,), np.float32)
    with pytest.raises(TypeError, match="Implicit conversion"):
        np.asarray(there)
    with pytest.raises(TypeError, match="Unsupported type"):
        there[...] = np.ones(4, np.float32)
    with pytest.raises(TypeError):
        np.add(there, np.ones(4, np.float32))
    there[...] = gpu.asarray(np.arange(4, dtype=np.float32))
    there[2] = 9.0
    np.testing.assert_array_equal(gpu.asnumpy(there), np.float32([0, 1, 9, 3]))
    assert there[1:3].view(np.int32).reshape(2, 1).__cuda_array_interface__["shape"] == (2, 1)


def test_arrays_may_be_bfloat16(gpu):
    values = np.float32([1.0, 1.01, -3.0, np.nan]).astype(BFLOAT16)
    there = gpu.asarray(values)
    assert (there.dtype, there.itemsize, there.nbytes) == (BFLOAT16, 2, 8)
    assert gpu.empty((3,), BFLOAT16).dtype == BFLOAT16
    there[1:2] = gpu.asarray(np.float32([2.0]).astype(BFLOAT16))
    there.view(np.uint16)[0] = 0x4080
    assert gpu.asnumpy(there).astype(np.float32)[:3].tolist() == [4.0, 2.0, -3.0]
    there.view(np.int16).fill(-1)
    assert np.isnan(there.get().astype(np.float32)).all()
    assert there.__cuda_array_interface__["typestr"] == "<V2"  # as in CuPy: the type string does not name bfloat16


def test_a_kernel_runs_and_a_captured_one_runs_when_it_is_replayed(gpu, add_one):
    there = gpu.zeros((40,), np.float32)
    launch(add_one[0], 2, 32, (there, 40))
    stream = gpu.cuda.Stream(non_blocking=True)
    with stream:
        stream.begin_capture()
        assert stream.is_capturing()
        launch(add_one[0], 2, 32, (there, 40))
        graph = stream.end_capture()
    assert set(there.get()) == {1}
    graph.launch(stream)
    graph.launch(stream)
    assert set(there.get()) == {3}
    with pytest.raises(RuntimeError, match="default"):
        gpu.cuda.Stream.null.begin_capture()


@pytest.mark.parametrize("forbidden", ["asnumpy", "synchronize", "empty"])
def test_a_capture_that_waits_or_allocates_is_refused_and_lost(gpu, forbidden):
    there, stream = gpu.zeros((4,), np.float32), gpu.cuda.Stream(non_blocking=True)
    forbidden = {"asnumpy": lambda: gpu.asnumpy(there), "synchronize": stream.synchronize, "empty": lambda: gpu.empty((4,))}[
        forbidden
    ]
    with stream:
        stream.begin_capture()
        there.fill(1)
        with pytest.raises(gpu.cuda.runtime.CUDARuntimeError, match="StreamCaptureUnsupported"):
            forbidden()
        with pytest.raises(gpu.cuda.runtime.CUDARuntimeError, match="StreamCaptureInvalidated"):
            stream.end_capture()
        forbidden()
    assert set(there.get()) == {0}


def test_no_graph_holds_a_call_of_a_library(gpu):
    there, stream = gpu.zeros((2, 2), np.float32), gpu.cuda.Stream(non_blocking=True)
    with stream:
        stream.begin_capture()
        with pytest.raises(NotImplementedError, match="cuBLAS"):
            gpu.cublas.gemm("N", "T", there, there, out=there)
        stream.end_capture()


def test_the_default_stream_may_not_run_into_the_capture_of_a_blocking_one(gpu):
    there, blocking = gpu.zeros((4,), np.float32), gpu.cuda.Stream()
    blocking.begin_capture()
    with pytest.raises(gpu.cuda.runtime.CUDARuntimeError, match="StreamCaptureImplicit"):
        there.fill(1)
    with pytest.raises(gpu.cuda.runtime.CUDARuntimeError, match="StreamCaptureInvalidated"):
        blocking.end_capture()


def test_shared_memory_has_to_be_asked_for(gpu, add_one):
    there = gpu.zeros((40,), np.float32)
    launch(add_one[0], 2, 32, (there, 40), shared=64 * 1024)
    kernel = gpu.RawModule(code=ADD_ONE).get_function("add_one")
    with pytest.raises(RuntimeError, match="INVALID_VALUE"):
        kernel((2,), (32,), (there, np.int64(40)), shared_mem=64 * 1024)


def test_after_an_illegal_access_nothing_works_any_more(gpu, add_one, monkeypatch):
    monkeypatch.setattr(gpu._context, "lost", "")  # noqa: SLF001 (restored after the test)
    there = gpu.zeros((4,), np.float32)
    launch(add_one[1], 1, 1, (there, 4))
    with pytest.raises(gpu.cuda.runtime.CUDARuntimeError, match="IllegalAddress"):
        there.get()
    with pytest.raises(gpu.cuda.runtime.CUDARuntimeError, match="IllegalAddress"):
        there.fill(0)
