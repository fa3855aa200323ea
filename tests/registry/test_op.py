"""The arguments of an op are read from its reference, and an inconsistent declaration is refused."""

import numpy as np
import pytest
from jaxtyping import Float, Int32

from registry import ContractError, Direction, Op, Role, discover

Array = np.ndarray


def gather(
    table: Float[Array, "V C"], ids: Int32[Array, "N"], sums: Float[Array, "C"], *, accumulate: bool
) -> tuple[Float[Array, "N C"], Float[Array, "C"]]:
    """Rows of a table, and their sum."""
    rows = table[ids]
    return rows, rows.sum(0) + (sums if accumulate else 0)


FIELDS = {
    "reference": gather,
    "outputs": ("rows", "sums"),
    "family": "gather",
    "direction": Direction.FORWARD,
    "oracle": lambda *_: (),
    "domain": {"V": range(1, 9), "C": range(9), "N": range(9)},
    "params": {"accumulate": (False, True)},
    "flops": lambda **_: 0,
}


def test_arguments_are_in_call_order_with_their_roles():
    op = Op(**FIELDS)
    assert [(a.name, a.role) for a in op.arguments] == [
        ("table", Role.INPUT),
        ("ids", Role.INPUT),
        ("rows", Role.OUTPUT),
        ("sums", Role.INOUT),
    ]
    rows = op.arguments[2]
    assert rows.shape({"V": 7, "C": 5, "N": 3}) == (3, 5)
    assert rows.numpy_dtype("float64") == np.float64
    assert op.arguments[1].numpy_dtype("float64") == np.int32


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"outputs": ("rows",)}, "returns 2 arrays, outputs names 1"),
        ({"domain": {"V": range(9), "C": range(9)}}, r"dims \['N'\] have no range"),
        ({"params": {}}, r"takes \['accumulate'\] by keyword, params has \[\]"),
    ],
)
def test_a_contract_that_does_not_fit_its_reference_is_refused(change, message):
    with pytest.raises(ContractError, match=message):
        Op(**{**FIELDS, **change})


def test_a_spec_of_an_earlier_revision_calls_the_reference_definition():
    fields = {name: value for name, value in FIELDS.items() if name != "reference"}
    assert Op(**fields, definition=gather).reference is gather
    with pytest.raises(ContractError, match="family 'gather' has no reference; write reference=FUNCTION"):
        Op(**fields)


def test_a_reference_without_shapes_is_refused():
    def bare(x):
        return x

    with pytest.raises((ContractError, KeyError)):
        Op(**{**FIELDS, "reference": bare, "outputs": ("y",), "params": {}})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"examples": {"rows": {"N": 3, "C": 4}}}, r"example 'rows' binds \['C', 'N'\], domain has \['C', 'N', 'V'\]"),
        ({"touched": {"tabel": "N*C"}}, r"touched names \['tabel'\], which are no arguments"),
    ],
)
def test_examples_and_touched_name_existing_dims_and_arguments(change, message):
    with pytest.raises(ContractError, match=message):
        Op(**{**FIELDS, **change})


def test_bytes_follow_from_the_arguments():
    dims = {"V": 7, "C": 5, "N": 3}
    op = Op(**FIELDS)
    table, ids, rows, sums = 7 * 5, 3, 3 * 5, 5
    assert op.bytes_moved(dims) == 4 * (table + ids + rows + 2 * sums)
    assert op.bytes_moved(dims, "bfloat16") == 2 * (table + rows + 2 * sums) + 4 * ids
    assert op.bytes_moved(dims, params={"accumulate": True}) == op.bytes_moved(dims)
    assert op.bytes_moved(dims, params={"accumulate": False}) == 4 * (table + ids + rows + sums)
    part = Op(**{**FIELDS, "touched": {"table": "N*C", "sums": "C"}})
    assert part.bytes_moved(dims) == 4 * (rows + ids + rows + 2 * sums)


def test_a_flag_of_its_own_decides_whether_an_in_out_is_read():
    op, dims = discover().op("embedding_backward"), {"B": 2, "T": 3, "V": 60, "P": 4, "S": 1, "C": 8}
    added = {"accumulate_wte": True, "accumulate_wpe": True}
    rows, positions, ids = 2 * 3 * 8, 3 * 8, 2 * 3
    assert op.bytes_moved(dims, params=added) == 4 * (ids + rows + 2 * rows + 2 * positions)
    fresh = {"accumulate_wte": False, "accumulate_wpe": True}
    assert op.bytes_moved(dims, params=fresh) == 4 * (ids + rows + 64 * 8 + 2 * positions)
