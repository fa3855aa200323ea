"""Resources are read from the assembler's log, and occupancy follows from the limits of a multiprocessor."""

import pytest

from harness.cuda.nvrtc import Compiled
from harness.cuda.resources import Resources, occupancy, read_resources
from registry.errors import UnknownNameError

LOG = """ptxas info    : 60 bytes gmem, 120 bytes cmem[4]
ptxas info    : Compiling entry function 'first' for 'sm_80'
ptxas info    : Function properties for first
ptxas         .     48 bytes stack frame, 44 bytes spill stores, 36 bytes spill loads
ptxas info    : Used 119 registers, used 1 barriers, 19456 bytes smem, 388 bytes cmem[0]
ptxas info    : Compiling entry function 'second' for 'sm_80'
ptxas info    : Function properties for second
ptxas         .     0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 16 registers, 356 bytes cmem[0]
"""
PTX = """.visible .entry first(
\t.param .u64 first_param_0
)
.maxntid 128, 2, 1
{
.visible .entry second(
\t.param .u64 second_param_0
)
{
"""


def kernel(**taken):
    """Return resources of a kernel for sm_80."""
    small = {"kernel": "k", "architecture": "sm_80", "registers": 32, "spilled": 0, "stack": 0, "shared": 0}
    return Resources(**{**small, **taken})


def test_each_kernel_of_a_log_is_read():
    first, second = read_resources(Compiled("sm_80", PTX, LOG)).values()
    assert first == Resources("first", "sm_80", registers=119, spilled=80, stack=48, shared=19456, threads=256)
    assert second == Resources("second", "sm_80", registers=16, spilled=0, stack=0, shared=0, threads=0)


@pytest.mark.parametrize(
    ("taken", "threads", "expected"),
    [
        ({}, 256, 1.0),  # 8 blocks: the limit of threads
        ({}, 32, 0.5),  # 32 blocks: the limit of blocks
        ({"registers": 33}, 256, 0.75),  # rounded up to 40 registers: 6 blocks
        ({"registers": 128}, 128, 0.25),  # 4 blocks
        ({"registers": 255}, 1024, 0.0),  # no block fits
        ({"shared": 40 * 1024}, 256, 0.5),  # 41 KiB with the system's part: 4 blocks
    ],
)
def test_occupancy_is_that_of_the_scarcest_resource(taken, threads, expected):
    assert occupancy(kernel(**taken), threads=threads) == expected


def test_dynamic_shared_memory_counts():
    assert occupancy(kernel(), threads=256, dynamic_shared=81 * 1024) == 0.25


def test_launch_bounds_say_how_large_a_block_is():
    assert occupancy(kernel(threads=1024, registers=64)) == 0.5


def test_an_architecture_without_limits_is_refused():
    with pytest.raises(UnknownNameError, match=r"unknown architecture 'sm_70'; did you mean 'sm_\d0'"):
        occupancy(kernel(architecture="sm_70"))
