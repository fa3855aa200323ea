"""Sample a text: draw one token after the other from the distribution that the model predicts."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from registry.errors import CrucibleError, RequestError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

__all__ = ["probabilities", "sample", "why_no_sample"]

LONGER = 4  # factor of the steps that the advice for a longer training names


def probabilities(logits: NDArray[np.floating], temperature: float, top_k: int | None) -> NDArray[np.float64]:
    """Return the distribution of the next token.

    Parameters
    ----------
    logits : array of shape (V,)
        A token with minus infinity gets probability 0.
    temperature : float
        Divides the logits. 0 leaves only the likeliest token, or the first of several equal ones.
    top_k : int, optional
        Number of the likeliest tokens that remain. Of equal tokens, those with the smaller ids remain.

    Raises
    ------
    CrucibleError
        A logit is NaN or infinite, or all logits are minus infinity: the model has diverged.
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
    with np.errstate(over="ignore"):  # with a tiny temperature, all scores but the highest overflow to -inf, as intended
        weights = np.exp((scores - highest) / (temperature or 1.0))
    return np.asarray(weights / weights.sum())


def why_no_sample(validation_loss: float, unigram_entropy: float, steps: int, usual_steps: int) -> str:
    """Return the reason why a sample would be noise, with advice, in one line; "" if a sample is worth printing.

    A model that knows only how frequent each token is has the unigram entropy as its loss. A model with no lower loss writes
    a row of unrelated tokens.

    Parameters
    ----------
    steps, usual_steps : int
        Number of updates of this run, and number of updates of the model's recipe.
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
    """Return `length` token ids that continue `prompt`. The result does not repeat the prompt.

    Parameters
    ----------
    next_logits : callable
        Takes the prompt and all ids drawn so far, cuts them to the model's context, and returns the logits of the next token:
        at least `vocabulary` numbers, of which the padding at the end is ignored.
    prompt : sequence of int
        At least one id, such as ``END_OF_TEXT`` for the start of a document.
    seed : int
        Seed of the draws. The same seed and logits give the same ids.

    Raises
    ------
    RequestError
        The prompt is empty or holds an id outside the vocabulary, or another argument is out of its range.
    CrucibleError
        The model has diverged (see `probabilities`).
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
        # The random number is below 1, so its product with the sum never exceeds the last token with a probability above 0.
        ids.append(int(np.searchsorted(cumulative, random.random() * cumulative[-1], side="right")))
    return ids[len(prompt) :]
