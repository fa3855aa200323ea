"""Host arrays are aligned; devices that are not here say so; thread counts have limits."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry import RequestError
from registry.host import Host, device, set_threads
from registry.machine import thread_count


@given(st.lists(st.integers(0, 17), max_size=3).map(tuple), st.sampled_from(["float32", "int32", "float64"]))
def test_arrays_start_on_a_cache_line(shape, dtype):
    array = Host().empty(shape, dtype)
    assert array.shape == shape
    assert array.dtype == dtype
    assert array.size == 0 or array.ctypes.data % 64 == 0
    assert array.flags.c_contiguous


@pytest.mark.parametrize(
    ("name", "said"), [("cuda", "not available"), ("sim", "not available"), ("cpus", "did you mean 'cpu'")]
)
def test_a_device_that_is_not_here_is_one_clear_error(name, said):
    with pytest.raises(RequestError, match=said):
        device(name)


@pytest.mark.parametrize("count", [0, -1, 10**6])
def test_impossible_thread_counts_are_refused(count):
    with pytest.raises(RequestError, match=f"1 to {thread_count()}"):
        set_threads(count)
