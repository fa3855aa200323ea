"""The text about the kernels that change when real steps choose another set."""

from registry import discover
from trainer.selection.kernel_set import Choice
from trainer.selection.pick_faster_set import swaps

TABLE = discover()


def test_swaps_are_counted_by_op_and_pair_of_variants():
    blas, packed, plain = (Choice(TABLE.variant("matmul", n), "") for n in ("numpy_blas", "numba_packed", "numpy"))
    flat = Choice(TABLE.variant("adamw", "numba_fused"), "")
    before = {("matmul", "qkv"): blas, ("matmul", "fc"): plain, ("matmul", "attproj"): blas, ("matmul", "head"): packed}
    before["adamw", ""] = flat
    assert swaps(before, before) == []
    assert swaps(before, dict.fromkeys(before, packed) | {("adamw", ""): flat}) == [
        "  matmul: numpy_blas -> numba_packed (2 calls)",
        "  matmul: numpy -> numba_packed (1 call)",
    ]


def test_no_line_of_a_swap_is_longer_than_a_hundred_characters():
    for variants in TABLE.variants.values():
        longest = max(variants.values(), key=lambda v: len(v.name))
        other = next(v for v in variants.values() if v is not longest)
        sets = [{(longest.op.name, str(label)): Choice(v, "") for label in range(1000)} for v in (longest, other)]
        for lines in (swaps(*sets), swaps(*reversed(sets))):
            assert len(lines) == 1
            assert len(lines[0]) <= 100
