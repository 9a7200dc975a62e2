"""`Part`: parts share the shards out, each to one."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlm2vec.errors import InputError
from vlm2vec.jobs.part import Part


@given(st.integers(1, 9), st.integers(0, 200), st.integers(1, 20))
def test_each_row_is_in_one_part(count: int, total: int, size: int) -> None:
    parts = [Part(number, count) for number in range(1, count + 1)]
    shards = range(-(-total // size))
    assert all(sum(part.has(shard) for part in parts) == 1 for shard in shards)
    assert all(part.has(shard) == (shard in part.shards) for part in parts for shard in shards)
    owned = [sum(min(size, total - shard * size) for shard in shards if part.has(shard)) for part in parts]
    assert [part.rows(total, size) for part in parts] == owned


@pytest.mark.parametrize("given_part", [(0, 1), (3, 2), (1,), 2, "1/2", (1.0, 2), (True, 2)])
def test_what_is_no_part(given_part: object) -> None:
    with pytest.raises(InputError, match="part is"):
        Part.of(given_part)


@pytest.mark.slow
def test_parts_of_one_division_are_done_together(tmp_path: Path) -> None:
    with Part(1, 2).alone(tmp_path):
        with Part(2, 2).alone(tmp_path):
            pass
        for other in (Part(1, 2), Part(1, 1), Part(3, 3)):
            with pytest.raises(InputError, match="another job"), other.alone(tmp_path):
                pass
    with Part(3, 3).alone(tmp_path):
        pass
