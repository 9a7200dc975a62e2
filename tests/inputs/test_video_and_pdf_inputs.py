from __future__ import annotations

import pickle

import numpy as np
import PIL.Image
import pytest

from vlm2vec.errors import InputError, MediaError, VLM2VecError
from vlm2vec.inputs import Clip, Document, Text, Video, parse_input, pdf_pages

PHOTO = PIL.Image.new("RGB", (6, 4))
FRAMES = np.zeros((5, 4, 6, 3), np.uint8)


def only(item):
    (part,) = parse_input(item).parts
    return part


def test_a_video_takes_frames_a_file_a_folder_or_bytes(files, data):
    for frames in (
        [PHOTO],
        (PHOTO, PHOTO),
        FRAMES,
        files.mp4,
        str(files.mp4),
        files.frames,
        files.gif,
        data.mp4,
    ):
        assert isinstance(only(Video(frames)), Clip)


def test_a_videos_options_reach_the_clip(files):
    clip = only(Video(files.mp4, num_frames=2, fps=1, start=0, end=3, max_pixels=5000))
    assert (clip.num_frames, clip.fps, clip.start, clip.end, clip.max_pixels) == (2, 1.0, 0.0, 3.0, 5000)


@pytest.mark.parametrize("frames", [[PHOTO] * 3, FRAMES], ids=["list", "array"])
def test_frames_whose_rate_is_said_can_be_sampled_by_time(frames):
    clip = only(Video(frames, frame_rate=10, fps=2, end=0.4))
    assert (clip.frame_rate, clip.fps, clip.end) == (10.0, 2.0, 0.4)
    assert only({"video": frames, "frame_rate": 10, "start": 0.1}).frame_rate == 10.0
    assert repr(Video([PHOTO] * 3, frame_rate=10)) == "Video(list of 3, frame_rate=10.0)"
    with pytest.raises(InputError, match="Say the frame_rate"):
        parse_input(Video(frames, start=0.1))


def test_a_video_is_not_opened_before_it_is_parsed():
    video = Video("no/such.mp4")
    with pytest.raises(MediaError, match="does not exist"):
        parse_input(video)


def test_a_videos_repr_is_short_and_holds_no_data(data):
    assert repr(Video([PHOTO] * 3, num_frames=2)) == "Video(list of 3, num_frames=2)"
    assert repr(Video(data.mp4)) == f"Video({len(data.mp4)} bytes)"
    assert len(repr(Video("x/" * 500))) < 80


def test_a_video_can_be_pickled():
    assert len(pickle.loads(pickle.dumps(Video([PHOTO] * 3))).frames) == 3  # noqa: S301


def test_a_still_image_is_no_video(files):
    with pytest.raises(InputError, match="an image stands under"):
        parse_input(Video(files.png))


def test_pdf_pages_gives_one_input_per_page(files, data):
    for path in (files.pdf, str(files.pdf), data.pdf):
        pages = pdf_pages(path)
        assert [page.page for page in pages] == [1, 2, 3]
        assert all(isinstance(only(page), Document) for page in pages)
    assert [only(page).pages for page in pdf_pages(files.pdf)] == [1, 2, 3]


def test_pdf_pages_takes_a_selection(files):
    for selection, expected in [(2, [2]), ([3, 1], [3, 1]), ("2-3", [2, 3])]:
        assert [page.page for page in pdf_pages(files.pdf, selection)] == expected


def test_a_pages_options_reach_the_document(files):
    document = only(pdf_pages(files.pdf, 2, max_pixels=5000)[0])
    assert (document.pages, document.max_pixels, document.content.path) == (2, 5000, files.pdf)


def test_a_page_is_an_input_wherever_an_image_is(files):
    page = pdf_pages(files.pdf)[1]
    for item in (page, {"pdf": page}, {"image": page}, {"images": [page]}, [page]):
        assert only(item).pages == 2
    assert [type(part) for part in parse_input(["what is on", page]).parts] == [Text, Document]


def test_a_pages_repr_names_file_and_page(files):
    page = pdf_pages(files.pdf)[2]
    assert repr(page) == "PdfPage(pdf_file.bin, page 3)"
    assert str(page) == "pdf_file.bin, page 3"
    assert page.path == files.pdf
    assert parse_input(page).describe().endswith("pdf_file.bin, page 3")


def test_a_page_can_be_pickled_and_compared(files):
    page = pdf_pages(files.pdf)[0]
    assert pickle.loads(pickle.dumps(page)) == page  # noqa: S301


def test_a_page_has_its_page_already(files):
    with pytest.raises(InputError, match='"pages" is given twice'):
        parse_input({"pdf": pdf_pages(files.pdf)[0], "page": 2})


def test_pdf_pages_refuses_what_is_no_path_and_pages_that_the_file_has_not(files):
    with pytest.raises(VLM2VecError, match="int 3"):
        pdf_pages(3)
    for pages in (0, 4, "2-9", [], "x", True):
        with pytest.raises(InputError):
            pdf_pages(files.pdf, pages)


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        ("png", "no PDF but of the kind image"),
        ("missing", "does not exist"),
        (b"%PDF-1.7 and nothing more", "cannot be opened"),
        (b"\0\1\2", "not a known format"),
        (b"", "the file is empty"),
    ],
)
def test_a_broken_pdf_is_one_input_that_fails_when_it_is_parsed(files, broken, words):
    path = getattr(files, broken) if isinstance(broken, str) else broken
    for pages in (None, "2-3"):
        (page,) = pdf_pages(path, pages)
        assert str(page).endswith(", broken")
        for _ in range(2):
            with pytest.raises(MediaError, match=words) as caught:
                parse_input(page)
            assert caught.value.source
        assert pickle.loads(pickle.dumps(page)).error.cause == page.error.cause  # noqa: S301
