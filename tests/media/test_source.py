import base64
import os
import pickle
from pathlib import Path

import pytest
from media_making import audio_bytes, clip_bytes, image_bytes, pdf_bytes, random_picture
from PIL import Image

from vlm2vec.errors import InputError, LimitError, MediaError
from vlm2vec.media import source as source_module
from vlm2vec.media.probe import kind as kind_of
from vlm2vec.media.source import Source


def moving_image(kind: str) -> bytes:
    pictures = [random_picture(seed=i) for i in range(3)]
    return image_bytes(pictures[0], kind, save_all=True, append_images=pictures[1:])


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"])
def test_the_kind_of_a_still_image_is_image(kind):
    assert kind_of(Source.from_bytes(image_bytes(random_picture(), kind))) == "image"


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "AVIF"])
def test_the_kind_of_an_image_that_moves_is_video(kind):
    assert kind_of(Source.from_bytes(moving_image(kind))) == "video"


@pytest.mark.parametrize(
    "container", ["mp4", "mov", "matroska", "avi", "mpegts", "flv", "asf", "nut", "h264"]
)
def test_the_kind_of_a_video_file_is_video(container):
    assert kind_of(Source.from_bytes(clip_bytes(container, count=3))) == "video"


@pytest.mark.parametrize(
    "start", ["00000100 00000120", "00000100 7900", "00000167 42", "00000001 4001", "000001b3"]
)
def test_the_starts_of_raw_video_are_no_icons(start):
    assert kind_of(Source.from_bytes(bytes.fromhex(start) + bytes(range(255, 200, -1)))) == "video"


def test_the_kind_of_a_pdf_is_pdf_even_behind_leading_bytes():
    assert kind_of(Source.from_bytes(pdf_bytes((100, 100)))) == "pdf"
    assert kind_of(Source.from_bytes(b"\n" * 1000 + pdf_bytes((100, 100)))) == "pdf"


def test_the_kind_comes_from_the_content_and_not_from_the_name(tmp_path):
    path = tmp_path / "clip.mp4"
    path.write_bytes(image_bytes(random_picture()))
    assert kind_of(Source.from_path(path)) == "image"


def test_text_is_known_by_its_name(tmp_path):
    for name in ("a.txt", "B.MD"):
        (tmp_path / name).write_text("hello")
        assert kind_of(Source.from_path(tmp_path / name)) == "text"


def test_a_folder_is_a_video(tmp_path):
    assert kind_of(Source.from_path(tmp_path)) == "video"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"<!DOCTYPE html><html></html>", "web page"),
        (b"  \n<svg xmlns='x'/>", "SVG"),
        (b"PK\x03\x04....", "ZIP"),
        (b"#EXTM3U\nhttp://example.org/a.ts", "HLS playlist"),
        (b"\x00\x00\x00\x18ftypheic\0\0\0\0mif1heic", "HEIC"),
        (b"RIFF\x00\x00\x00\x00WAVEfmt ", "WAV"),
        (image_bytes(random_picture(), "ICO"), "Windows icon"),
        (b"\0\0\2\0" + image_bytes(random_picture(), "ICO")[4:], "Windows cursor"),
        (b"\0\0\0\1Bud1\0\0\x10\0", "DS_Store"),
        (b"BMW is the name of a maker of cars", "not a known format"),
        (b"Dear reader", "not a known format"),
        (b"ffconcat version 1.0\nfile /etc/passwd\n", "not a known format"),
    ],
)
def test_what_cannot_be_embedded_has_no_kind(data, words):
    with pytest.raises(MediaError, match=words):
        _ = kind_of(Source.from_bytes(data))


def test_an_empty_file_is_an_error(tmp_path):
    path = tmp_path / "a.jpg"
    path.touch()
    with pytest.raises(MediaError, match="empty"):
        _ = kind_of(Source.from_path(path))
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
    assert kind_of(source) == "pdf"


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


def test_a_data_uri_gives_its_bytes():
    data = image_bytes(random_picture())
    uri = "data:image/png;base64," + base64.b64encode(data).decode()
    assert Source.from_string(uri) == Source.from_bytes(data)
    assert kind_of(Source.from_string("DATA:image/png;name=a;BASE64," + uri.split(",")[1])) == "image"


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
        Source.from_string("no/such/file.jpg").check_exists()


def test_a_url_is_fetched_once_when_it_is_read_and_again_once_it_was_let_go(monkeypatch):
    fetched = []
    monkeypatch.setattr(
        source_module, "fetch", lambda url, **_: fetched.append(url) or b"%PDF-" + url.encode()
    )
    source = Source.from_url("https://example.org/a?token=secret")
    assert (source.describe(), fetched) == ("https://example.org/a", [])
    assert "secret" not in repr(source)
    assert source.read() == b"%PDF-https://example.org/a?token=secret"
    assert kind_of(source) == "pdf"
    assert len(fetched) == 1
    source.release()
    assert b"secret" in source.read()
    assert len(fetched) == 2


def test_an_mp4_with_sound_only_is_no_image():
    assert kind_of(Source.from_bytes(audio_bytes())) == "video"


def test_a_gif_with_one_frame_is_an_image():
    assert kind_of(Source.from_bytes(image_bytes(Image.new("P", (4, 4)), "GIF"))) == "image"


@pytest.mark.parametrize("name", ["data", "http", "file"])
def test_a_file_may_be_named_like_a_scheme(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / name).write_bytes(b"%PDF-1.7 ...")
    monkeypatch.chdir(tmp_path)
    assert kind_of(Source.from_string(name)) == "pdf"
