"""A builder records calls: it solves dims, makes outputs, and refuses arrays that do not fit."""

import pytest

from models.builder import ACCUMULATE, Builder
from models.tensors import Buffer
from registry import ContractError, UnknownNameError, discover

OPS = discover().ops


def array(*shape, dtype="float32"):
    """Return a view of a new buffer."""
    return Buffer("array", shape, dtype=dtype).whole


def test_outputs_are_made_with_the_shapes_and_dtypes_of_the_contract():
    build = Builder(OPS, "bfloat16")
    x, weight, bias = array(6, 8, dtype="bfloat16"), array(8, dtype="bfloat16"), array(8, dtype="bfloat16")
    y, mean, rstd = build.call("layer_norm", "", "layer 3", x=x, weight=weight, bias=bias, eps=1e-5)
    assert [(v.shape, v.buffer.dtype) for v in (y, mean, rstd)] == [((6, 8), "bfloat16"), ((6,), "float32"), ((6,), "float32")]
    (call,) = build.take()
    assert (call.op.name, call.dims, call.params, str(call)) == (
        "layer_norm",
        {"N": 6, "C": 8},
        {"eps": 1e-5},
        "layer_norm (layer 3)",
    )
    assert list(call.arrays) == [a.name for a in call.op.arguments]
    assert build.take() == []


def test_an_output_may_be_an_existing_array():
    build, losses = Builder(OPS), array(4)
    build.call("cross_entropy", logits=array(4, 12), targets=array(4, dtype="int32"), losses=losses, vocab_size=10)
    assert build.take()[0].arrays["losses"] is losses


def test_accumulation_is_decided_by_the_micro_step():
    build = Builder(OPS)
    build.call("matmul_backward_bias", dy=array(4, 3), dbias=array(3), accumulate=ACCUMULATE)
    (call,) = build.take()
    assert [call.in_micro_step(accumulate=flag).params for flag in (False, True)] == [
        {"accumulate": False},
        {"accumulate": True},
    ]


@pytest.mark.parametrize(
    ("op", "given", "message"),
    [
        ("mat_mul", {}, "unknown op 'mat_mul'; did you mean 'matmul'"),
        ("matmul", {"x": array(4, 3), "weights": array(5, 3), "bias": array(5)}, "did you mean 'weight'"),
        ("matmul", {"x": array(4, 3), "bias": array(5)}, "call of matmul: no array for 'weight'"),
        ("matmul", {"x": array(4, 3), "weight": array(5, 4), "bias": array(5)}, "dimension 'C'"),
        (
            "matmul",
            {"x": array(4, 3, dtype="int32"), "weight": array(5, 3), "bias": array(5)},
            "'x' is float32, its array is int32",
        ),
        ("matmul_backward_bias", {"dy": array(4, 3)}, "no array for 'dbias'"),
    ],
)
def test_arrays_that_do_not_fit_are_refused_when_the_call_is_recorded(op, given, message):
    with pytest.raises((ContractError, UnknownNameError), match=message):
        Builder(OPS).call(op, **given)


def test_a_view_cannot_be_seen_as_another_number_of_elements():
    with pytest.raises(ContractError, match="cannot be seen as"):
        array(4, 6).reshape(5, 5)
    assert array(4, 6).layer(1).reshape(2, 3).span == (24, 48)
