"""CPU arrays are aligned, an unavailable device gives its reason, and thread counts have limits."""

import importlib.util
import sys
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry import RequestError
from registry.devices import Cpu, device, kind_of, set_threads
from registry.machine import thread_count


@given(st.lists(st.integers(0, 17), max_size=3).map(tuple), st.sampled_from(["float32", "int32", "float64"]))
def test_arrays_start_on_a_cache_line(shape, dtype):
    array = Cpu().empty(shape, dtype)
    assert array.shape == shape
    assert array.dtype == dtype
    assert array.size == 0 or array.ctypes.data % 64 == 0
    assert array.flags.c_contiguous


def test_the_error_of_an_unknown_device_offers_the_nearest_name():
    with pytest.raises(RequestError, match="did you mean 'cpu'"):
        device("cpus")


def test_the_error_of_an_unavailable_gpu_gives_the_reason_and_offers_the_simulator(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(RequestError, match=r"CuPy is not installed.*--device sim"):
        device("cuda")


def test_a_cupy_without_bfloat16_is_too_old(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: True)
    monkeypatch.setitem(sys.modules, "cupy", SimpleNamespace(__version__="13.6.0"))
    with pytest.raises(RequestError, match=r"CuPy 13.6.0 is too old .*>=14.*--device sim"):
        device("cuda")


def test_cuda_variants_run_in_the_simulator_unless_there_is_a_gpu():
    cpu, cuda = SimpleNamespace(device="cpu"), SimpleNamespace(device="cuda")
    assert (kind_of(cpu), kind_of(cpu, gpu=True)) == ("cpu", "cpu")
    assert (kind_of(cuda), kind_of(cuda, gpu=True)) == ("sim", "cuda")
    assert device("sim").kind == "sim"


@pytest.mark.parametrize("count", [0, -1, 10**6])
def test_impossible_thread_counts_are_refused(count):
    with pytest.raises(RequestError, match=f"1 to {thread_count()}"):
        set_threads(count)
