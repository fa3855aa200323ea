"""The workloads of a step are its recorded calls, each with the number of times that the step makes it."""

import collections
import math

import pytest

import models
from models import gpt2
from models.step import record_step
from models.workloads import parse_step, step_name, step_workloads, workloads_of
from registry import RequestError, UnknownNameError, discover

STEP = "gpt2-124m-b4-t64"
OPS = discover().ops
ROWS, CHANNELS = 4 * 64, 768


def counts(op, step=STEP):
    """Return how often an update makes each call of an op, by label."""
    return {w.label: w.count for w in workloads_of(OPS[op], step)}


def test_a_step_makes_each_product_of_a_block_once_a_layer_and_the_head_once():
    assert counts("matmul") == {"qkv": 12, "attproj": 12, "fcproj": 12, "head": 1}
    assert counts("matmul_gelu") == {"": 12}
    assert counts("matmul_backward_input") == {"head": 1, "fc": 12, "attproj": 12, "qkv": 12}
    assert counts("matmul_backward_weight") == {"head": 1, "fcproj": 12, "fc": 12, "attproj": 12, "qkv": 12}
    assert counts("residual_layer_norm") == counts("residual_layer_norm_backward") == {"": 24}
    assert counts("layer_norm") == counts("layer_norm_backward") == counts("embedding") == {"": 1}
    assert sum(counts("adamw").values()) == 16


def test_an_update_touches_every_parameter_once():
    parameters = models.find("gpt2-124m").parameter_count
    assert parameters == 124_475_904
    assert sum(w.count * w.dims["K"] for w in workloads_of(OPS["adamw"], STEP)) == parameters
    assert [dict(w.dims) for w in workloads_of(OPS["global_norm"], STEP)] == [{"K": parameters}]


def test_the_operations_of_a_step_s_products_follow_the_formula():
    """Six operations for each weight of a product and each token: 6 N D (J. Kaplan et al., 2020)."""
    products = [w for w in step_workloads(STEP) if w.op.startswith("matmul") and not w.op.endswith("bias")]
    flops = sum(w.count * 2 * math.prod(w.dims.values()) for w in products)
    weights = 12 * 12 * CHANNELS * CHANNELS + 50304 * CHANNELS
    assert flops == 6 * weights * ROWS


UNCALLED = ["gelu", "gelu_backward", "residual", "residual_backward", "rms_norm", "rms_norm_backward"]


@pytest.mark.parametrize("op", [*UNCALLED, "softmax", "softmax_backward"])
def test_an_op_that_no_step_calls_has_its_examples(op):
    assert workloads_of(OPS[op], STEP) == []
    found = workloads_of(OPS[op])
    assert found
    assert {w.step for w in found} == {"example"}
    assert {w.count for w in found} == {0}
    assert workloads_of(OPS[op], "example") == found
    assert workloads_of(OPS[op], found[0].name) == found[:1]


@pytest.mark.parametrize("name", [model.name for model in gpt2.MODELS])
def test_no_gpt2_model_calls_rms_norm(name):
    step = step_name(models.find(name), 1, 8)
    assert {"rms_norm", "rms_norm_backward"} & {w.op for w in step_workloads(step)} == set()


def test_a_call_of_a_validation_is_counted_in_no_update():
    assert counts("cross_entropy") == {"": 0}
    assert counts("cross_entropy_backward") == {"": 1}


def test_workloads_in_bfloat16_update_master_weights():
    ops = collections.Counter(w.op for w in step_workloads(STEP, "bfloat16"))
    assert "adamw" not in ops
    assert sum(w.count for w in step_workloads(STEP, "bfloat16") if w.op == "adamw_master") == 16
    assert sum(counts("adamw_master").values()) == 16


@pytest.mark.parametrize("name", sorted(models.MODELS))
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_step_of_every_model_is_recorded_within_the_contracts(name, dtype):
    model = models.find(name)
    step = record_step(model, OPS, 2, min(32, model.context), dtype)
    for call in step.one_update():
        assert {n: v.shape for n, v in call.arrays.items()} == {a.name: a.shape(call.dims) for a in call.op.arguments}
        assert {n: v.buffer.dtype for n, v in call.arrays.items()} == {
            a.name: str(a.numpy_dtype(dtype)) for a in call.op.arguments
        }
        assert set(call.all_params()) == set(call.op.params)
    assert sum(w.count for w in step_workloads(step_name(model, 2, min(32, model.context)), dtype)) == len(step.one_update())


def test_workloads_are_named_after_training_steps():
    (call,) = workloads_of(OPS["layer_norm"], STEP)
    assert (call.name, call.step, call.dims) == (STEP, STEP, {"N": 256, "C": 768})
    assert step_name(*parse_step(STEP)) == STEP
    (head,) = workloads_of(OPS["matmul"], f"{STEP}/head")
    assert (head.name, head.label, head.dims["O"]) == (f"{STEP}/head", "head", 50304)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("gpt2-124-b4-t64", "did you mean 'gpt2-124m'"),
        ("gpt2-124m", "MODEL-bBATCH-tSEQUENCE"),
        ("gpt2-nano-b1-t65", "longer than"),
    ],
)
def test_an_impossible_workload_is_one_clear_error(name, message):
    with pytest.raises(RequestError, match=message):
        workloads_of(OPS["layer_norm"], name)


def test_an_unknown_label_offers_the_known_ones():
    with pytest.raises(UnknownNameError, match="did you mean 'qkv'"):
        workloads_of(OPS["matmul"], f"{STEP}/qvk")
    with pytest.raises(UnknownNameError, match="did you mean 'hidden-124m'"):
        workloads_of(OPS["gelu"], "example/hidden-125m")
