"""Files of a cache: once a day the least recently used files are deleted, and a damaged file is not read."""

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.files import read_and_mark, read_sealed, tidy, write_sealed

YEARS_AGO = 1_000_000_000


@pytest.fixture
def cache(tmp_path):
    """Make a cache of four files of 100 bytes, used one after the other, and a lock beside their folders."""
    for number, name in enumerate(("ptx/a", "kernels/1/b", "objects/c", "ptx/d")):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(100))
        os.utime(path, (YEARS_AGO + number,) * 2)
    (tmp_path / "lock").write_bytes(bytes(1000))
    return tmp_path


def left(cache):
    """Return the names of the files that are left in folders."""
    return {path.name for path in cache.glob("*/**/*") if path.is_file()}


def test_the_least_recently_used_file_is_deleted(cache):
    tidy(cache, limit=250)
    assert left(cache) == {"c", "d"}
    assert (cache / "lock").exists()


def test_reading_is_use(cache):
    assert read_and_mark(cache / "ptx" / "a") == bytes(100)
    tidy(cache, limit=250)
    assert left(cache) == {"a", "d"}


def test_files_below_the_limit_stay_and_a_folder_is_tidied_once_a_day(cache):
    tidy(cache, limit=400)
    tidy(cache, limit=0)
    assert left(cache) == {"a", "b", "c", "d"}
    os.utime(cache / "tidied", (YEARS_AGO,) * 2)
    tidy(cache, limit=0)
    assert left(cache) == set()


def test_a_cache_that_is_not_there_does_not_matter(tmp_path):
    tidy(tmp_path / "missing")
    with pytest.raises(FileNotFoundError):
        read_and_mark(tmp_path / "missing" / "file")


@given(content=st.binary(max_size=200), data=st.data())
def test_a_sealed_file_is_read_whole_or_not_at_all(content, data):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "kept")
        assert read_sealed(path) is None
        write_sealed(path, content)
        assert read_sealed(path) == content
        kept = bytearray(path.read_bytes())
        place = data.draw(st.integers(0, len(kept) - 1))
        if data.draw(st.booleans()):
            kept[place] ^= data.draw(st.integers(1, 255))
        else:
            del kept[place:]
        path.write_bytes(kept)
        assert read_sealed(path) is None
