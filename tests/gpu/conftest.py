"""A GPU for the tests of this folder: the stand-in for CuPy, in this process and in every child process."""

import sys

import pytest

from harness.race import champions, controls
from kernels.matmul import cuda_cublas
from registry import cuda as launcher
from registry import machine
from tests.gpu import fake_cupy


@pytest.fixture
def gpu(tmp_path, monkeypatch):
    """Put the stand-in in CuPy's place."""
    monkeypatch.setitem(sys.modules, "cupy", fake_cupy)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
    of_launcher = launcher._gpu_module, launcher._gpu_function  # noqa: SLF001 (theirs to forget)
    caches = (*of_launcher, cuda_cublas._why_not, machine.machine_key, machine.versions)  # noqa: SLF001 (the same)
    for kept in caches:
        kept.cache_clear()
    fake_cupy.done.clear()
    yield fake_cupy.install(tmp_path / "site")
    fake_cupy.cuda.Stream.null.use()
    for kept in caches:
        kept.cache_clear()


@pytest.fixture
def quick(monkeypatch):
    """Let the controls of a race read anything, on a small problem, and any interval decide: this tests no machine."""
    monkeypatch.setattr(controls, "BANDS", dict.fromkeys(("a_a", "twice"), (0.0, float("inf"))))
    monkeypatch.setattr(controls, "WORK", 1e4)
    monkeypatch.setattr(controls, "ROUNDS", 3)
    monkeypatch.setattr(champions, "WIDEST", float("inf"))
