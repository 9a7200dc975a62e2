"""Unpacking: parts, kinds of archives, members that want out, and damages."""

from __future__ import annotations

import gzip
import io
import os
import tarfile
import zipfile
from pathlib import Path, PurePosixPath

import pytest
from published_data import contents, split, tarred

from vlm2vec.mmeb import list_tasks
from vlm2vec.mmeb.data.archives import file_names, target_folder, unpack
from vlm2vec.mmeb.data.hub import DownloadError

FILES = {
    "K700/a/frame_1.png": b"one",
    "K700/a/frame_2.png": os.urandom(5000),
    "K700/b/frame_1.png": b"",
    "K700/ö ü/[1].png": os.urandom(512),
}


def written(folder: Path, data: bytes, parts: int = 1) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, content in split("cls.tar.gz", data, parts).items():
        (folder / name).write_bytes(content)
        paths.append(folder / name)
    return paths


def zipped(files: dict[str, bytes]) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return data.getvalue()


def with_link(name: str, target: str, kind: bytes) -> bytes:
    return with_links({name: target}, kind)


def with_links(links: dict[str, str], kind: bytes = tarfile.SYMTYPE) -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:gz") as tar:
        member = tarfile.TarInfo("a/file.png")
        member.size = 5
        tar.addfile(member, io.BytesIO(b"inner"))
        for name, target in links.items():
            link = tarfile.TarInfo(name)
            link.type, link.linkname = kind, target
            tar.addfile(link)
    return data.getvalue()


@pytest.mark.parametrize(
    "data", [tarred(FILES), tarred(FILES, mode="w"), zipped(FILES)], ids=["gz", "tar", "zip"]
)
def test_what_is_unpacked_is_what_was_packed(tmp_path: Path, data: bytes) -> None:
    read = []
    parts = written(tmp_path / "in", data)
    folders = unpack(parts, tmp_path / "out", on_read=read.append)
    assert folders == {path.parent for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert contents(tmp_path / "out") == FILES
    assert sum(read) > 0
    assert [name.as_posix() for name in file_names(parts, 2)] == list(FILES)[:2]


@pytest.mark.parametrize("mode", ["w:gz", "w"])
@pytest.mark.parametrize("parts", [2, 3, 7])
def test_parts_are_joined(tmp_path: Path, parts: int, mode: str) -> None:
    unpack(written(tmp_path / "in", tarred(FILES, mode=mode), parts), tmp_path / "out")
    assert contents(tmp_path / "out") == FILES


@pytest.mark.parametrize(
    "name",
    ["../out of it.png", "a/../../out of it.png", "..\\out of it.png", "/tmp/out of it.png"],  # noqa: S108
)
@pytest.mark.parametrize("pack", [tarred, zipped])
def test_a_member_that_wants_out_is_refused(tmp_path: Path, name: str, pack: object) -> None:
    parts = written(tmp_path / "in", pack({"a/fine.png": b"fine", name: b"bad"}))  # type: ignore[operator]
    with pytest.raises(DownloadError, match="outside of its folder"):
        unpack(parts, tmp_path / "out")
    assert contents(tmp_path / "out") == {"a/fine.png": b"fine"}
    assert not list(tmp_path.rglob("out of it.png"))


@pytest.mark.parametrize(
    ("name", "target", "kind"),
    [("a/b/same.png", "../file.png", tarfile.SYMTYPE), ("a/b/same.png", "a/file.png", tarfile.LNKTYPE)],
)
def test_links_become_copies(tmp_path: Path, name: str, target: str, kind: bytes) -> None:
    unpack(written(tmp_path / "in", with_link(name, target, kind)), tmp_path / "out")
    assert (tmp_path / "out" / name).read_bytes() == b"inner"
    assert not (tmp_path / "out" / name).is_symlink()


@pytest.mark.parametrize("target", ["../../../secret", "/etc/passwd"])
@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE])
def test_a_link_to_the_outside_is_refused(tmp_path: Path, target: str, kind: bytes) -> None:
    (tmp_path / "secret").write_text("secret")
    with pytest.raises(DownloadError, match="outside"):
        unpack(written(tmp_path / "in", with_link("a/b/link", target, kind)), tmp_path / "out")
    assert not (tmp_path / "out" / "a" / "b" / "link").exists()


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE])
def test_links_to_links_become_copies(tmp_path: Path, kind: bytes) -> None:
    names = {"a/3.png": "a/file.png"} | {f"a/{number}.png": f"a/{number + 1}.png" for number in (2, 1, 0)}
    links = {name: Path(end).name if kind == tarfile.SYMTYPE else end for name, end in names.items()}
    (tmp_path / "out" / "a").mkdir(parents=True)
    (tmp_path / "out" / "a" / "1.png").write_bytes(b"of an archive that was here before")
    unpack(written(tmp_path / "in", with_links(links, kind)), tmp_path / "out")
    assert contents(tmp_path / "out") == dict.fromkeys(["a/file.png", *names], b"inner")


@pytest.mark.parametrize(
    "links",
    [{"a/1": "2", "a/2": "1"}, {"a/1": "1"}, {"a/1": "2", "a/2": "3", "a/3": "2"}, {"a/1": "2", "a/2": "3"}],
)
def test_links_that_lead_to_no_file_are_refused(tmp_path: Path, links: dict[str, str]) -> None:
    with pytest.raises(DownloadError, match="a/1 is a link to something else"):
        unpack(written(tmp_path / "in", with_links(links)), tmp_path / "out")
    assert contents(tmp_path / "out") == {"a/file.png": b"inner"}


def test_a_file_that_is_packed_twice_is_kept(tmp_path: Path) -> None:
    links = with_links({"a/file.png": "a/file.png"}, tarfile.LNKTYPE)
    unpack(written(tmp_path / "in", links), tmp_path / "out")
    assert contents(tmp_path / "out") == {"a/file.png": b"inner"}


def test_a_link_to_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="link to something else"):
        unpack(written(tmp_path / "in", with_link("b", "a", tarfile.SYMTYPE)), tmp_path / "out")
    assert not (tmp_path / "out" / "b").exists()


def test_a_device_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="neither a file nor a folder"):
        unpack(written(tmp_path / "in", with_link("a/device", "", tarfile.CHRTYPE)), tmp_path / "out")


@pytest.mark.parametrize("mode", ["w:gz", "w"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.8])
def test_an_archive_that_is_cut_off_is_damaged(tmp_path: Path, mode: str, share: float) -> None:
    files = {f"K700/a/frame_{number}.png": os.urandom(2000) for number in range(20)}
    data = tarred(files, mode=mode)
    with pytest.raises(DownloadError, match="damaged"):
        unpack(written(tmp_path / "in", data[: int(share * len(data))]), tmp_path / "out")


def test_a_flipped_byte_is_damage(tmp_path: Path) -> None:
    data = bytearray(gzip.compress(tarred(FILES, mode="w"), compresslevel=0))
    data[data.index(b"one")] ^= 1
    with pytest.raises(DownloadError, match="damaged"):
        unpack(written(tmp_path / "in", bytes(data)), tmp_path / "out")


def test_a_broken_header_is_damage(tmp_path: Path) -> None:
    data = bytearray(tarred(FILES, mode="w"))
    data[data.index(b"K700/b")] ^= 1
    with pytest.raises(DownloadError, match="damaged"):
        unpack(written(tmp_path / "in", bytes(data)), tmp_path / "out")


@pytest.mark.parametrize("data", [b"", b"version https://git-lfs.github.com/spec/v1\n" * 30])
def test_what_is_no_archive_is_told(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(DownloadError, match="damaged"):
        unpack(written(tmp_path / "in", data), tmp_path / "out")


@pytest.mark.parametrize(
    ("archive", "name", "place"),
    [
        ("image-tasks/mmeb_v1", "MMEB/MSCOCO/1.png", "image-tasks"),
        ("image-tasks/mmeb_v1", "MSCOCO/1.png", "image-tasks"),
        ("video-tasks/frames/video_mret", "QVHighlight/v/query/1.png", "video-tasks/frames/video_mret"),
        ("video-tasks/frames/video_mret", "video_mret/QVHighlight/v/1.png", "video-tasks/frames"),
        ("video-tasks/frames/video_mret", "Charades_STA/v/query/1.png", "video-tasks/frames/video_mret"),
        ("video-tasks/frames/video_mret", "else/1.png", "video-tasks/frames/video_mret"),
        (
            "video-tasks/frames/video_ret",
            "data/ziyan/video_retrieval/MSVD/frames/v/1.png",
            "video-tasks/frames/video_ret",
        ),
        ("video-tasks/frames/video_ret", "MSVD/v/1.png", "video-tasks/frames/video_ret"),
        ("visdoc-tasks/visdoc-tasks.images", "images/ViDoRe_docvqa/1.png", "visdoc-tasks"),
        ("visdoc-tasks/visdoc-tasks.images", "visdoc-tasks/images/ViDoRe_docvqa/1.png", "."),
        ("visdoc-tasks/visdoc-tasks.data", "data/ViDoSeek/qrels/test.parquet", "visdoc-tasks"),
        ("visdoc-tasks/visdoc-tasks.data", "ViDoSeek/qrels/test.parquet", "visdoc-tasks/data"),
    ],
)
def test_an_archive_is_unpacked_where_loaders_look(archive: str, name: str, place: str) -> None:
    sharing = [task for task in list_tasks() if f"{archive}.tar.gz*" in task.archives]
    roots = [root for task in sharing for root in (*task.roots, *task.data_roots)]
    assert target_folder(f"{archive}.tar.gz", [PurePosixPath(name)], roots).as_posix() == place
