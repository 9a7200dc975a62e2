"""Small copies of tasks, put on a stand-in for the hub as the public repositories have them."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable
from pathlib import Path

from hub_stand_in import HubStandIn
from public_layout import write_task
from public_video_layout import write_video_task

from vlm2vec.mmeb import Task

MEDIA = "TIGER-Lab/MMEB-V2"
_UNPACKED = {
    "image": {"image-tasks/mmeb_v1.tar.gz": "image-tasks"},
    "video": {
        f"video-tasks/frames/video_{kind}.tar.gz": f"video-tasks/frames/video_{kind}"
        for kind in ("cls", "ret", "qa", "mret")
    },
    "visdoc": {"visdoc-tasks/visdoc-tasks.images.tar.gz": "visdoc-tasks"},
}
"""By modality each archive and the folder that it holds the contents of."""


def publish(hub: HubStandIn, scratch: Path, tasks: Iterable[Task], *, parts: int = 1) -> Path:
    """Put annotations and archives of small copies of tasks on the hub; returns the folder they are of."""
    tasks = list(tasks)
    folder = scratch / "published"
    for task in tasks:
        if task.modality == "video":
            write_video_task(folder, task)
        else:
            write_task(folder, task)
    annotations = folder / "annotations"
    for repo in dict.fromkeys(task.repo for task in tasks):
        hub.put(repo, {"README.md": b"# Data\n", "videos.zip": b"not wanted", **contents(annotations / repo)})
    for modality in dict.fromkeys(task.modality for task in tasks):
        for archive, place in _UNPACKED[modality].items():
            if (folder / place).is_dir():
                data = tarred(contents(folder / place))
                hub.add(MEDIA, {archive: data} if parts == 1 else split(archive, data, parts))
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    """All files of a folder by their path in it."""
    return {
        file.relative_to(folder).as_posix(): file.read_bytes()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


def tarred(files: dict[str, bytes], *, mode: str = "w:gz") -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode=mode) as tar:  # type: ignore[call-overload]
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return data.getvalue()


def split(archive: str, data: bytes, parts: int) -> dict[str, bytes]:
    """Numbered parts, as the archive of video questions has them."""
    size = len(data) // parts + 1
    return {f"{archive}-{number:02d}": data[number * size : (number + 1) * size] for number in range(parts)}
