"""Unusual but right kernels, with many orders of summation and precisions: the battery must accept all of them."""

import numpy as np
import pytest

from harness.proof.battery import prove
from harness.proof.cases.values import materialise
from harness.proof.plan import Plan
from harness.proof.reference.tolerance import compute_reference
from harness.proof.sandbox.client import Worker
from registry.problem import DISTRIBUTIONS, Problem
from registry.table import discover

FILE = '''"""{what}

Idea: {what}
Source: a test.
"""
import numpy as np
from kernels.{family}.spec import {constant}
from registry import register

def running(terms, axis):
    """Sum from first to last, each partial sum rounded to float32."""
    if not terms.shape[axis]:
        return np.zeros(np.delete(terms.shape, axis), np.float32)
    return np.take(np.add.accumulate(terms, axis=axis, dtype=np.float32), -1, axis=axis)

def backwards(terms, axis):
    return running(np.flip(terms, axis), axis)

def exactly(terms, axis):
    return terms.sum(axis=axis, dtype=np.float64)

def threes(terms, axis):
    """Sum every third element, then the three sums."""
    parts = [running(np.moveaxis(np.moveaxis(terms, axis, 0)[i::3], 0, axis), axis) for i in range(3)]
    return parts[0] + (parts[1] + parts[2])

add = {order}

@register({constant}{options})
def {name}({arguments}):
    {body}
'''
BODIES = {
    "layer_norm": (
        "x, weight, bias, y, mean, rstd, *, eps",
        """n = np.float32(x.shape[1])
    mean[:] = add(x, 1) / n
    t = x - mean[:, None]
    rstd[:] = 1 / np.sqrt(add(t * t, 1) / n + np.float32(eps))
    y[:] = t * rstd[:, None] * weight + bias""",
    ),
    "layer_norm_backward": (
        "dy, x, weight, mean, rstd, dx, dweight, dbias, *, accumulate",
        """n = np.float32(x.shape[1])
    t, d = (x - mean[:, None]) * rstd[:, None], dy * weight
    dx[:] = rstd[:, None] * (d - (add(d, 1) / n)[:, None] - t * (add(d * t, 1) / n)[:, None])
    dweight[:] = add(dy * t, 0) + (dweight if accumulate else 0)
    dbias[:] = add(dy, 0) + (dbias if accumulate else 0)""",
    ),
    "softmax": ("x, y", "e = np.exp(x - x.max(axis=1, initial=-np.inf, keepdims=True)); y[:] = e / add(e, 1)[:, None]"),
    "matmul": ("x, weight, bias, y", "y[:] = add(x[:, None] * weight, 2) + bias"),
    "matmul_backward_bias": ("dy, dbias, *, accumulate", "dbias[:] = add(dy, 0) + (dbias if accumulate else 0)"),
    "global_norm": ("grad, norm", "norm[0] = np.sqrt(add(grad * grad, 0))"),
}
ORDERS = ("running", "backwards", "exactly", "threes")


def write(folder, op, order, options="", body=None):
    """Write one variant and return its name."""
    name = f"numpy_{op}_{order}"
    arguments, right = BODIES[op]
    family = next(f for f in ("layer_norm", "softmax", "matmul", "global_norm") if op.startswith(f))
    text = FILE.format(
        what=name,
        family=family,
        constant=op.upper(),
        name=name,
        order=order,
        arguments=arguments,
        body=body or right,
        options=options,
    )
    (folder / f"{name}.py").write_text(text)
    return name


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Make a folder of honest variants, each op summed in each order."""
    folder = tmp_path_factory.mktemp("honest")
    for op in BODIES:
        for order in ORDERS:
            write(folder, op, order)
    return folder


@pytest.fixture(scope="module")
def honest(folder):
    """Start a worker with these variants."""
    with Worker([folder]) as process:
        yield process


@pytest.mark.parametrize("op", BODIES)
@pytest.mark.parametrize("order", ORDERS)
def test_honest_kernel_passes(op, order, folder, honest, reference_cache):
    table = discover(folder)
    assert table.unloadable == []
    proof = prove(table.variant(op, f"numpy_{op}_{order}"), honest, Plan(kernels_path=(folder,)), reference_cache)
    assert proof.passed, str(proof)


def test_declared_run_to_run_may_waver_within_the_law(tmp_path, reference_cache):
    body = BODIES["softmax"][1] + "\n    y *= np.float32(1 + 1e-7 * np.random.default_rng().random())"
    name = write(tmp_path, "softmax", "running", options=", determinism='run_to_run'", body=body)
    with Worker([tmp_path]) as worker:
        assert prove(discover(tmp_path).variant("softmax", name), worker, Plan(), reference_cache).passed


def test_refusal_is_fine_and_refusing_everything_proves_nothing(tmp_path, reference_cache):
    some = write(tmp_path, "softmax", "running", options=", refuses=lambda N, C: ['C is odd'] * (C % 2)")
    none = write(tmp_path, "softmax", "threes", options=", refuses=lambda N, C: ['never']")
    table = discover(tmp_path)
    with Worker([tmp_path]) as worker:
        proof = prove(table.variant("softmax", some), worker, Plan(), reference_cache)
        assert proof.passed
        assert proof.refused > 0
        assert prove(table.variant("softmax", none), worker, Plan(), reference_cache).status == "refused"


@pytest.mark.parametrize("family", DISTRIBUTIONS)
@pytest.mark.parametrize("order", [1, -1])
def test_running_sum_of_a_long_dot_product_is_within_budget(family, order):
    op = discover().op("matmul")
    for seed in range(4):
        problem = Problem(op.name, {"N": 3, "C": 3000, "O": 4}, distribution=family, seed=seed)
        values = materialise(op, problem)
        terms = (values["x"][:, None] * values["weight"])[..., ::order]
        y = np.add.accumulate(terms, axis=2, dtype=np.float32)[..., -1] + values["bias"]
        verdict = compute_reference(op, problem, values).judge({"y": y})
        assert verdict.message == ""
