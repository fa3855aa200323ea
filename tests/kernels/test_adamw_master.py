"""Master weights: updates that bfloat16 would lose change the mean, and the random bits are those of the contract."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.proof.cases.values import materialise
from harness.proof.reference.tolerance import compute_reference
from kernels.adamw.spec import noise, round_stochastically
from registry.dtypes import BFLOAT16
from registry.problem import Problem
from registry.table import discover

TABLE = discover()
OP = TABLE.op("adamw_master")
SETTINGS = {"learning_rate": 1e-4, "beta1": 0.9, "beta2": 0.95, "eps": 1e-8, "weight_decay": 0.0, "grad_scale": 1.0}
SEEDS = 400


@given(st.lists(st.floats(-(2.0**100), 2.0**100, width=32), min_size=1, max_size=40), st.integers(0, 1000))
def test_a_value_is_rounded_to_one_of_its_neighbours_and_on_the_mean_to_itself(values, first):
    values = np.array(values, np.float32)
    seen = np.stack([round_stochastically(values, seed) for seed in range(first, first + SEEDS)]).astype(np.float64)
    exact = values.astype(np.float64)
    below = (values.view(np.uint32) & 0xFFFF0000).view(np.float32).astype(np.float64)  # towards zero
    spacing = np.abs(((values.view(np.uint32) & 0xFFFF0000) + 0x10000).view(np.float32).astype(np.float64) - below)
    assert np.isin(np.abs(seen - below), [0.0, *spacing]).all()
    share = np.abs(exact - below) / spacing
    tolerance = 6 * np.sqrt(np.maximum(share * (1 - share), 1 / SEEDS) / SEEDS)  # six standard deviations
    assert (np.abs(seen.mean(axis=0) - exact) <= tolerance * spacing).all()


def test_the_random_bits_are_even_and_those_of_two_seeds_have_nothing_in_common():
    one, other = (noise(np.arange(1 << 16), seed).astype(np.float64) for seed in (7, 8))
    for bits in (one, other):
        assert abs(bits.mean() / 2**16 - 0.5) < 0.005
    assert abs(np.corrcoef(one, other)[0, 1]) < 0.02
    assert abs(np.corrcoef(one[1:], one[:-1])[0, 1]) < 0.02


@pytest.mark.parametrize("wrong", ["to nearest", "with the bits of another seed", "with the bits of the next place"])
def test_a_rounding_that_differs_from_the_contract_is_rejected(wrong):
    params = {n: v[0] for n, v in OP.params.items()}
    problem = Problem(OP.name, {"K": 500}, params, dtype="bfloat16", seed=5)
    reference = compute_reference(OP, problem, materialise(OP, problem))
    right = {n: e.rounded for n, e in reference.outputs.items()}
    assert not reference.judge(right).message
    master = reference.outputs["master"].value
    param = {
        "to nearest": master.astype(BFLOAT16),
        "with the bits of another seed": round_stochastically(master, problem.params["rounding_seed"] + 1).astype(BFLOAT16),
        "with the bits of the next place": round_stochastically(np.append(0, master), problem.params["rounding_seed"])[
            1:
        ].astype(BFLOAT16),
    }[wrong]
    assert reference.judge({**right, "param": param}).message.startswith("param[")


@pytest.mark.parametrize("variant", ["cuda_naive", "cuda_vector"])
def test_steps_too_small_for_bfloat16_arrive_on_the_mean(variant):
    size, steps = 4096, 4
    grad, param = np.ones(size, BFLOAT16), np.ones(size, BFLOAT16)
    master, m, v = np.ones(size, np.float32), np.zeros(size, np.float32), np.zeros(size, np.float32)
    for step in range(1, steps + 1):
        TABLE.variant(OP.name, variant).function(grad, param, master, m, v, **SETTINGS, step=step, rounding_seed=step)
    assert (master.astype(BFLOAT16) == 1).all()  # a rounding to nearest would never leave its place
    spacing = 2.0**-8
    moved = float(param.astype(np.float64).mean()) - 1
    np.testing.assert_allclose(master, 1 - steps * SETTINGS["learning_rate"], rtol=1e-6)
    assert abs(moved + steps * SETTINGS["learning_rate"]) < 6 * spacing / 2 / np.sqrt(size)
