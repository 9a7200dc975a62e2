import numpy as np
import pytest
import torch
from media_making import image_bytes, random_picture

from vlm2vec.errors import InputError, LimitError, MediaError
from vlm2vec.media.frames import read_frame_folder, sample_frames
from vlm2vec.media.limits import Limits
from vlm2vec.media.sampling import Sampling, uniform_indices
from vlm2vec.media.source import Source
from vlm2vec.media.video import read_frames

PICTURES = [random_picture(seed=i) for i in range(20)]
ARRAYS = np.stack([np.asarray(picture) for picture in PICTURES])


def write(folder, names):
    for name, picture in zip(names, PICTURES, strict=False):
        (folder / name).write_bytes(image_bytes(picture))


def same(frames, positions):
    return len(frames.frames) == len(positions) and all(
        np.array_equal(frame, ARRAYS[i]) for frame, i in zip(frames.frames, positions, strict=True)
    )


def test_frames_are_sorted_as_people_number_them(tmp_path):
    write(tmp_path, [f"frame_{i + 1}.png" for i in range(20)])
    assert same(read_frame_folder(tmp_path), [0, 2, 5, 8, 10, 13, 16, 19])


def test_gaps_upper_case_and_other_files_do_not_matter(tmp_path):
    write(tmp_path, ["Frame-003.PNG", "frame-10.png", "frame-200.png"])
    for name in ("notes.txt", ".frame-1.png", "Thumbs.db", "._frame-3.png"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "frame-5.png").mkdir()
    assert same(read_frame_folder(tmp_path), [0, 1, 2])


def test_names_of_equal_numbers_have_one_order(tmp_path):
    write(tmp_path, ["f01.png", "f1.png", "f001.png"])
    assert same(read_frame_folder(tmp_path), [2, 0, 1])


def test_only_the_chosen_frames_are_read(tmp_path):
    write(tmp_path, [f"{i}.png" for i in range(20)])
    for i in set(range(20)) - set(uniform_indices(20, 4)):
        (tmp_path / f"{i}.png").write_bytes(b"broken")
    assert same(read_frame_folder(tmp_path, Sampling(4)), uniform_indices(20, 4))


def test_a_folder_is_read_as_a_video(tmp_path):
    write(tmp_path, [f"{i}.png" for i in range(20)])
    source = Source.from_path(tmp_path)
    assert same(read_frames(source, Sampling(None)), list(range(20)))


def test_frames_of_other_sizes_come_as_they_are(tmp_path):
    write(tmp_path, ["1.png"])
    (tmp_path / "2.png").write_bytes(image_bytes(random_picture(8, 6)))
    assert [frame.shape for frame in read_frame_folder(tmp_path).frames] == [(30, 40, 3), (6, 8, 3)]


def test_an_empty_folder_is_an_error(tmp_path):
    (tmp_path / "notes.txt").touch()
    with pytest.raises(MediaError, match="holds no images"):
        read_frame_folder(tmp_path)
    with pytest.raises(MediaError, match="cannot be read"):
        read_frame_folder(tmp_path / "missing")


def test_a_broken_frame_is_an_error_that_names_it(tmp_path):
    write(tmp_path, ["1.png", "2.png"])
    (tmp_path / "2.png").write_bytes(b"<html>")
    with pytest.raises(MediaError, match=r"frame 2\.png: this is not an image but web page"):
        read_frame_folder(tmp_path)


def test_alpha_and_limits_reach_the_frames(tmp_path):
    clear = random_picture().convert("RGBA")
    clear.putalpha(0)
    (tmp_path / "1.png").write_bytes(image_bytes(clear))
    assert read_frame_folder(tmp_path, alpha="white").frames[0].min() == 255
    with pytest.raises(LimitError, match="40 x 30"):
        read_frame_folder(tmp_path, limits=Limits(max_image_pixels=100))
    with pytest.raises(LimitError, match="longer than"):
        read_frame_folder(tmp_path, limits=Limits(decode_seconds=1e-9))


@pytest.mark.parametrize("setting", [{"fps": 1}, {"start": 0}, {"end": 3}])
def test_frames_without_times_have_no_seconds(tmp_path, setting):
    write(tmp_path, ["1.png"])
    with pytest.raises(InputError, match="no times"):
        read_frame_folder(tmp_path, Sampling(**setting))
    with pytest.raises(InputError, match="no times"):
        sample_frames(PICTURES, Sampling(**setting))


def sources():
    return [Source.from_bytes(image_bytes(picture)) for picture in PICTURES]


@pytest.mark.parametrize(
    "clip",
    [
        PICTURES,
        tuple(PICTURES),
        list(ARRAYS),
        sources(),
        ARRAYS,
        ARRAYS.transpose(0, 3, 1, 2),
        ARRAYS / 255,
        torch.from_numpy(ARRAYS).permute(0, 3, 1, 2),
    ],
    ids=["pil", "tuple", "arrays", "sources", "thwc", "tchw", "floats", "tensor"],
)
def test_lists_and_arrays_are_sampled_by_the_same_rule(clip):
    assert same(sample_frames(clip), [0, 2, 5, 8, 10, 13, 16, 19])
    assert same(sample_frames(clip, Sampling(None)), list(range(20)))


def test_a_short_clip_is_not_padded():
    assert same(sample_frames(PICTURES[:3]), [0, 1, 2])


def test_the_range_of_floats_is_that_of_the_clip():
    clip = np.zeros((4, 8, 8, 3))
    clip[3] = 255
    with pytest.raises(InputError, match="floats from 0 to 255"):
        sample_frames(clip)


@pytest.mark.parametrize(
    ("clip", "words"),
    [
        ([], "no frames"),
        (np.zeros((0, 8, 8, 3), np.uint8), "no frames"),
        (np.zeros((8, 8, 3), np.uint8), "shape"),
        (np.zeros((2, 2, 8, 8, 3), np.uint8), "shape"),
        (np.zeros((2, 3, 8, 3), np.uint8), "channels first or channels last"),
        (np.zeros((2, 8, 8, 3), np.uint16), "uint16"),
        ([PICTURES[0], None], "is no picture"),
        ("abc", "is no picture"),
        (7, "is no picture"),
    ],
)
def test_other_clips_are_errors(clip, words):
    with pytest.raises(InputError, match=words):
        sample_frames(clip)
