"""Training tokens: tokenise a corpus once, keep the token files, and map them into memory."""

from __future__ import annotations

import hashlib
import re
import zlib
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from registry.errors import RequestError
from trainer.data.corpus import CACHE, Corpus, find_corpus, matching_files
from trainer.data.loader import check_shape
from trainer.data.token_files import read_tokens, write_tokens
from trainer.data.tokenizer import DIGESTS, END_OF_TEXT, VOCABULARY, encode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["Dataset", "open_data", "tokenise", "unigram_entropy"]

VALIDATION_SHARE = 10  # one token in ten is for validation
CHUNK = 1 << 20  # characters or tokens that are processed at a time
CUT = re.compile(r"(?<=\S)\n")
RECIPE = "2"  # part of the cache key; increase it when the same text gives other token files
BINARY = ".bin"
ADVICE = "take a smaller --batch or --sequence, or more text"


@dataclass(frozen=True, eq=False)
class Dataset:
    """Tokens to train on and tokens held out.

    Attributes
    ----------
    name : str
        The value of ``--data``.
    train, validation : array of uint16
        Memory-mapped files, or arrays in memory if a large batch needs another split.
    unigram_entropy : float
        Entropy of the distribution of training tokens, in nats. This is the loss on the training text of a model that knows
        only how frequent each token is.
    """

    name: str
    train: NDArray[np.uint16]
    validation: NDArray[np.uint16]
    unigram_entropy: float

    def checksum(self) -> str:
        """Return the sizes of both parts, and a checksum of the first and the last `CHUNK` tokens of each."""
        parts = (part[piece] for part in (self.train, self.validation) for piece in (slice(CHUNK), slice(-CHUNK, None)))
        checksum = 0
        for part in parts:
            checksum = zlib.crc32(np.ascontiguousarray(part).data, checksum)
        return f"{self.train.size} + {self.validation.size} tokens, {checksum:08x}"


def open_data(
    name: str, *, batch: int, sequence: int, cache: Path = CACHE, announce: Callable[[str], None] | None = None
) -> Dataset:
    """Return the tokens of a corpus, a text file, a glob of text files, or a token file (``*.bin``).

    The last tenth of every document is for validation, or the end of the whole text if the tenths are too short for one batch.
    ``tinyshakespeare`` has llm.c's split: its first 32,768 tokens are for validation.

    Parameters
    ----------
    name : str
        The value of ``--data``.
    batch, sequence : int
        B and T. The training and the validation part must each hold at least B*T + 1 tokens.
    cache : Path
        The folder of downloads and token files.
    announce : callable, optional
        Prints a line before a text is tokenised, which happens once for each text and may take a while.

    Raises
    ------
    RequestError
        The data does not exist, or is too short.
    """
    check_shape(batch, sequence)
    needed = batch * sequence + 1
    if name.endswith(BINARY):
        train, validation = _split(_token_file(name))
        fixed = False
    else:
        corpus = find_corpus(name, cache)
        train, validation = _tokenised_once(corpus, cache, announce)
        fixed = corpus.validation_first > 0
    size = f"batch {batch} x sequence {sequence} + 1 = {needed}"
    if fixed and validation.size < needed:
        raise RequestError(f"--data {name!r} has {validation.size} validation tokens, {size} are needed; {ADVICE}")
    total = train.size + validation.size
    if total < 2 * needed:
        raise RequestError(
            f"--data {name!r} has {total} tokens, {2 * needed} are needed: {size} for each of training and validation; {ADVICE}"
        )
    if validation.size < needed:
        train, validation = _split(np.concatenate([train, validation]), needed)
    return Dataset(name, train, validation, unigram_entropy(train))


def unigram_entropy(tokens: NDArray[np.uint16]) -> float:
    """Return the entropy, in nats, of the distribution of ids among `tokens`."""
    counts = np.zeros(1 << 16, np.int64)
    for start in range(0, tokens.size, CHUNK):
        counts += np.bincount(tokens[start : start + CHUNK], minlength=counts.size)
    shares = counts[counts > 0] / tokens.size
    return float(-(shares * np.log(shares)).sum())


def tokenise(documents: Iterator[str], chunk: int = CHUNK) -> NDArray[np.uint16]:
    """Return the token ids of all documents, with an end-of-text token before each.

    The function encodes a text in chunks, so that only the ids of one chunk are Python integers at a time. A chunk ends before
    a newline that follows a character other than white space. No token of GPT-2's pattern crosses such a position, and the
    text before it does not change the tokens after it.
    """
    parts = []
    for document in documents:
        parts.append(np.array([END_OF_TEXT], np.uint16))
        start = 0
        while start < len(document):
            cut = CUT.search(document, start + chunk)
            end = cut.start() if cut else len(document)
            parts.append(np.array(encode(document[start:end]), np.uint16))
            start = end
    return np.concatenate(parts) if parts else np.empty(0, np.uint16)


def _tokenised_once(
    corpus: Corpus, cache: Path, announce: Callable[[str], None] | None
) -> tuple[NDArray[np.uint16], NDArray[np.uint16]]:
    recipe = f"{RECIPE} {corpus.digest} {corpus.validation_first} {' '.join(DIGESTS.values())}"
    folder = cache / "tokens" / f"{corpus.name}-{hashlib.sha256(recipe.encode()).hexdigest()[:16]}"
    paths = folder / "train.bin", folder / "val.bin"
    with suppress(RequestError):  # a missing or damaged token file is written again
        return read_tokens(paths[0]), read_tokens(paths[1])
    if announce:
        announce(f"tokenising {corpus.name} (once; kept in {folder})")
    documents = [tokenise(iter([document])) for document in corpus.documents()]
    first = corpus.validation_first
    if first:
        tokens = np.concatenate(documents)
        parts = tokens[first:], tokens[:first]
    else:
        train, validation = zip(*map(_split, documents), strict=True)
        parts = np.concatenate(train), np.concatenate(validation)
    if all(part.size for part in parts):
        for path, part in zip(paths, parts, strict=True):
            write_tokens(path, part)
    return parts


def _split(tokens: NDArray[np.uint16], at_least: int = 1) -> tuple[NDArray[np.uint16], NDArray[np.uint16]]:
    """Return training and validation tokens. Validation gets the last tenth, and at least `at_least` tokens."""
    if tokens.size <= at_least:
        return tokens, tokens[:0]
    held_out = max(tokens.size // VALIDATION_SHARE, at_least)
    return tokens[:-held_out], tokens[-held_out:]


def _token_file(name: str) -> NDArray[np.uint16]:
    paths = matching_files(name)
    if len(paths) > 1:
        raise RequestError(f"--data {name!r} matches {len(paths)} token files; give one")
    tokens = read_tokens(paths[0])
    for start in range(0, tokens.size, CHUNK):
        highest = int(tokens[start : start + CHUNK].max())
        if highest >= VOCABULARY:
            raise RequestError(f"{name!r} holds token id {highest}; GPT-2 has ids 0 to {VOCABULARY - 1}")
    return tokens
