"""An op is read off its definition; what does not fit together is refused when it is declared."""

import dataclasses

import numpy as np
import pytest
from jaxtyping import Float, Int32

from registry import ContractError, Direction, Op, RequestError, Role, UnknownNameError, discover

Array = np.ndarray


def gather(
    table: Float[Array, "V C"], ids: Int32[Array, "N"], sums: Float[Array, "C"], *, accumulate: bool
) -> tuple[Float[Array, "N C"], Float[Array, "C"]]:
    """Rows of a table, and their sum."""
    rows = table[ids]
    return rows, rows.sum(0) + (sums if accumulate else 0)


FIELDS = {
    "definition": gather,
    "outputs": ("rows", "sums"),
    "family": "gather",
    "direction": Direction.FORWARD,
    "oracle": lambda *_: (),
    "domain": {"V": range(1, 9), "C": range(9), "N": range(9)},
    "params": {"accumulate": (False, True)},
    "flops": lambda **_: 0,
    "bytes": lambda **_: 0,
    "shapes": lambda model, batch, sequence: {"": {"N": batch * sequence, "V": model.vocabulary, "C": model.channels}},
}


def test_arguments_stand_in_call_order_with_their_roles():
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
    ("change", "said"),
    [
        ({"outputs": ("rows",)}, "returns 2 arrays, outputs names 1"),
        ({"domain": {"V": range(9), "C": range(9)}}, r"dims \['N'\] have no range"),
        ({"params": {}}, r"takes \['accumulate'\] by keyword, params has \[\]"),
    ],
)
def test_a_contract_that_does_not_fit_its_definition_is_refused(change, said):
    with pytest.raises(ContractError, match=said):
        Op(**{**FIELDS, **change})


def test_a_definition_without_shapes_is_refused():
    def bare(x):
        return x

    with pytest.raises((ContractError, KeyError)):
        Op(**{**FIELDS, "definition": bare, "outputs": ("y",), "params": {}})


def test_workloads_are_named_after_training_shapes():
    (call,) = discover().op("layer_norm").workloads("gpt2-124m-b4-t64")
    assert (call.name, call.step, call.dims) == ("gpt2-124m-b4-t64", "gpt2-124m-b4-t64", {"N": 256, "C": 768})


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("gpt2-124-b4-t64", "did you mean 'gpt2-124m'"),
        ("gpt2-124m", "MODEL-bBATCH-tSEQUENCE"),
        ("gpt2-nano-b1-t65", "longer than"),
    ],
)
def test_an_impossible_workload_is_one_clear_error(name, said):
    with pytest.raises(RequestError, match=said):
        discover().op("layer_norm").workloads(name)


def test_an_unknown_label_offers_the_known_ones():
    op = dataclasses.replace(discover().op("layer_norm"), shapes=lambda *_: {"qkv": {"N": 1, "C": 1}})
    with pytest.raises(UnknownNameError, match="did you mean 'qkv'"):
        op.workloads("gpt2-124m-b4-t64/qvk")
