"""Fixtures of the GPU tests: a stand-in replaces CuPy in this process and in every child process."""

import sys

import pytest

from harness.race import champions, controls
from kernels.matmul import cuda_cublas
from registry import cuda as launcher
from registry import machine
from tests.gpu import fake_cupy


@pytest.fixture
def gpu(tmp_path, monkeypatch):
    """Replace CuPy by the stand-in."""
    monkeypatch.setitem(sys.modules, "cupy", fake_cupy)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
    of_launcher = launcher._gpu_module, launcher._gpu_function  # noqa: SLF001 (private caches that the test clears)
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
    """Accept every value of a race's controls and every interval, and race a small problem: these tests measure no machine."""
    monkeypatch.setattr(controls, "BANDS", dict.fromkeys(("a_a", "twice"), (0.0, float("inf"))))
    monkeypatch.setattr(controls, "WORK", 1e4)
    monkeypatch.setattr(controls, "ROUNDS", 3)
    monkeypatch.setattr(champions, "WIDEST", float("inf"))
