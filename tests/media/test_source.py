import base64
import os
import pickle
from pathlib import Path

import pytest
from media_making import audio_bytes, clip_bytes, image_bytes, pdf_bytes, random_picture
from PIL import Image

from vlm2vec.errors import InputError, LimitError, MediaError
from vlm2vec.media import source as source_module
from vlm2vec.media.source import Source


def moving_image(kind: str) -> bytes:
    pictures = [random_picture(seed=i) for i in range(3)]
    return image_bytes(pictures[0], kind, save_all=True, append_images=pictures[1:])


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"])
def test_the_kind_of_a_still_image_is_image(kind):
    assert Source.from_bytes(image_bytes(random_picture(), kind)).kind == "image"


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "AVIF"])
def test_the_kind_of_an_image_that_moves_is_video(kind):
    assert Source.from_bytes(moving_image(kind)).kind == "video"


@pytest.mark.parametrize(
    "container", ["mp4", "mov", "matroska", "avi", "mpegts", "flv", "asf", "nut", "h264"]
)
def test_the_kind_of_a_video_file_is_video(container):
    assert Source.from_bytes(clip_bytes(container, count=3)).kind == "video"


def test_the_kind_of_a_pdf_is_pdf_even_behind_leading_bytes():
    assert Source.from_bytes(pdf_bytes((100, 100))).kind == "pdf"
    assert Source.from_bytes(b"\n" * 1000 + pdf_bytes((100, 100))).kind == "pdf"


def test_the_kind_comes_from_the_content_and_not_from_the_name(tmp_path):
    path = tmp_path / "clip.mp4"
    path.write_bytes(image_bytes(random_picture()))
    assert Source.from_path(path).kind == "image"


def test_text_is_known_by_its_name(tmp_path):
    for name in ("a.txt", "B.MD"):
        (tmp_path / name).write_text("hello")
        assert Source.from_path(tmp_path / name).kind == "text"


def test_a_folder_is_a_video(tmp_path):
    assert Source.from_path(tmp_path).kind == "video"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"<!DOCTYPE html><html></html>", "web page"),
        (b"  \n<svg xmlns='x'/>", "SVG"),
        (b"PK\x03\x04....", "ZIP"),
        (b"#EXTM3U\nhttp://example.org/a.ts", "HLS playlist"),
        (b"\x00\x00\x00\x18ftypheic\0\0\0\0mif1heic", "HEIC"),
        (b"RIFF\x00\x00\x00\x00WAVEfmt ", "WAV"),
        (b"Dear reader", "not a known format"),
        (b"ffconcat version 1.0\nfile /etc/passwd\n", "not a known format"),
    ],
)
def test_what_cannot_be_embedded_has_no_kind(data, words):
    with pytest.raises(MediaError, match=words):
        _ = Source.from_bytes(data).kind


def test_an_empty_file_is_an_error(tmp_path):
    path = tmp_path / "a.jpg"
    path.touch()
    with pytest.raises(MediaError, match="empty"):
        _ = Source.from_path(path).kind
    with pytest.raises(MediaError, match="no bytes"):
        Source.from_bytes(b"")


def test_a_missing_file_is_an_error_that_names_it(tmp_path):
    with pytest.raises(MediaError, match=r"nope\.jpg: the file does not exist"):
        Source.from_path(tmp_path / "nope.jpg")
    with pytest.raises(MediaError, match="expanduser"):
        Source.from_path(Path("~/no/such/file.jpg"))


def test_devices_and_pipes_are_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(MediaError, match="a device, a pipe"):
            Source.from_path(path)


def test_a_file_deleted_after_it_was_named_is_an_error(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(b"x")
    source = Source.from_path(path)
    path.unlink()
    with pytest.raises(MediaError, match="cannot be opened"):
        source.open()


def test_all_kinds_of_bytes_are_taken_and_later_changes_do_not_matter():
    buffer = bytearray(pdf_bytes((10, 10)))
    source = Source.from_bytes(buffer)
    assert source == Source.from_bytes(memoryview(bytes(buffer)))
    buffer[:] = bytes(len(buffer))
    assert source.kind == "pdf"


def test_a_source_is_hashable_and_pickles(tmp_path):
    for source in (Source.from_path(tmp_path), Source.from_bytes(b"%PDF-")):
        assert pickle.loads(pickle.dumps(source)) == source  # noqa: S301
        assert len({source, source}) == 1


def test_the_description_never_holds_the_bytes(tmp_path):
    data = image_bytes(random_picture(8, 8))
    assert Source.from_bytes(data).describe() == f"{len(data):,} bytes of PNG"
    assert Source.from_bytes(b"secret").describe() == "6 bytes of an unknown format"
    assert "secret" not in repr(Source.from_bytes(b"secret"))
    (tmp_path / "a.png").write_bytes(data)
    assert Source.from_path(tmp_path / "a.png").describe().endswith("/a.png")
    assert len(Source(Path("x" * 100)).describe()) == 48


def test_size_is_the_encoded_size(tmp_path):
    (tmp_path / "a.bin").write_bytes(b"12345")
    assert Source.from_path(tmp_path / "a.bin").size == Source.from_bytes(b"12345").size == 5


def test_a_data_uri_gives_its_bytes():
    data = image_bytes(random_picture())
    uri = "data:image/png;base64," + base64.b64encode(data).decode()
    assert Source.from_string(uri) == Source.from_bytes(data)
    assert Source.from_string("DATA:image/png;name=a;BASE64," + uri.split(",")[1]).kind == "image"


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("data:image/png;base64", "no comma"),
        ("data:,hello", "no type"),
        ("data:text/html;base64,c2VjcmV0", "'text/html'"),
        ("data:audio/wav;base64,c2VjcmV0", "'audio/wav'"),
        ("data:image/png,secret", "not base64"),
        ("data:image/png;base64,se cret!", "not valid base64"),
        ("data:image/png;base64,secre", "not valid base64"),
        ("data:image/png;base64,", "no bytes"),
    ],
)
def test_a_bad_data_uri_is_an_error_that_does_not_repeat_it(uri, words):
    with pytest.raises((InputError, MediaError), match=words) as caught:
        Source.from_string(uri)
    assert "secre" not in str(caught.value)
    assert "c2VjcmV0" not in str(caught.value)


def test_a_huge_data_uri_is_refused(monkeypatch):
    monkeypatch.setattr(source_module, "_MAX_INLINE_BYTES", 100)
    with pytest.raises(LimitError, match="more than 100"):
        Source.from_data_uri("data:image/png;base64," + "A" * 1000)


def test_a_string_is_a_path(tmp_path):
    (tmp_path / "a.txt").write_text("x")
    assert Source.from_string(str(tmp_path / "a.txt")) == Source.from_path(tmp_path / "a.txt")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "empty"),
        ("  ", "empty"),
        ("a\0b", "null character"),
        ("file:///etc/passwd", "file://"),
        ("http://example.org/a.png", "allow_urls=True"),
        ("HTTPS://example.org/a.png", "allow_urls=True"),
        ("ftp://example.org/a.png", "allow_urls=True"),
    ],
)
def test_strings_that_are_neither_path_nor_data_are_refused(text, words):
    with pytest.raises(InputError, match=words):
        Source.from_string(text)


def test_a_missing_path_in_a_string_is_an_error():
    with pytest.raises(MediaError, match="does not exist"):
        Source.from_string("no/such/file.jpg")


def test_urls_are_fetched_where_allowed(monkeypatch):
    monkeypatch.setattr(source_module, "fetch", lambda url, **_: b"%PDF-" + url.encode())
    assert Source.from_string("https://example.org/a", allow_urls=True).data == b"%PDF-https://example.org/a"


def test_an_mp4_with_sound_only_is_no_image():
    assert Source.from_bytes(audio_bytes()).kind == "video"


def test_a_gif_with_one_frame_is_an_image():
    assert Source.from_bytes(image_bytes(Image.new("P", (4, 4)), "GIF")).kind == "image"


@pytest.mark.parametrize("name", ["data", "http", "file"])
def test_a_file_may_be_named_like_a_scheme(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / name).write_bytes(b"%PDF-1.7 ...")
    monkeypatch.chdir(tmp_path)
    assert Source.from_string(name).kind == "pdf"
