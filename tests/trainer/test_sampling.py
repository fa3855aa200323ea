"""Sampling follows the distribution of the logits, draws only real tokens, and repeats with the same seed."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from registry.errors import CrucibleError, RequestError
from trainer.sampling import probabilities, sample, why_no_sample

V = 7
LOGITS = arrays(np.float32, V + 3, elements=st.floats(-30, 30, width=32))


def fixed(logits):
    """Return a model that predicts the same distribution for every text."""
    return lambda _: logits


@given(logits=LOGITS, seed=st.integers(0, 2**63), temperature=st.floats(0, 50), top_k=st.none() | st.integers(1, V + 3))
def test_ids_are_real_tokens_and_the_same_seed_repeats_them(logits, seed, temperature, top_k):
    logits[V:] = 1e9  # padding with the largest logits
    drawn = [sample(fixed(logits), [0], 20, seed, temperature, top_k, vocabulary=V) for _ in range(2)]
    assert drawn[0] == drawn[1]
    assert len(drawn[0]) == 20
    assert all(0 <= token < V for token in drawn[0])


@given(logits=LOGITS, top_k=st.integers(1, V), seed=st.integers(0, 100))
def test_top_k_leaves_the_likeliest_tokens(logits, top_k, seed):
    border = np.sort(logits[:V])[-top_k]
    drawn = set(sample(fixed(logits), [0], 50, seed, temperature=10, top_k=top_k, vocabulary=V))
    assert len(drawn) <= top_k
    assert all(logits[token] >= border for token in drawn)


@given(logits=LOGITS, seed=st.integers(0, 100), temperature=st.sampled_from([0.0, 5e-324]))
def test_temperature_zero_takes_the_likeliest(logits, seed, temperature):
    drawn = sample(fixed(logits), [0], 3, seed, temperature, vocabulary=V)
    assert all(logits[token] == logits[:V].max() for token in drawn)


def test_frequencies_follow_the_softmax():
    logits = np.log(np.array([0.1, 0.2, 0.3, 0.4]))
    drawn = np.bincount(sample(fixed(logits), [0], 20_000, 7, vocabulary=4), minlength=4) / 20_000
    # Five standard deviations of a share of 20,000 draws.
    np.testing.assert_allclose(drawn, [0.1, 0.2, 0.3, 0.4], atol=5 * 0.5 / np.sqrt(20_000))


def test_temperature_divides_the_logits():
    logits = np.array([0.0, 1.0, 3.0])
    np.testing.assert_allclose(probabilities(logits, 2.0, None), np.exp(logits / 2) / np.exp(logits / 2).sum())


def test_a_forbidden_token_is_never_drawn():
    logits = np.array([-np.inf, 0.0, -np.inf, 0.0])
    assert set(sample(fixed(logits), [1], 200, 3, vocabulary=4)) == {1, 3}


def test_the_model_sees_the_prompt_and_everything_drawn_so_far():
    seen = []

    def one_more(ids):
        seen.append(list(ids))
        return np.eye(V)[(ids[-1] + 1) % V]

    assert sample(one_more, [4, 5], 3, 0, temperature=0, vocabulary=V) == [6, 0, 1]
    assert seen == [[4, 5], [4, 5, 6], [4, 5, 6, 0]]


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"prompt": []}, "the prompt is empty"),
        ({"prompt": [1, V]}, "token id 7 of the prompt"),
        ({"length": -1}, "cannot sample -1 tokens"),
        ({"temperature": -0.1}, "temperature -0.1"),
        ({"temperature": float("nan")}, "temperature nan"),
        ({"top_k": 0}, "top_k 0"),
    ],
)
def test_a_wrong_request_is_named(changes, complaint):
    with pytest.raises(RequestError, match=complaint):
        sample(**{"next_logits": fixed(np.zeros(V)), "prompt": [0], "length": 1, "seed": 0, "vocabulary": V, **changes})


@pytest.mark.parametrize(
    ("logits", "complaint"),
    [([0, np.nan], "token 1 is nan"), ([np.inf, 0], "token 0 is inf"), ([-np.inf, -np.inf], "every logit is -inf")],
)
def test_a_diverged_model_is_not_sampled(logits, complaint):
    with pytest.raises(CrucibleError, match=complaint):
        sample(fixed(np.array(logits)), [0], 1, 0, vocabulary=2)


@given(st.floats(0, 20), st.floats(0, 20), st.integers(1, 10**6), st.integers(1, 10**4))
def test_a_model_that_does_no_better_than_frequencies_is_not_sampled_but_trained_longer(loss, entropy, steps, usual):
    reason = why_no_sample(loss, entropy, steps, usual)
    assert (reason == "") == (loss < entropy)
    assert "\n" not in reason
    if reason:
        assert f"validation loss {loss:.3f} is not below the unigram entropy of the text, {entropy:.3f}" in reason
        proposed = int(reason.rpartition("--steps ")[2])
        assert proposed > steps
        assert proposed >= usual
