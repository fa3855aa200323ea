"""Known equivalent mutants: planted bugs that change the code but no result, each with the reason. They are not counted."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness.mutation.mutants import Mutant

__all__ = ["EQUIVALENT", "reason_of"]

EQUIVALENT: dict[str, tuple[tuple[str, str, str], ...]] = {
    "more elements use the path for single floats, which is right for every address and every length": (
        ("adamw/cuda_vector.cu", "<= becomes <", "if (first + 4 < size && aligned16("),
        ("cuda_vector.cu", "<= becomes <", "if (first + Packed128::SIZE < size && aligned16("),
        ("embedding/cuda_vector.cu", "<= becomes <", "if (first + Packed128::SIZE < channels && aligned16("),
        ("global_norm/cuda_two_kernels.cu", "<= becomes <", "if (first + Packed128::SIZE < size && aligned16("),
        ("cuda/register_tile.cuh", "early return dropped", "if (false) return load4(from);"),
        ("cuda/crucible.cuh", "% becomes /", "(pointers) / 16 == 0) && ...);"),
        ("cuda_block.cu", "condition taken as false", "const int whole = false ? classes / 4 * 4 : 0;"),
        (
            "cuda_online.cu",
            "condition taken as false",
            "const int whole = false ? vocab_size / Packed128::SIZE * Packed128::SIZE : 0;",
        ),
    ),
    "the condition differs only where both of its results are equal": (
        ("gelu/backward/cuda_vector.cu", "> becomes >=", "size * size >= FLAT"),
        ("gelu/backward/cuda_vector.cu", "> becomes >=", "return x >= 0.0f ? upper + bump : lower - bump;"),
    ),
    "rows of shared memory have another padding, which changes the banks and no number": (
        ("cuda/mma_tile.cuh", "condition taken as true", "STRIDE = LENGTH + (true ? 8 : 4);"),
        ("cuda/mma_tile.cuh", "condition taken as false", "STRIDE = LENGTH + (false ? 8 : 4);"),
    ),
    "NaN instead of an infinity, or an infinity instead of NaN: either is allowed where the exact result is not finite": (
        ("cuda/mma.cuh", "condition taken as true", "first = true ? first : 0.0f;"),
        ("cuda/running_softmax.cuh", "> becomes >=", "return sum >= 0.0f ? row_max + logf(sum) : not_a_number();"),
        ("cuda/mma.cuh", "condition taken as true", "second = true ? second : 0.0f;"),
    ),
    "every caller has a barrier of the whole block after the last read of the weights": (
        ("cuda/attention_tile.cuh", "warp barrier deleted", "const Scores& mine) { ; #pragma unroll"),
    ),
    "each element is checked twice, with the same result": (
        ("cuda/flash_mma.cuh", "stride halved", "i += (WARP) / 2) finite = finite && is_finite("),
    ),
    "the skipped work changes no result: weights of zero, and values of which none is infinite": (
        ("cuda/flash_mma.cuh", "guard dropped", "if (true) add_infinite(sums"),
        ("cuda/flash_mma.cuh", "guard dropped", "if (true) { products.score(scores"),
    ),
    "one more iteration, which finds no element": (
        ("global_norm/cuda_two_kernels.cu", "< becomes <=", "first <= size; first +="),
        ("embedding/backward/cuda_owner_computes.cu", "< becomes <=", "start <= positions; start +="),
    ),
    "only lane 0 uses the sum, and has it": (
        (
            "global_norm/cuda_two_kernels.cu",
            "shuffle down, not across",
            "value += __shfl_down_sync(FULL_WARP, value, distance)",
        ),
    ),
    "the order of eight additions in double changes about one in 2**28 results after rounding to float32": (
        ("global_norm/cuda_two_kernels.cu", "sum by atomics", "atomicAdd(&shares[0], value);"),
    ),
    "finite scores are computed a second time, by plain sums": (
        ("attention/cuda_flash_mma.cu", "early return dropped", "if (false) return;"),
    ),
    "the derivative is 0 or 1 to the last bit between the two thresholds": (
        ("gelu/backward/cuda_vector.cu", "constant mistyped", "FLAT = 256.256f;"),
    ),
}
"""The known mutants by reason: the end of the file's path, the name of the rule, and a part of the mutated code."""


def reason_of(mutant: Mutant) -> str:
    """Return the reason why a mutant is equivalent; "" if no reason is known."""
    rule, code = mutant.mutation.rule.name, mutant.mutation.surroundings
    for reason, known in EQUIVALENT.items():
        if any(mutant.file.endswith(file) and rule == name and part in code for file, name, part in known):
            return reason
    return ""
