"""The program trains like an independent torch model: equal losses, and gradients within the error law."""

import numpy as np
import pytest
import torch

from benchmarks.torch_gpt2 import TorchGPT2, gradient_tolerance, gradients
from registry import discover
from tests.trainer.tiny import TINY, B, T, batch, build, variant_sets
from trainer.program.template import StepTemplate
from trainer.schedule import clip_scale

STEPS, LEARNING_RATE, CLIP = 20, 1e-3, 1.0
SETS = variant_sets(StepTemplate(discover(), TINY, B, T))


@pytest.fixture(scope="module")
def reference():
    """Return a batch, the exact gradients, and the allowed error of each gradient."""
    program = build()
    drawn = batch(np.random.default_rng(0))
    exact = gradients(TINY, program.parameters, drawn)
    return drawn, exact, gradient_tolerance(TINY, program.parameters, drawn, exact)


@pytest.mark.parametrize("variants", SETS, ids=lambda s: s["matmul", "qkv"].name)
def test_every_gradient_of_the_first_step_is_within_its_error_law(variants, reference):
    drawn, exact, allowed = reference
    program = build(variants=variants)
    program.load(*drawn)
    program.micro_step(accumulate=False)
    for name, gradient in program.gradients.items():
        assert (np.abs(gradient - exact[name]) <= allowed[name]).all(), name


def test_torch_in_float32_is_within_the_same_law(reference):
    drawn, exact, allowed = reference
    computed = gradients(TINY, build().parameters, drawn, torch.float32)
    assert [n for n in computed if not (np.abs(computed[n] - exact[n]) <= allowed[n]).all()] == []


def test_a_gradient_that_is_off_by_a_thousandth_is_noticed(reference):
    _, exact, allowed = reference
    assert [n for n in exact if (np.abs(1.001 * exact[n] - exact[n]) <= allowed[n]).all()] == []


@pytest.mark.parametrize("variants", SETS, ids=lambda s: s["matmul", "qkv"].name)
def test_losses_are_those_of_torch_at_every_step(variants):
    program = build(variants=variants)
    net = TorchGPT2(TINY, program.parameters)
    optimiser = net.optimiser(LEARNING_RATE)
    random = np.random.default_rng(2)
    for step in range(1, STEPS + 1):
        inputs, targets = batch(random)
        program.load(inputs, targets)
        loss = program.micro_step(accumulate=False)
        norm = program.gradient_norm()
        program.apply(learning_rate=LEARNING_RATE, grad_scale=clip_scale(norm, CLIP), step=step)

        expected = net(torch.tensor(inputs).long(), torch.tensor(targets).long())
        optimiser.zero_grad()
        expected.backward()
        expected_norm = torch.nn.utils.clip_grad_norm_(net.parameters(), CLIP)
        optimiser.step()
        assert loss == pytest.approx(expected.item(), rel=1e-4)
        assert norm == pytest.approx(expected_norm.item(), rel=1e-3)


def test_the_padding_of_the_vocabulary_stays_zero():
    program = build()
    program.load(*batch(np.random.default_rng(3)))
    program.micro_step(accumulate=False)
    program.apply(learning_rate=1.0, grad_scale=1.0, step=1)
    assert not program.parameters["wte"][TINY.vocabulary :].any()
