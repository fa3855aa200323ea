"""Files of a cache: the least recently used are removed, once a day."""

import os

import pytest

from simulator.files import read_and_mark, tidy

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


def test_what_was_used_longest_ago_goes(cache):
    tidy(cache, room=250)
    assert left(cache) == {"c", "d"}
    assert (cache / "lock").exists()


def test_reading_is_use(cache):
    assert read_and_mark(cache / "ptx" / "a") == bytes(100)
    tidy(cache, room=250)
    assert left(cache) == {"a", "d"}


def test_there_is_room_for_all_or_nothing_is_looked_at_twice_a_day(cache):
    tidy(cache, room=400)
    tidy(cache, room=0)
    assert left(cache) == {"a", "b", "c", "d"}
    os.utime(cache / "tidied", (YEARS_AGO,) * 2)
    tidy(cache, room=0)
    assert left(cache) == set()


def test_a_cache_that_is_not_there_does_not_matter(tmp_path):
    tidy(tmp_path / "missing")
    with pytest.raises(FileNotFoundError):
        read_and_mark(tmp_path / "missing" / "file")
