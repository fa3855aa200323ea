"""Continue a text: draw one token after the other from what the model predicts."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from registry.errors import CrucibleError, RequestError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

__all__ = ["probabilities", "sample", "why_no_sample"]

LONGER = 4  # times as many steps are proposed to a model that has learnt too little


def probabilities(logits: NDArray[np.floating], temperature: float, top_k: int | None) -> NDArray[np.float64]:
    """Return the distribution to draw from.

    Parameters
    ----------
    logits : array of shape (V,)
        Minus infinity forbids a token.
    temperature : float
        Divides the logits; 0 leaves the likeliest token alone (the first of equals).
    top_k : int, optional
        How many of the likeliest tokens remain; equals at the border go by the smaller id.

    Raises
    ------
    CrucibleError
        A logit is NaN or infinite, or all tokens are forbidden: the model has diverged.
    """
    scores = logits.astype(np.float64)
    bad = np.flatnonzero(np.isnan(scores) | (scores == np.inf))
    if bad.size:
        raise CrucibleError(f"cannot sample: the logit of token {bad[0]} is {scores[bad[0]]}; the model has diverged")
    highest = scores.max()
    if highest == -np.inf:
        raise CrucibleError("cannot sample: every logit is -inf; the model has diverged")
    if temperature == 0:
        top_k = 1
    if top_k is not None and top_k < scores.size:
        scores[np.argsort(-scores, kind="stable")[top_k:]] = -np.inf
    with np.errstate(over="ignore"):  # a tiny temperature sends all but the highest to -inf, which is what it means
        weights = np.exp((scores - highest) / (temperature or 1.0))
    return np.asarray(weights / weights.sum())


def why_no_sample(validation_loss: float, unigram_entropy: float, steps: int, usual_steps: int) -> str:
    """Return why a sample would be noise, and a remedy, in one line; "" if the model has learnt more than frequencies.

    A model that knows how frequent each token is and nothing else has the unigram entropy as its loss. A sample of a model
    that does no better is a row of unrelated tokens, which shows nothing of the training.

    Parameters
    ----------
    steps, usual_steps : int
        Updates of this run, and those that the model's recipe has.
    """
    if validation_loss < unigram_entropy:
        return ""
    return (
        f"validation loss {validation_loss:.3f} is not below the unigram entropy of the text, {unigram_entropy:.3f}, "
        f"so a sample would be noise; train longer, for example with --steps {max(LONGER * steps, usual_steps)}"
    )


def sample(
    next_logits: Callable[[Sequence[int]], NDArray[np.floating]],
    prompt: Sequence[int],
    length: int,
    seed: int,
    temperature: float = 1.0,
    top_k: int | None = None,
    vocabulary: int = 50257,
) -> list[int]:
    """Return `length` token ids that continue `prompt` (which is not repeated in the result).

    Parameters
    ----------
    next_logits : callable
        Takes all ids so far, the prompt first, and returns the logits of the next one: `vocabulary` numbers, or more,
        of which the padded rest is ignored. Cutting the ids to the model's context is its affair.
    prompt : sequence of int
        At least one id, such as ``END_OF_TEXT`` for the start of a document.
    seed : int
        The same seed and logits give the same ids.

    Raises
    ------
    RequestError
        The prompt is empty or holds an id outside the vocabulary, or a number is out of its range.
    CrucibleError
        The logits are not finite.
    """
    if not prompt:
        raise RequestError("the prompt is empty: begin with at least one token, such as the end-of-text token")
    outside = [i for i in prompt if not 0 <= i < vocabulary]
    if outside:
        raise RequestError(f"token id {outside[0]} of the prompt is not among the {vocabulary} of the vocabulary")
    if length < 0:
        raise RequestError(f"cannot sample {length} tokens; give 0 or more")
    if not (math.isfinite(temperature) and temperature >= 0):
        raise RequestError(f"temperature {temperature}: give a number from 0 (always the likeliest token) upwards")
    if top_k is not None and top_k < 1:
        raise RequestError(f"top_k {top_k}: give at least 1 token to choose from")
    random = np.random.default_rng(seed)
    ids = list(prompt)
    for _ in range(length):
        cumulative = probabilities(next_logits(ids)[:vocabulary], temperature, top_k).cumsum()
        # The draw is below 1, so scaled by the sum it never lands behind the last token that can be drawn.
        ids.append(int(np.searchsorted(cumulative, random.random() * cumulative[-1], side="right")))
    return ids[len(prompt) :]
