import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlm2vec.errors import InputError
from vlm2vec.media.sampling import Sampling, uniform_indices

TENTHS = [i / 10 for i in range(100)]


@pytest.mark.parametrize(
    ("count", "expected"),
    [(20, [0, 2, 5, 8, 10, 13, 16, 19]), (30, [0, 4, 8, 12, 16, 20, 24, 29]), (5, [0, 1, 2, 3, 4]), (1, [0])],
)
def test_eight_frames_are_those_of_the_original_code(count, expected):
    assert uniform_indices(count, 8) == expected


def test_one_frame_is_the_first():
    assert uniform_indices(9, 1) == [0]


@given(st.integers(1, 5000), st.integers(1, 64))
def test_uniform_positions_increase_and_span_the_clip(count, num_frames):
    chosen = uniform_indices(count, num_frames)
    assert len(chosen) == min(count, num_frames)
    assert chosen == sorted(set(chosen))
    assert chosen[0] == 0
    assert num_frames == 1 or chosen[-1] == count - 1


def test_no_limit_takes_all():
    assert Sampling(None).choose(TENTHS) == list(range(100))


def test_fps_takes_the_frame_on_screen_at_each_tick():
    assert Sampling(None, fps=1).choose(TENTHS, 10) == list(range(0, 100, 10))
    assert Sampling(None, fps=1).choose([0.0, 0.7, 0.9, 2.5]) == [0, 2]
    assert Sampling(None, fps=1).choose([0.0, 0.7, 0.9, 2.5], 3.5) == [0, 2, 3]


def test_fps_above_the_clip_takes_each_frame_once():
    assert Sampling(None, fps=1000).choose(TENTHS) == list(range(100))
    assert Sampling(None, fps=1e12).choose(TENTHS) == list(range(100))


def test_fps_of_the_clip_takes_all_frames_though_times_are_rounded():
    rounded = [round(i / 30, 3) for i in range(300)]
    assert Sampling(None, fps=30).choose(rounded) == list(range(300))


def test_fps_below_one_frame_per_clip_takes_the_first():
    assert Sampling(None, fps=0.001).choose(TENTHS, 10) == [0]


def test_num_frames_caps_fps_evenly():
    assert Sampling(3, fps=1).choose(TENTHS, 10) == [0, 40, 90]


def test_the_range_begins_and_ends_with_what_is_on_screen():
    assert Sampling(None, start=0.55, end=0.81).choose(TENTHS) == [5, 6, 7, 8]
    assert Sampling(None, start=0.51, end=0.53).choose(TENTHS) == [5]
    assert Sampling(2, start=5, end=6).choose(TENTHS) == [50, 60]
    assert Sampling(None, start=1, end=2, fps=2).choose(TENTHS) == [10, 15, 20]


def test_an_end_behind_the_clip_is_its_end():
    assert Sampling(2, end=1e9).choose(TENTHS) == [0, 99]


def test_a_start_within_the_last_frame_gives_the_last_frame():
    assert Sampling(8, start=9.95).choose(TENTHS, 10.0) == [99]


def test_a_start_behind_the_clip_is_an_error_that_says_where_it_ends():
    with pytest.raises(InputError, match="ends at 10 s"):
        Sampling(start=10.5).choose(TENTHS, 10.0)


@pytest.mark.parametrize(
    ("count", "fps", "settings", "expected"),
    [
        (30, 1, {"min_frames": 4}, [0, 10, 19, 29]),  # 3 would be taken
        (30, 1, {"min_frames": 3}, [0, 10, 19, 29]),  # made even
        (30, 1, {}, [0, 29]),
        (30, 2, {"num_frames": 6}, [0, 6, 12, 17, 23, 29]),
        (30, 2, {"num_frames": 5}, [0, 10, 19, 29]),
        (30, 1.7, {}, [0, 10, 19, 29]),  # 5.1
        (30, 100, {"num_frames": None}, list(range(30))),
        (5, 100, {"num_frames": None}, [0, 1, 3, 4]),
        (1, 1, {"min_frames": 4}, [0]),
        (30, 1, {"num_frames": 1}, [0]),
        (30, 0.01, {"num_frames": None}, [0, 29]),
    ],
)
def test_spread_frames_are_as_many_as_fps_says_made_even(count, fps, settings, expected):
    """Counted by hand from `smart_nframes` of qwen_vl_utils; 10 frames a second."""
    sampling = Sampling(**{"num_frames": 64, **settings}, fps=fps, rule="spread")
    assert sampling.choose([i / 10 for i in range(count)], count / 10) == expected


@given(st.integers(2, 3000), st.floats(0.1, 120), st.floats(0.1, 200), st.integers(2, 64), st.integers(1, 9))
def test_spread_frames_are_those_of_the_naive_rule(count, rate, fps, num_frames, min_frames):
    wanted = min(max(count / rate * fps, min_frames + min_frames % 2), num_frames - num_frames % 2, count)
    wanted = int(wanted // 2 * 2)
    expected = [round(i * (count - 1) / (wanted - 1)) for i in range(wanted)]
    sampling = Sampling(num_frames, fps, min_frames=min_frames, rule="spread")
    assert sampling.choose([i / rate for i in range(count)], count / rate) == expected


def test_a_number_of_spread_frames_is_taken_as_it_is_and_rounded():
    for sampling in (Sampling(7, rule="spread"), Sampling(7, min_frames=12, rule="spread")):
        assert sampling.choose(TENTHS[:30], 3.0) == [0, 5, 10, 14, 19, 24, 29]
        assert sampling.choose_untimed(30) == [0, 5, 10, 14, 19, 24, 29]
        assert sampling.choose_untimed(3) == [0, 1, 2]
    assert Sampling(7).choose_untimed(30) == [0, 4, 9, 14, 19, 24, 29]


def test_spread_frames_stay_within_the_range_and_last_as_long_as_it():
    sampling = Sampling(None, fps=2, start=1, end=3.95, rule="spread")
    assert sampling.choose(TENTHS, 10.0) == [10, 16, 22, 27, 33, 39]


@pytest.mark.parametrize(
    "setting",
    [
        {"num_frames": 0},
        {"min_frames": 0},
        {"min_frames": 1.5},
        {"num_frames": -1},
        {"num_frames": 2.5},
        {"num_frames": True},
        {"fps": 0},
        {"fps": -1},
        {"fps": math.nan},
        {"fps": math.inf},
        {"fps": "1"},
        {"start": -1},
        {"start": math.nan},
        {"end": -1},
        {"end": math.inf},
        {"start": 2, "end": 1},
        {"start": 2, "end": 2},
    ],
)
def test_settings_that_make_no_sense_are_errors(setting):
    with pytest.raises(InputError, match=r"start|end|fps|num_frames|min_frames"):
        Sampling(**setting)


@given(
    st.lists(st.floats(0.001, 5), min_size=0, max_size=40),
    st.floats(0.05, 100),
    st.integers(1, 10),
    st.floats(0, 3),
)
def test_a_choice_increases_and_stays_within_the_clip(gaps, fps, num_frames, start):
    times = [0.0]
    for gap in gaps:
        times.append(times[-1] + gap)
    chosen = Sampling(num_frames, fps, min(start, times[-1])).choose(times)
    assert 1 <= len(chosen) <= num_frames
    assert chosen == sorted(set(chosen))
    assert set(chosen) <= set(range(len(times)))
