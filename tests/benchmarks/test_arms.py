"""The arms of the step benchmark: where each can run, its preloaded library and its compiler caches."""

import os
import shutil
import subprocess
import sys

import pytest

from benchmarks import mkl_avx512
from benchmarks.arms import ARMS, choose_arms, environment_of, left_out
from benchmarks.step_arm import hide_library
from registry.paths import ROOT

needs_compiler = pytest.mark.skipif(
    not any(map(shutil.which, mkl_avx512.COMPILERS)), reason="no C compiler to build the preloaded library with"
)
AVX2 = "oneMKL 2024 for Intel(R) 64 architecture Intel(R) Advanced Vector Extensions 2 (Intel(R) AVX2) enabled processors"
AVX512 = AVX2.replace("AVX2", "AVX-512")
ASK = "import ctypes; print(ctypes.CDLL(None).mkl_serv_intel_cpu_true())"


@pytest.fixture
def processor(monkeypatch, tmp_path):
    """Return a function that sets the flags of the processor and MKL's instructions without and with the library."""

    def say(flags, without, with_library=""):
        (tmp_path / "cpuinfo").write_text(f"flags : {flags}\n")
        monkeypatch.setattr(mkl_avx512, "CPUINFO", tmp_path / "cpuinfo")
        monkeypatch.setattr(mkl_avx512, "instructions", lambda environment=None: with_library if environment else without)

    return say


def test_each_arm_is_taken_once_in_the_order_given():
    assert [arm.name for arm in choose_arms("torch, crucible,torch")] == ["torch", "crucible"]


@needs_compiler
@pytest.mark.parametrize("result", [0, 1])
def test_the_function_of_the_library_is_the_one_that_a_preloaded_process_finds(result, tmp_path):
    environment = {**os.environ, **mkl_avx512.preloaded(mkl_avx512.build(tmp_path, result))}
    done = subprocess.run([sys.executable, "-c", ASK], env=environment, capture_output=True, text=True, check=True)
    assert int(done.stdout) == result


@needs_compiler
def test_mkl_uses_other_instructions_when_the_library_returns_another_result(tmp_path):
    if mkl_avx512.FLAG not in mkl_avx512.CPUINFO.read_text().split():
        pytest.skip("this processor has no AVX-512")
    if not mkl_avx512.instructions():
        pytest.skip("MKL is not torch's BLAS")
    lines = [mkl_avx512.instructions(mkl_avx512.preloaded(mkl_avx512.build(tmp_path, result))) for result in (0, 1)]
    assert [mkl_avx512.NAME in line for line in lines] == [False, True], lines


@needs_compiler
def test_an_arm_with_the_library_runs_where_it_changes_the_instructions(processor, tmp_path):
    processor("fma avx2 avx512f", AVX2, AVX512)
    assert left_out(ARMS.values(), tmp_path) == {}
    assert (tmp_path / mkl_avx512.LIBRARY).exists()


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (("fma avx2", AVX2, AVX2), "this processor has no AVX-512"),
        (("avx512f", ""), "MKL is not torch's BLAS"),
        (("avx512f", AVX512), "MKL uses AVX-512 on this processor by itself"),
        (("avx512f", AVX2, AVX2), "with the library preloaded MKL still does not use AVX-512"),
    ],
)
def test_an_arm_for_which_the_library_is_impossible_or_useless_is_left_out_with_the_reason(said, reason, processor, tmp_path):
    processor(*said)
    missing = left_out([ARMS["torch"], ARMS["torch-avx512"]], tmp_path)
    assert list(missing) == ["torch-avx512"]
    if "still" not in reason or any(map(shutil.which, mkl_avx512.COMPILERS)):
        assert missing["torch-avx512"].startswith(reason)


def test_without_compilers_the_arms_that_need_one_are_left_out(processor, monkeypatch, tmp_path):
    processor("avx512f", AVX2, AVX512)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    missing = left_out(ARMS.values(), tmp_path)
    assert set(missing) == {"torch-compile", "torch-avx512", "torch-compile-avx512"}
    assert "'g++' is not installed" in missing["torch-compile"]
    assert missing["torch-avx512"].startswith("no C compiler (cc, gcc, clang)")


def test_the_error_of_a_failed_compiler_holds_its_last_line(monkeypatch, tmp_path):
    (tmp_path / "cc").write_text("#!/bin/sh\necho first >&2\necho last line >&2\nexit 1\n")
    (tmp_path / "cc").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    with pytest.raises(mkl_avx512.CrucibleError, match="cc cannot build the preloaded library: last line"):
        mkl_avx512.build(tmp_path)


@pytest.mark.parametrize("arm", ARMS.values(), ids=ARMS)
def test_only_arms_with_avx512_preload_the_library_and_only_torch_has_its_caches_moved(arm, monkeypatch, tmp_path):
    monkeypatch.setenv("LD_PRELOAD", "/elsewhere/malloc.so")
    environment = environment_of(arm, tmp_path, tmp_path / "caches")
    library = str(tmp_path / mkl_avx512.LIBRARY)
    assert environment.get("LD_PRELOAD") == (f"{library}:/elsewhere/malloc.so" if arm.avx512 else None)
    assert environment.get("TORCHINDUCTOR_CACHE_DIR") == (str(tmp_path / "caches") if arm.torch else None)
    assert "TORCHINDUCTOR_CACHE_DIR" not in environment_of(arm, tmp_path, None)


def test_an_arm_keeps_the_library_from_the_processes_that_it_starts(monkeypatch):
    monkeypatch.setenv("LD_PRELOAD", f"/somewhere/{mkl_avx512.LIBRARY}:/elsewhere/malloc.so")
    hide_library()
    assert os.environ["LD_PRELOAD"] == "/elsewhere/malloc.so"


def test_numba_compiles_into_the_folder_that_the_arm_was_given(tmp_path):
    code = f"""
import numpy as np
from argparse import Namespace
from pathlib import Path
from benchmarks.step_arm import settings_of, use_caches
from registry import discover
options = dict(model="gpt2-nano", batch=1, sequence=8, threads=1, kernels="numpy", results=Path({str(tmp_path)!r}))
settings_of(Namespace(**options))
use_caches(Path({str(tmp_path / "caches")!r}))
x, y, out = np.ones((3, 32), np.float32).copy()
discover().variant("residual", "numba_flat").function(x, y, out)
print(out.sum())
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split()[-1] == "64.0"
    assert list((tmp_path / "caches").rglob("*.nbi"))
