import itertools
import json
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats  # a dependency of sentence-transformers

from vlm2vec.errors import InputError
from vlm2vec.training import SubBatchSampler

# Sources below, between and above the number of rows that a batch takes; 4 to 8 sub-batches, so that 1, 2
# and 4 ranks divide them.
SIZES = st.lists(st.integers(1, 90), min_size=1, max_size=4)
SHAPES = st.sampled_from([(8, 1), (8, 2), (16, 4), (24, 3), (32, 4), (32, 8), (16, 0)])
SEEDS = st.integers(0, 2**40)
some = settings(max_examples=60)


def drawn(sampler, steps):
    return list(itertools.islice(sampler, steps))


def shaped(sizes, shape, seed=0, **ranks):
    return SubBatchSampler(sizes, None, *shape, seed=seed, **ranks)


def rows_by_source(batch):
    rows = {}
    for source, row in batch:
        rows.setdefault(source, []).append(row)
    return rows


@some
@given(SIZES, SHAPES, SEEDS)
def test_each_sub_batch_is_of_one_source_and_each_row_exists(sizes, shape, seed):
    batch_size, sub_batch_size = shape
    for batch in drawn(shaped(sizes, shape, seed), 5):
        assert len(batch) == batch_size
        assert all(0 <= row < sizes[source] for source, row in batch)
        for start in range(0, batch_size, sub_batch_size or 1):
            assert len({source for source, _ in batch[start : start + (sub_batch_size or 1)]}) == 1


@settings(some, max_examples=25)
@given(SIZES, st.sampled_from([(8, 1), (16, 2), (64, 8), (16, 0)]), SEEDS)
def test_the_parts_of_the_ranks_are_the_global_batch(sizes, shape, seed):
    whole = drawn(shaped(sizes, shape, seed), 6)
    for world in (2, 4, 8):
        ranks = [drawn(shaped(sizes, shape, seed, rank=rank, world_size=world), 6) for rank in range(world)]
        for batch, parts in zip(whole, zip(*ranks, strict=True), strict=True):
            assert {len(part) for part in parts} == {shape[0] // world}
            assert [pair for part in parts for pair in part] == batch


@some
@given(SIZES, SHAPES, SEEDS)
def test_a_row_comes_twice_in_a_batch_only_as_its_source_is_small_and_then_evenly(sizes, shape, seed):
    for batch in drawn(shaped(sizes, shape, seed), 12):
        for source, rows in rows_by_source(batch).items():
            numbers = Counter(rows)
            each = [numbers[row] for row in range(sizes[source])]
            assert max(each) - min(each) <= 1
            if len(rows) <= sizes[source]:
                assert max(each) == 1


@some
@given(SIZES, SHAPES, SEEDS)
def test_a_sub_batch_repeats_no_row_while_its_source_has_enough(sizes, shape, seed):
    run = shape[1] or 1
    for batch in drawn(shaped(sizes, shape, seed), 12):
        for start in range(0, len(batch), run):
            sub_batch = batch[start : start + run]
            assert len(set(sub_batch)) == min(run, sizes[sub_batch[0][0]])


@some
@given(SIZES, SHAPES, SEEDS)
def test_each_pass_over_a_source_has_each_row_once(sizes, shape, seed):
    stream = rows_by_source(itertools.chain(*drawn(shaped(sizes, shape, seed), 25)))
    for source, rows in stream.items():
        size = sizes[source]
        for start in range(0, len(rows) - size + 1, size):
            assert sorted(rows[start : start + size]) == list(range(size))


@some
@given(SIZES, SHAPES, SEEDS, st.integers(0, 25), st.integers(0, 25))
def test_a_jump_to_any_step_continues_as_the_straight_run(sizes, shape, seed, before, jump):
    straight = drawn(shaped(sizes, shape, seed), before + jump + 5)
    sampler = shaped(sizes, shape, seed)
    assert drawn(sampler, before) == straight[:before]
    sampler.advance(jump)
    assert sampler.step == before + jump
    assert drawn(sampler, 5) == straight[before + jump :]


@some
@given(SIZES, SEEDS, st.integers(0, 20), st.sampled_from([1, 2, 4]), st.sampled_from([1, 2, 4]))
def test_a_saved_state_resumes_on_another_number_of_ranks(sizes, seed, steps, world, later_world):
    shape = (16, 4)
    straight = drawn(shaped(sizes, shape, seed), steps + 3)
    last = shaped(sizes, shape, seed, rank=world - 1, world_size=world)
    drawn(last, steps)
    state = json.loads(json.dumps(last.state_dict()))
    parts = []
    for rank in range(later_world):
        sampler = shaped(sizes, shape, seed, rank=rank, world_size=later_world)
        sampler.load_state_dict(state)
        parts.append(drawn(sampler, 3))
    assert [list(itertools.chain(*part)) for part in zip(*parts, strict=True)] == straight[steps:]


def test_a_state_of_an_earlier_step_goes_back():
    sampler = SubBatchSampler([40, 9], batch_size=8, sub_batch_size=4)
    drawn(sampler, 3)
    state = sampler.state_dict()
    after = drawn(sampler, 20)
    sampler.load_state_dict(state)
    assert drawn(sampler, 20) == after


def test_the_state_does_not_grow():
    sampler = SubBatchSampler([10**9, 50], batch_size=64, sub_batch_size=8)
    before = len(json.dumps(sampler.state_dict()))
    sampler.advance(999)
    assert len(json.dumps(sampler.state_dict())) <= before + 2


def test_a_jump_makes_no_order_of_a_long_source():
    sampler = SubBatchSampler([10**15], batch_size=8, sub_batch_size=4)  # no memory would hold its order
    sampler.advance(1000)
    assert sampler.step == 1000


def test_passes_and_sources_and_seeds_differ_in_order():
    def two_passes(seed):
        stream = rows_by_source(itertools.chain(*drawn(SubBatchSampler([64, 64], None, 16, 4, seed), 40)))
        return [tuple(rows[start : start + 64]) for rows in stream.values() for start in (0, 64)]

    orders = two_passes(0) + two_passes(1)
    assert len(set(orders)) == len(orders) == 8


def test_a_small_source_is_shuffled_in_every_batch():
    # Ten rows in batches of 64: each batch takes six rounds and four rows more.
    rounds = {tuple(row for _, row in batch[:10]) for batch in drawn(SubBatchSampler([10], None, 64, 64), 30)}
    assert len(rounds) == 30


def test_the_first_row_of_a_pass_is_uniform():
    firsts = Counter(next(SubBatchSampler([10], None, 1, 1, seed=seed))[0][1] for seed in range(2000))
    assert stats.chisquare([firsts[row] for row in range(10)]).pvalue > 1e-3


@pytest.mark.parametrize(
    ("weights", "shares"),
    [([1, 3, 0, 4.0], [0.125, 0.375, 0, 0.5]), (None, [0.1, 0.2, 0.3, 0.4])],
    ids=["weights", "sizes"],
)
@pytest.mark.parametrize("sub_batch_size", [0, 4, 64])
def test_sources_are_drawn_by_weight(weights, shares, sub_batch_size):
    sampler = SubBatchSampler([100, 200, 300, 400], weights, 64, sub_batch_size, seed=5)
    run = sub_batch_size or 1
    sub_batches = [batch[start][0] for batch in drawn(sampler, 600) for start in range(0, 64, run)]
    counts = np.bincount(sub_batches, minlength=4)
    possible = np.array(shares) > 0
    assert counts[~possible].sum() == 0
    expected = np.array(shares)[possible] * len(sub_batches)
    assert stats.chisquare(counts[possible], expected).pvalue > 1e-3


@pytest.mark.parametrize("lag", [1, 2, 8])  # eight sub-batches: the same place of the next batch
def test_sources_are_drawn_independently(lag):
    sampler = SubBatchSampler([50, 50, 50], [1, 2, 3], 16, 2, seed=3)
    sources = np.array([batch[start][0] for batch in drawn(sampler, 600) for start in range(0, 16, 2)])
    table = np.zeros((3, 3))
    np.add.at(table, (sources[:-lag], sources[lag:]), 1)
    assert stats.chi2_contingency(table).pvalue > 1e-3


def test_batches_leave_and_need_no_global_random_state():
    np.random.seed(1)
    before = np.random.get_state()[1].copy()
    first = drawn(SubBatchSampler([30], batch_size=8, sub_batch_size=4), 3)
    assert (np.random.get_state()[1] == before).all()
    np.random.seed(2)
    assert drawn(SubBatchSampler([30], batch_size=8, sub_batch_size=4), 3) == first


def test_the_order_of_rows_is_the_one_that_saved_runs_rely_on():
    # Printed by next(SubBatchSampler([20, 5], [1, 1], 8, 2, seed=7)) after advance(3).
    sampler = SubBatchSampler([20, 5], [1, 1], 8, 2, seed=7)
    sampler.advance(3)
    assert next(sampler) == GOLDEN


GOLDEN = [(1, 2), (1, 4), (1, 0), (1, 1), (1, 3), (1, 2), (0, 7), (0, 0)]


@pytest.mark.filterwarnings("ignore:This DataLoader will create")  # on machines with few cores
@pytest.mark.parametrize("workers", [0, 2, 4])
def test_a_loader_keeps_the_order_of_batches_for_any_number_of_workers(workers):
    import torch

    class Echo(torch.utils.data.Dataset):
        def __getitem__(self, index):
            return index

    ranks = {"rank": 1, "world_size": 2}
    sampler = SubBatchSampler([100, 9], batch_size=8, sub_batch_size=2, **ranks)
    loader = torch.utils.data.DataLoader(Echo(), batch_sampler=sampler, num_workers=workers, collate_fn=list)
    straight = drawn(SubBatchSampler([100, 9], batch_size=8, sub_batch_size=2, **ranks), 24)
    assert drawn(loader, 24) == straight
    # What the training loop counts is saved, not what the workers have drawn ahead.
    resumed = SubBatchSampler([100, 9], batch_size=8, sub_batch_size=2, **ranks)
    resumed.load_state_dict({**sampler.state_dict(), "step": 20})
    assert drawn(resumed, 4) == straight[20:]


@pytest.mark.parametrize("size", [1, 2, 3, 16, 17, 31, 32, 33])
@pytest.mark.parametrize("shape", [(16, 16), (16, 0), (16, 1), (1, 1), (1, 0)])
def test_sizes_around_one_and_two_batches(size, shape):
    stream = [row for batch in drawn(shaped([size], shape), 40) for _, row in batch]
    for start in range(0, len(stream) - size + 1, size):
        assert sorted(stream[start : start + size]) == list(range(size))
    jumped = shaped([size], shape)
    jumped.advance(39)
    assert [row for _, row in next(jumped)] == stream[39 * shape[0] :]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"source_sizes": []}, "no sources"),
        ({"source_sizes": 100}, "source_sizes is 100. Pass a list"),
        ({"source_sizes": {"a": 3}}, "source_sizes is {'a': 3}. Pass a list"),
        ({"source_sizes": [100, 0]}, "source 1: it has no rows. Leave the source out"),
        ({"source_sizes": [100, -1]}, "size of source 1 is int -1. Pass a whole number"),
        ({"source_sizes": [1.5]}, "size of source 0 is float 1.5. Pass a whole number"),
        ({"source_sizes": [100, True]}, "size of source 1 is True"),
        ({"source_sizes": [100, None]}, "size of source 1 is None"),
        ({"weights": [1, 2, 3]}, "3 weights for 2 sources. Pass one weight"),
        ({"weights": 1.0}, "weights is 1.0. Pass a list"),
        ({"weights": [1, -0.5]}, "source 1: its weight is -0.5. Pass a finite number"),
        ({"weights": [float("nan"), 1]}, "source 0: its weight is nan"),
        ({"weights": [float("inf"), 1]}, "source 0: its weight is inf"),
        ({"weights": [1, np.float32("inf")]}, "source 1: its weight is np.float32"),
        ({"weights": [1, 10**400]}, "source 1: its weight is 1000"),
        ({"weights": [1, "2"]}, "source 1: its weight is '2'"),
        ({"weights": [0, 0.0]}, "all weights are 0. Give at least one"),
        ({"batch_size": 0}, "batch_size is int 0"),
        ({"batch_size": 8.0}, "batch_size is float 8.0"),
        ({"sub_batch_size": -1}, "sub_batch_size is int -1"),
        ({"sub_batch_size": 3}, "Make batch_size 6 or 9, or choose a sub_batch_size that divides 8"),
        ({"sub_batch_size": 16}, "Make batch_size 16, or choose"),
        ({"seed": -1}, "seed is int -1"),
        ({"seed": None}, "seed is None"),
        ({"rank": -1}, "rank is int -1"),
        ({"rank": 1}, "rank 1 does not exist among 1 processes. Pass a rank from 0 to 0"),
        ({"world_size": 0}, "world_size is int 0"),
        ({"world_size": 3}, "4 sub-batches .* among 3 processes. Make batch_size 12, or use as many"),
        ({"world_size": 8}, "Make batch_size 16, choose a sub_batch_size that divides 1, or use as many"),
        ({"world_size": 2, "sub_batch_size": 8}, "that divides 4, or use one process"),
        ({"world_size": 3, "sub_batch_size": 0}, "8 rows .* Make batch_size 9, or use as many .* divide 8"),
    ],
)
def test_a_bad_setting_is_named_with_the_fix(arguments, says):
    with pytest.raises(InputError, match=says):
        SubBatchSampler(**{"source_sizes": [100, 50], "batch_size": 8, "sub_batch_size": 2, **arguments})


def test_numbers_of_numpy_are_numbers():
    plain = SubBatchSampler([100, 50], [0.5, 2], 8, 2)
    arrays = SubBatchSampler(np.array([100, 50]), np.array([0.5, 2], np.float32), np.int64(8), np.int32(2))
    assert drawn(arrays, 3) == drawn(plain, 3)
    json.dumps(arrays.state_dict())


def test_weights_near_the_largest_float_are_shares_too():
    huge = SubBatchSampler([100, 50], [1e308, 1e308], 8, 2)
    assert drawn(huge, 5) == drawn(SubBatchSampler([100, 50], [1, 1], 8, 2), 5)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"seed": 1}, "other seed: 1, and not 0. Resume with"),
        ({"source_sizes": [100, 51]}, "other source_sizes"),
        ({"weights": [1.0, 1.0]}, "other weights"),
        ({"batch_size": 16}, "other batch_size"),
        ({"sub_batch_size": 4}, "other sub_batch_size"),
        ({"step": -1}, "step of the state is int -1"),
        ({"step": None}, "step of the state is None"),
    ],
)
def test_a_state_that_does_not_fit_is_refused(change, says):
    sampler = SubBatchSampler([100, 50], batch_size=8, sub_batch_size=2)
    with pytest.raises(InputError, match=says):
        sampler.load_state_dict({**sampler.state_dict(), **change})
    assert sampler.step == 0


@pytest.mark.parametrize("flags", [[], ["-O"]])
def test_without_torch_and_without_asserts(flags):
    script = """
import sys
from vlm2vec.training import SubBatchSampler
next(SubBatchSampler([5]))
if "torch" in sys.modules:
    sys.exit("torch was loaded")
try:
    SubBatchSampler([5, 0])
except ValueError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, *flags, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("source 1: it has no rows")


def test_without_shuffling_rows_come_in_their_order() -> None:
    sampler = SubBatchSampler([5, 100], [1, 0], batch_size=4, sub_batch_size=2, shuffle=False)
    drawn = [row for _ in range(5) for _, row in next(sampler)]
    assert drawn[:4] == [0, 1, 2, 3]
    # No row twice in a batch, where one pass ends and the next begins.
    assert [sorted(drawn.count(row) for row in range(5))] == [[4, 4, 4, 4, 4]]
    assert all(len(set(drawn[start : start + 4])) == 4 for start in range(0, 20, 4))
    shuffled = SubBatchSampler([5, 100], [1, 0], batch_size=4, sub_batch_size=2)
    with pytest.raises(InputError, match="other shuffle"):
        shuffled.load_state_dict(sampler.state_dict())
