"""Token files, splits and batches: reading returns the written tokens, no token is lost, and a short text is refused."""

import hashlib
import shutil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from registry.errors import CrucibleError, RequestError
from registry.paths import ROOT
from trainer.data import dataset
from trainer.data.corpus import TINYSHAKESPEARE_SHA256
from trainer.data.dataset import open_data, tokenise, unigram_entropy
from trainer.data.loader import Loader
from trainer.data.token_files import read_tokens, write_atomically, write_tokens
from trainer.data.tokenizer import END_OF_TEXT, decode, encode

TINYSHAKESPEARE = ROOT.parent / "shared" / "data" / "tinyshakespeare.txt"


@settings(deadline=None)  # the first call reads the vocabulary
@given(st.lists(st.text(st.sampled_from("ab1'\n\t \x1c\xa0\u3000,\N{SNOWMAN}"), max_size=60), max_size=3), st.integers(1, 20))
def test_a_text_in_pieces_gives_the_tokens_of_the_whole(documents, chunk):
    whole = [token for document in documents for token in [END_OF_TEXT, *encode(document)]]
    assert tokenise(iter(documents), chunk).tolist() == whole


@given(size=st.integers(2, 200), batch=st.integers(1, 6), sequence=st.integers(1, 12), batches=st.integers(1, 40))
def test_batches_follow_each_other_and_begin_again(size, batch, sequence, batches):
    tokens = np.arange(size, dtype=np.uint16)
    step = batch * sequence
    if size <= step:
        with pytest.raises(RequestError, match="too few"):
            Loader(tokens, batch, sequence)
        return
    loader = Loader(tokens, batch, sequence)
    for number in range(batches):
        inputs, targets = loader.next_batch()
        first = number % loader.batches * step
        assert inputs.ravel().tolist() == list(range(first, first + step))
        assert targets.ravel().tolist() == list(range(first + 1, first + step + 1))
        assert inputs.shape == targets.shape == (batch, sequence)
        assert inputs.dtype == targets.dtype == np.int32
        assert inputs.flags.c_contiguous
        assert targets.flags.c_contiguous
    loader.reset()
    assert loader.next_batch()[0][0, 0] == 0
    assert (loader.batches + 1) * step + 1 > size >= loader.batches * step + 1


@given(size=st.integers(2, 200), batch=st.integers(1, 6), sequence=st.integers(1, 12), seed=st.integers(0, 9))
def test_seeded_rows_are_windows_from_anywhere_and_the_same_again_after_a_reset(size, batch, sequence, seed):
    tokens = np.arange(size, dtype=np.uint16)
    if size <= batch * sequence:
        return
    loader = Loader(tokens, batch, sequence, seed)
    first = [loader.next_batch() for _ in range(3)]
    for inputs, targets in first:
        assert (np.diff(inputs, axis=1) == 1).all()
        assert (targets == inputs + 1).all()
        assert targets.max() < size
    loader.reset()
    for (inputs, _), again in zip(first, (loader.next_batch()[0] for _ in range(3)), strict=True):
        assert (inputs == again).all()


def test_batches_are_the_callers_to_change():
    loader = Loader(np.arange(9, dtype=np.uint16), 2, 4)
    inputs, targets = loader.next_batch()
    inputs[:] = 0
    assert targets.ravel().tolist() == list(range(1, 9))
    assert loader.next_batch()[0].ravel().tolist() == list(range(8))


@settings(deadline=None)  # files are written
@given(st.lists(st.integers(0, 50256), min_size=1, max_size=50))
def test_token_files_are_llmc_s(tmp_path_factory, tokens):
    path = tmp_path_factory.mktemp("tokens") / "x.bin"
    write_tokens(path, np.array(tokens, np.uint16))
    header = np.fromfile(path, "<i4", 256)
    assert header.tolist() == [20240520, 1, len(tokens)] + [0] * 253
    assert path.stat().st_size == 1024 + 2 * len(tokens)
    assert read_tokens(path).tolist() == tokens


def header(magic=20240520, version=1, count=4):
    """Return the bytes of a header."""
    numbers = np.zeros(256, "<i4")
    numbers[:3] = magic, version, count
    return numbers.tobytes()


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"\0" * 1023, "1023 bytes are less than its header of 1024"),
        (header(magic=7) + b"\0" * 8, "magic 7, version 1; expected 20240520, 1"),
        (header(version=2) + b"\0" * 8, "magic 20240520, version 2"),
        (header(magic=20240801, version=7) + b"\0" * 16, "holds Llama 3 tokens"),
        (header() + b"\0" * 7, "4 tokens make 1032 bytes, it has 1031"),
        (header() + b"\0" * 10, "4 tokens make 1032 bytes, it has 1034"),
        (header(count=-1), "-1 tokens make 1022 bytes"),
        (header(count=0), "holds no tokens"),
        (header() + np.array([1, 2, 50257, 3], "<u2").tobytes(), "holds token id 50257; GPT-2 has ids 0 to 50256"),
    ],
)
def test_a_wrong_token_file_is_one_clear_line(tmp_path, content, complaint):
    (tmp_path / "x.bin").write_bytes(content)
    with pytest.raises(RequestError, match=complaint):
        open_data(str(tmp_path / "x.bin"), batch=1, sequence=1, cache=tmp_path)


def test_a_token_file_is_used_as_it_is(tmp_path):
    write_tokens(tmp_path / "x.bin", np.arange(100, dtype=np.uint16))
    data = open_data(str(tmp_path / "*.bin"), batch=2, sequence=3, cache=tmp_path / "cache")
    assert data.train.tolist() == list(range(90))
    assert data.validation.tolist() == list(range(90, 100))
    assert not (tmp_path / "cache").exists()
    write_tokens(tmp_path / "y.bin", np.arange(100, dtype=np.uint16))
    with pytest.raises(RequestError, match="matches 2 token files; give one"):
        open_data(str(tmp_path / "*.bin"), batch=2, sequence=3, cache=tmp_path)


@given(length=st.integers(0, 120), batch=st.integers(1, 5), sequence=st.integers(1, 8))
@settings(deadline=None)  # files are written
def test_a_file_is_split_so_that_validation_holds_a_batch_or_says_what_is_missing(tmp_path_factory, length, batch, sequence):
    words = ["one", " two", " three"] * length
    folder = tmp_path_factory.mktemp("text")
    path = folder / "x.txt"
    path.write_text("".join(words[: length + 1]) or "\ufeff")
    everything = [END_OF_TEXT, *encode(path.read_text().removeprefix("\ufeff"))]
    needed = batch * sequence + 1
    if len(everything) < 2 * needed:
        with pytest.raises(RequestError, match=rf"has {len(everything)} tokens, {2 * needed} are needed") as caught:
            open_data(str(path), batch=batch, sequence=sequence, cache=folder)
        assert "\n" not in str(caught.value)
        return
    data = open_data(str(path), batch=batch, sequence=sequence, cache=folder)
    assert [*data.train, *data.validation] == everything
    assert data.validation.size == max(len(everything) // 10, needed)
    Loader(data.train, batch, sequence)
    Loader(data.validation, batch, sequence)


def test_a_text_is_tokenised_once_and_again_when_it_or_its_tokens_change(tmp_path):
    text, said = tmp_path / "play.txt", []
    text.write_text("To be, or not to be. " * 50)

    def opened():
        return open_data(str(text), batch=1, sequence=8, cache=tmp_path / "cache", announce=said.append)

    first = opened()
    assert len(said) == 1
    assert isinstance(opened().train, np.memmap)
    assert len(said) == 1
    (folder,) = (tmp_path / "cache" / "tokens").iterdir()
    assert folder.name.startswith("play-")
    assert sorted(path.name for path in folder.iterdir()) == ["train.bin", "val.bin"]
    (folder / "val.bin").write_bytes(b"cut short")
    assert opened().validation.tolist() == first.validation.tolist()
    assert len(said) == 2
    text.write_text("Something else. " * 50)
    assert decode(opened().train[:3]) == "<|endoftext|>Something else"
    assert len(said) == 3


def test_a_cache_that_cannot_be_written_is_one_clear_line(tmp_path):
    (tmp_path / "x.txt").write_text("To be, or not to be. " * 50)
    (tmp_path / "cache").write_text("in the way")
    with pytest.raises(CrucibleError, match=r"^cannot write .*/train\.bin: Not a directory$"):
        open_data(str(tmp_path / "x.txt"), batch=1, sequence=8, cache=tmp_path / "cache")


@pytest.mark.parametrize(("batch", "sequence", "option"), [(0, 8, "--batch 0"), (4, -1, "--sequence -1")])
def test_a_batch_of_nothing_is_refused(batch, sequence, option):
    with pytest.raises(RequestError, match=option):
        open_data("embedded", batch=batch, sequence=sequence)


@given(st.lists(st.integers(0, 50256), min_size=1, max_size=60))
def test_unigram_entropy_is_the_loss_of_knowing_the_frequencies(tokens):
    ids, counts = np.unique(tokens, return_counts=True)
    share = dict(zip(ids, counts / len(tokens), strict=True))
    expected = -np.mean([np.log(share[token]) for token in tokens])
    assert unigram_entropy(np.array(tokens, np.uint16)) == pytest.approx(expected, abs=1e-12)


def test_the_embedded_corpus_is_large_enough_to_train_on(tmp_path):
    """The package is pinned to one version, so the tokens are the same everywhere."""
    data = open_data("embedded", batch=8, sequence=128, cache=tmp_path)
    assert (data.train.size, data.validation.size) == (1_378_418, 153_141)
    assert int((data.train == END_OF_TEXT).sum() + (data.validation == END_OF_TEXT).sum()) == 38
    assert data.unigram_entropy == pytest.approx(6.4259, abs=1e-4)


@pytest.mark.skipif(not TINYSHAKESPEARE.exists(), reason="the development copy is not part of the project; CI has no network")
def test_tinyshakespeare_has_llmc_s_split(tmp_path):
    (tmp_path / "data").mkdir()
    shutil.copy(TINYSHAKESPEARE, tmp_path / "data")
    assert hashlib.sha256(TINYSHAKESPEARE.read_bytes()).hexdigest() == TINYSHAKESPEARE_SHA256
    data = open_data("tinyshakespeare", batch=4, sequence=64, cache=tmp_path)
    assert (data.train.size, data.validation.size) == (305_260, 32_768)
    assert decode(data.validation[:4]) == "<|endoftext|>First Citizen:"
    with pytest.raises(RequestError, match=r"has 32768 validation tokens, .* = 65537 are needed"):
        open_data("tinyshakespeare", batch=64, sequence=1024, cache=tmp_path)


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_file_is_there_whole_or_not_at_all(tmp_path, error):
    path = tmp_path / "x"
    path.write_text("good")

    def interrupted():
        with write_atomically(path) as draft:
            draft.write_text("half")
            raise error

    with pytest.raises(error):
        interrupted()
    assert path.read_text() == "good"
    assert [p.name for p in tmp_path.iterdir()] == ["x"]


def test_more_tokens_than_a_header_counts_are_refused(monkeypatch, tmp_path):
    monkeypatch.setattr("trainer.data.token_files.MOST_TOKENS", 3)
    with pytest.raises(RequestError, match="4 tokens do not fit into one token file, which holds at most 3"):
        write_tokens(tmp_path / "x.bin", np.zeros(4, np.uint16))


def test_everything_public_is_exported():
    assert set(dataset.__all__) == {"Dataset", "open_data", "tokenise", "unigram_entropy"}
