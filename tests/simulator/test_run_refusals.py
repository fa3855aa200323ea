"""Launches that CUDA would refuse, each in one clear line, and instructions that are not simulated."""

import numpy as np
import pytest

from simulator import CompileError, LaunchError, Module, UnsupportedInstruction
from tests.simulator.sources import module_of, only_kernel

SCALE = """
extern "C" __global__ void __launch_bounds__(256) scale(float* x, float a, int n, short s) {
  if (threadIdx.x < n) x[threadIdx.x] *= a + s;
}
"""
X = np.ones(8, np.float32)


@pytest.mark.parametrize(
    ("grid", "block", "arguments", "shared", "words"),
    [
        (0, 32, (X, 1.0, 8, 0), 0, "grid (0, 1, 1) has x = 0"),
        (1, 0, (X, 1.0, 8, 0), 0, "block (0, 1, 1) has x = 0"),
        ((1, 1, 1, 1), 32, (X, 1.0, 8, 0), 0, "grid has one to three whole dimensions"),
        (1, (32, 33), (X, 1.0, 8, 0), 0, "1,056 threads; a block has at most 1,024"),
        (1, 257, (X, 1.0, 8, 0), 0, "__launch_bounds__ allow 256"),
        ((1, 65536), 32, (X, 1.0, 8, 0), 0, "y = 65536; allowed are 1 to 65,535"),
        (1, 32, (X, 1.0, 8, 0), 227 * 1024 + 1, "a block has at most 232,448"),
        (1, 32, (X, 1.0, 8), 0, "takes 4 arguments, not 3"),
        (1, 32, (X, X, 8, 0), 0, "argument 1 is an array; the parameter is one "),
        (1, 32, (X, 1.0, 8.5, 0), 0, "argument 2 is float 8.5"),
        (1, 32, (X, 1.0, 1 << 32, 0), 0, "argument 2 is 4294967296, which does not fit"),
        (1, 32, (X, 1.0, 8, 70000), 0, "argument 3 is 70000, which does not fit"),
        (1, 32, (1.5, 1.0, 8, 0), 0, "argument 0 is float 1.5"),
        (1, 32, ("x", 1.0, 8, 0), 0, "argument 0 is str"),
        (1, 32, (np.ones((4, 4), np.float32)[:, ::2], 1.0, 8, 0), 0, "is not contiguous"),
    ],
)
def test_a_launch_is_refused_in_one_line(grid, block, arguments, shared, words):
    with pytest.raises(LaunchError) as caught:
        only_kernel(SCALE).launch(grid, block, arguments, shared=shared)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_scalars_of_numpy_and_python():
    for a, n, s in ((2.0, 8, 1), (np.float32(2), np.int32(8), np.int16(1)), (2, np.int64(8), True)):
        x = np.ones(8, np.float32)
        only_kernel(SCALE).launch(1, 32, (x, a, n, s))
        assert set(x.tolist()) == {3.0}


def test_a_mode_or_an_order_that_is_none():
    with pytest.raises(LaunchError, match="mode is one of 'fast', 'checked', not 'slow'"):
        only_kernel(SCALE).launch(1, 32, (X, 1.0, 8, 0), mode="slow")
    with pytest.raises(LaunchError, match="a seed, not 'random'"):
        only_kernel(SCALE).launch(1, 32, (X, 1.0, 8, 0), order="random")


def test_the_nearest_kernel_is_named():
    with pytest.raises(CompileError, match="did you mean 'scale'"):
        module_of(SCALE).kernel("scales")


def test_an_unsupported_instruction_names_its_line():
    code = 'extern "C" __global__ void odd(float* x) {\n  asm volatile("add.rz.f32 %0, %0, %0;" : "+f"(x[0]));\n}\n'
    with pytest.raises(UnsupportedInstruction, match=r"kernel_\w+\.cu:2: not simulated: .*add\.rz\.f32"):
        only_kernel(code).launch(1, 1, (X,))


def test_ptx_without_source_lines():
    head = ".version 8.0\n.target sm_80\n.address_size 64\n"
    module = Module.from_ptx(head + ".visible .entry k() { .reg .b32 %r<2>; wgmma.fence.sync.aligned; ret; }")
    with pytest.raises(UnsupportedInstruction, match="PTX line 4: not simulated: wgmma"):
        module.kernel("k").launch(1, 32, ())


def test_struct_parameters():
    code = 'struct Pair { int a, b; };\nextern "C" __global__ void s(Pair p, int* y) { y[0] = p.a * 10 + p.b; }'
    y = np.zeros(1, np.int32)
    only_kernel(code).launch(1, 1, (np.array([4, 2], np.int32).tobytes(), y))
    assert y[0] == 42
    with pytest.raises(LaunchError, match="a struct of 8 bytes"):
        only_kernel(code).launch(1, 1, (b"abc", y))
