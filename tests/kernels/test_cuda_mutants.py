"""CUDA kernels broken on purpose, each in one way that is easily overlooked: the simulator finds what is wrong and where.

The race between the loss's read of a logit and the gradient's write over it is one that karpathy/llm.c once had, as a comment
in its llmc/fused_classifier.cuh tells.
"""

from pathlib import Path

import numpy as np
import pytest

from registry.cuda import CudaKernel, SimulatedFault, launch, simulation
from registry.fingerprint import sources
from registry.paths import ROOT

ROWS, CHANNELS = 6, 300
RANDOM = np.random.default_rng(0)


def floats(*shape):
    """Return normal numbers."""
    return RANDOM.standard_normal(shape).astype(np.float32)


def integers(below, count):
    """Return token ids."""
    return RANDOM.integers(0, below, count).astype(np.int32)


def normalised():
    """Return the arrays of a layer normalisation."""
    matrix, row = (ROWS, CHANNELS), (CHANNELS,)
    return floats(*matrix), floats(*row), floats(*row), floats(*matrix), floats(ROWS), floats(ROWS)


def moved(array):
    """Return a copy that starts four bytes after a multiple of 16."""
    room = np.empty(array.size + 8, np.float32)
    start = (-room.ctypes.data // 4) % 4 + 1
    copy = room[start : start + array.size].reshape(array.shape)
    copy[...] = array
    return copy


def gradients():
    """Return the arrays of the first kernel of layer normalisation backward."""
    x, weight, _, dy, mean, rstd = normalised()
    return dy, x, weight, mean, rstd, floats(ROWS, CHANNELS), floats(ROWS * 2 * CHANNELS)


# file, kernel, what is replaced by what, the launch, what must be found, in a line that has this
MUTANTS = {
    "a level of a tree starts before the one above has ended": (
        ("layer_norm/cuda_block", "layer_norm_block"),
        ("    __syncthreads();\n    if (threadIdx.x < half)", "    if (threadIdx.x < half)"),
        lambda: (ROWS, 256, (*normalised(), CHANNELS, 1e-5), 0),
        ("race", "shares["),
    ),
    "shared memory is used again before all have read it": (
        ("layer_norm/cuda_block", "layer_norm_block"),
        ("  __syncthreads();  // all have read it before `shares` is used again\n", ""),
        lambda: (ROWS, 256, (*normalised(), CHANNELS, 1e-5), 0),
        ("race", "shares["),
    ),
    "the loss reads a logit that the gradient overwrites": (
        ("cross_entropy/backward/cuda_online", "cross_entropy_backward_online"),
        ("(largest - at_target)", "(largest - x[target])"),
        lambda: (4, 256, (integers(300, 4), floats(4), floats(4, 304), 304, 300, 1.0), 0),
        ("race", "x"),
    ),
    "warps beyond the last row work on": (
        ("layer_norm/cuda_warp", "layer_norm_warp"),
        ("  if (row >= rows) return;\n", ""),
        lambda: (1, 256, (*normalised(), ROWS, CHANNELS, 1e-5), 0),
        ("out_of_bounds", "x[c]"),
    ),
    "arrays that start anywhere are moved by 128 bits": (
        ("layer_norm/cuda_vector", "layer_norm_vector"),
        (" && aligned16(x, weight, bias, y)", ""),
        lambda: (2, 128, (*map(moved, normalised()), ROWS, CHANNELS, 1e-5), 4 * CHANNELS * 4),
        ("misaligned", "packed.load(x + c)"),
    ),
    "one of two sums starts from what shared memory held": (
        ("layer_norm/backward/cuda_partials", "layer_norm_backward_rows"),
        ("dweight[c] = dbias[c] = 0.0f;", "dweight[c] = 0.0f;"),
        lambda: (3, 256, (*gradients(), ROWS, CHANNELS), 2 * CHANNELS * 4),
        ("uninitialised", "differentiate_rows<"),  # a finding in a header belongs to the line that calls it
    ),
    "threads without a column leave before the barrier": (
        ("matmul/backward_bias/cuda_two_stage", "column_sums"),
        ("  const float total = column_sum", "  if (column >= columns) return;\n  const float total = column_sum"),
        lambda: ((2, 1), (32, 8), (floats(20, 40), floats(40), 20, 40, 64), 0),
        ("barrier_divergence", "column_sum("),
    ),
    "a token's row has two owners": (
        ("embedding/backward/cuda_owner_computes", "embedding_backward_tokens"),
        ("earlier < position && tokens", "earlier + 40 < position && tokens"),
        lambda: (13, 256, (integers(7, 100), floats(100, 16), floats(7, 16), 100, 16), 0),
        ("race", "row[c] = row[c] + sums[i]"),
    ),
}


@pytest.mark.parametrize("order", ["ascending", "descending", 5])
@pytest.mark.parametrize("name", MUTANTS)
def test_each_planted_fault_is_found_in_any_order_of_warps(tmp_path, name, order):
    (file, kernel), (right, wrong), call, (kind, code) = MUTANTS[name]
    texts = {path.name: path.read_text() for path in sources(ROOT / "kernels" / f"{file}.py") if path.suffix != ".py"}
    assert sum(right in text for text in texts.values()) == 1
    for copied, text in texts.items():
        (tmp_path / copied).write_text(text.replace(right, wrong))
    grid, block, args, shared = call()
    mutant = CudaKernel(str(tmp_path / f"{Path(file).name}.py"), kernel)
    with simulation("checked", order), pytest.raises(SimulatedFault) as caught:
        launch(mutant, grid, block, args, shared=shared)
    assert any(f.kind == kind and code in f.code for f in caught.value.findings), caught.value.lines()
