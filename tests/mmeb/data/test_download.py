"""`download`: from a stand-in for the hub to a folder that loaders read, with stops and faults on the way."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter, namedtuple
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from hub_stand_in import HubStandIn
from published_data import MEDIA, contents, publish, tarred

from vlm2vec.errors import InputError
from vlm2vec.mmeb import get_task
from vlm2vec.mmeb.data import DownloadError, Record, check, download, revisions_of
from vlm2vec.mmeb.evaluation import evaluate
from vlm2vec.mmeb.loaders import DataFolder, load
from vlm2vec.mmeb.results import Results
from vlm2vec.mmeb.samples import Content

IMAGE, QUESTIONS, CLIPS, PAGES = (get_task(name) for name in ("OK-VQA", "NExTQA", "MSVD", "ViDoRe_docvqa"))
VIDEO_QA = "video-tasks/frames/video_qa.tar.gz"


def media(folder: Path, root: str) -> dict[str, bytes]:
    return contents(folder / root)


def loaded(folder: Path, *tasks: object) -> list[int]:
    """Numbers of queries that loaders find, without the hub."""
    return [len(load(task, DataFolder(folder, offline=True)).queries) for task in tasks]  # type: ignore[arg-type]


def test_what_comes_is_what_loaders_read(hub: HubStandIn, tmp_path: Path) -> None:
    tasks = (IMAGE, get_task("MVBench"), CLIPS, PAGES)
    source = publish(hub, tmp_path, tasks, parts=3)
    told: list[str] = []
    found = download([task.name for task in tasks], data_dir=tmp_path / "data", report=told.append)
    assert loaded(tmp_path / "data", *tasks) == [3, 20, 3, 2]
    assert [task.queries for task in found.tasks] == [3, 20, 3, 2]
    assert not any(task.missing or task.unreadable or task.problems for task in found.tasks)
    for task in tasks[:3]:
        assert media(tmp_path / "data", task.roots[0]) == media(source, task.roots[0])
    assert "free" in told[0]
    assert not [name for name in hub.fetched if "videos.zip" in name or "visdoc-tasks" in name]


def test_nothing_is_fetched_or_unpacked_twice(hub: HubStandIn, tmp_path: Path) -> None:
    publish(hub, tmp_path, [QUESTIONS, get_task("EgoSchema")], parts=3)
    download("NExTQA", data_dir=tmp_path / "data")
    a_frame = next((tmp_path / "data" / QUESTIONS.roots[0]).rglob("*.png"))
    a_frame.unlink()  # would be there again if the archive were unpacked again
    hub.fetched.clear()
    found = download(["NExTQA", "EgoSchema"], data_dir=tmp_path / "data")
    assert [task.queries for task in found.tasks] == [3, 3]
    assert {name for name in hub.fetched if not name.endswith("README.md")} == {
        "VLM2Vec/EgoSchema/Subset/test-00000-of-00001.parquet"
    }
    assert not a_frame.exists()
    download(["NExTQA"], data_dir=tmp_path / "data", force=True)
    assert a_frame.exists()


def test_a_clip_that_lost_frames_is_told(hub: HubStandIn, tmp_path: Path) -> None:
    publish(hub, tmp_path, [CLIPS, QUESTIONS])
    data = tmp_path / "data"
    assert not any(task.short for task in download([CLIPS.name, QUESTIONS.name], data_dir=data).tasks)
    clip = sorted({path.parent for path in (data / CLIPS.roots[0]).rglob("*.png")})[1]
    frames = sorted(clip.glob("*.png"))
    assert len(frames) > 2
    for frame in frames[:2]:
        frame.unlink()
    (clip / "Thumbs.db").touch()  # makes up for nothing
    found, other = check([CLIPS.name, QUESTIONS.name], data_dir=data).tasks
    assert found.short == (clip,) and not found.complete and not other.short
    assert f"1 with fewer frames than were unpacked:\n    {clip}" in str(found)
    assert not download(CLIPS.name, data_dir=data, force=True).tasks[0].short


def test_a_clip_that_is_gone_from_those_of_its_video_is_told(hub: HubStandIn, tmp_path: Path) -> None:
    task, data = get_task("QVHighlight"), tmp_path / "data"
    publish(hub, tmp_path, [task])
    assert not download(task.name, data_dir=data).tasks[0].short
    clips = {path.parent for path in (data / task.roots[0]).rglob("*.png")}
    wrong = sorted(clip for clip in clips if not clip.name.startswith(("positive", "query")))
    shutil.rmtree(wrong[0])
    (found,) = check(task.name, data_dir=data).tasks
    assert (found.short, found.missing) == ((wrong[0],), ())


def test_a_folder_of_an_earlier_version_is_not_unpacked_again(hub: HubStandIn, tmp_path: Path) -> None:
    publish(hub, tmp_path, [QUESTIONS], parts=2)
    data = tmp_path / "data"
    download("NExTQA", data_dir=data, delete_archives=True)
    record = json.loads((data / "downloads.json").read_text())
    record["archives"][VIDEO_QA] |= {"into": "video-tasks/frames/video_qa", "files": 9, "bytes": 999}
    (data / "downloads.json").write_text(json.dumps(record))
    hub.fetched.clear()
    assert not download("NExTQA", data_dir=data).tasks[0].missing
    assert not [name for name in hub.fetched if name.startswith(MEDIA)]


def test_only_the_tables_of_the_tasks_come(hub: HubStandIn, tmp_path: Path) -> None:
    publish(hub, tmp_path, [IMAGE, get_task("MSCOCO")])
    download("OK-VQA", data_dir=tmp_path / "data", media=False)
    names = set(contents(tmp_path / "data" / "annotations" / IMAGE.repo))
    assert {name for name in names if not name.startswith(".cache")} == {
        "README.md",
        "OK-VQA/test-00000-of-00001.parquet",
    }
    assert not [name for name in hub.fetched if name.startswith(MEDIA)]


def test_archives_of_pages_come_when_they_are_asked_for(hub: HubStandIn, tmp_path: Path) -> None:
    publish(hub, tmp_path, [PAGES])
    images = {f"images/{PAGES.name}/{page}.png": b"a page" for page in range(4)}
    hub.add(MEDIA, {"visdoc-tasks/visdoc-tasks.images.tar.gz": tarred(images)})
    hub.add(MEDIA, {"visdoc-tasks/visdoc-tasks.data.tar.gz": tarred({"data/other/test.parquet": b"x"})})
    found = download(PAGES.name, data_dir=tmp_path / "data", page_archives=True)
    assert found.tasks[0].files == 4
    assert media(tmp_path / "data", PAGES.roots[0]) == {f"{page}.png": b"a page" for page in range(4)}


def test_archives_are_removed_when_that_is_asked_for(hub: HubStandIn, tmp_path: Path) -> None:
    publish(hub, tmp_path, [QUESTIONS], parts=2)
    frames = tmp_path / "data" / "video-tasks" / "frames"
    download("NExTQA", data_dir=tmp_path / "data")
    assert len(list(frames.glob("*.tar.gz-*"))) == 2
    hub.fetched.clear()
    for _ in range(2):
        found = download("NExTQA", data_dir=tmp_path / "data", delete_archives=True)
        assert not found.tasks[0].missing
        assert not list(frames.glob("*.tar.gz-*"))
    assert not [name for name in hub.fetched if name.startswith(MEDIA)]


def test_commits_are_recorded_and_kept_until_others_are_asked_for(hub: HubStandIn, tmp_path: Path) -> None:
    publish(hub, tmp_path, [CLIPS])
    repo = CLIPS.repo
    (first, files), data = next(iter(hub.repositories[repo].items())), tmp_path / "data"
    (archive_commit,) = hub.repositories[MEDIA]
    table = "data/test-00000-of-00001.parquet"
    second = hub.put(repo, {"data/test-00000-of-00002.parquet": files[table],
                            "data/test-00001-of-00002.parquet": files[table]})  # fmt: skip
    download("MSVD", data_dir=data, revision={repo: first[:9]})
    assert revisions_of(data, CLIPS) == {repo: first, MEDIA: archive_commit}
    assert json.loads((data / "downloads.json").read_text())["repositories"][repo]["files"][table] == {
        "bytes": len(files[table]),
        "commit": first,
    }
    hub.add(MEDIA, {"something else": b"new"})
    download("MSVD", data_dir=data)
    assert revisions_of(data, CLIPS) == {repo: first, MEDIA: archive_commit}
    found = download("MSVD", data_dir=data, revision="main")
    assert revisions_of(data, CLIPS)[repo] == second
    assert found.tasks[0].queries == 6  # the table in one file is gone, the one in two is read
    assert revisions_of(data, get_task("DiDeMo")) == {MEDIA: archive_commit}  # frames of it came, too


def test_a_new_archive_replaces_the_old_one(hub: HubStandIn, tmp_path: Path) -> None:
    publish(hub, tmp_path, [CLIPS])
    download("MSVD", data_dir=tmp_path / "data")
    name = "video-tasks/frames/video_ret.tar.gz"
    commit = hub.add(MEDIA, {name: tarred({"MSVD/new/frame_1.png": b"new"})})
    download("MSVD", data_dir=tmp_path / "data", revision={MEDIA: "main"})
    assert (tmp_path / "data" / CLIPS.roots[1] / "new" / "frame_1.png").read_bytes() == b"new"
    assert revisions_of(tmp_path / "data", CLIPS)[MEDIA] == commit


@pytest.mark.parametrize(
    ("revision", "error", "words"),
    [
        ("no-such", DownloadError, "it has no revision no-such"),
        ({"VLM2Vec/VATEX": "main"}, InputError, "none of the chosen tasks needs"),
    ],
)
def test_revisions_that_are_not_there_are_told(
    hub: HubStandIn, tmp_path: Path, revision: object, error: type[Exception], words: str
) -> None:
    publish(hub, tmp_path, [CLIPS])
    with pytest.raises(error, match=words):
        download("MSVD", data_dir=tmp_path / "data", revision=revision)  # type: ignore[arg-type]


def _gated(hub: HubStandIn) -> None:
    hub.gated.add(CLIPS.repo)


def _no_repository(hub: HubStandIn) -> None:
    del hub.repositories[CLIPS.repo]


def _no_table(hub: HubStandIn) -> None:
    hub.put(CLIPS.repo, {"train-00000-of-00001.parquet": b"x"})


def _no_archive(hub: HubStandIn) -> None:
    hub.put(MEDIA, {"image-tasks/mmeb_v1.tar.gz": b"x"})


def _no_middle_part(hub: HubStandIn) -> None:
    name = "video-tasks/frames/video_ret.tar.gz"
    hub.put(MEDIA, {f"{name}-00": b"x", f"{name}-02": b"x"})


def _all_of_it(hub: HubStandIn) -> None:
    _no_table(hub)
    _no_archive(hub)


@pytest.mark.parametrize(
    ("spoil", "words", "fix"),
    [
        (_gated, "accept its terms", "hf auth login"),
        (_no_repository, "no such data set", "hf auth login"),
        (_no_table, 'no files of MSVD, split "test"', "another revision"),
        (_no_archive, "no such file", "media=False"),
        (_no_middle_part, "only .*-00, .*-02 of it", "media=False"),
        (_all_of_it, "(?s)2 repositories.*no files of MSVD.*no such file", "mend"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_the_hub_does_not_give_is_told_before_anything_is_fetched(
    hub: HubStandIn, tmp_path: Path, spoil: Callable[[HubStandIn], None], words: str, fix: str
) -> None:
    publish(hub, tmp_path, [CLIPS])
    spoil(hub)
    with pytest.raises(DownloadError, match=words) as error:
        download("MSVD", data_dir=tmp_path / "data")
    assert fix in str(error.value)
    assert not (tmp_path / "data" / "annotations").exists()


def test_no_hub_is_told(hub: HubStandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(DownloadError, match=r"HF_HUB_OFFLINE is set\. Set HF_HUB_OFFLINE=0"):
        download("MSVD", data_dir=tmp_path / "data")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(DownloadError, match="Check the network"):
        download("MSVD", data_dir=tmp_path / "data")


def test_a_disk_without_room_is_told_before_anything_is_fetched(
    hub: HubStandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(hub, tmp_path, [CLIPS])
    archive = len(
        hub.repositories[MEDIA][next(iter(hub.repositories[MEDIA]))]["video-tasks/frames/video_ret.tar.gz"]
    )
    disk = namedtuple("disk", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: disk(0, 0, 2 * archive - 1))
    with pytest.raises(DownloadError, match=r"are needed, and .* are free\. Free some space"):
        download("MSVD", data_dir=tmp_path / "data")
    assert not (tmp_path / "data" / "annotations").exists()


def test_a_dry_run_fetches_nothing(hub: HubStandIn, tmp_path: Path) -> None:
    publish(hub, tmp_path, [CLIPS])
    told: list[str] = []
    found = download("MSVD", data_dir=tmp_path / "data", dry_run=True, report=told.append)
    assert "to fetch" in told[0]
    assert found.incomplete == ["MSVD"]
    assert not (tmp_path / "data").exists()


def test_the_mini_suite_has_nothing_to_fetch(hub: HubStandIn, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nothing to fetch"):
        download("mini", data_dir=tmp_path / "data")


def test_a_damaged_archive_is_told_and_fetched_again_by_force(hub: HubStandIn, tmp_path: Path) -> None:
    publish(hub, tmp_path, [CLIPS])
    archive = tmp_path / "data" / "video-tasks" / "frames" / "video_ret.tar.gz"
    download("MSVD", data_dir=tmp_path / "data", media=False)
    whole = hub.repositories[MEDIA][next(iter(hub.repositories[MEDIA]))][
        "video-tasks/frames/video_ret.tar.gz"
    ]
    (commit,) = hub.repositories[MEDIA]
    hub.repositories[MEDIA][commit]["video-tasks/frames/video_ret.tar.gz"] = b"x" * len(whole)
    with pytest.raises(DownloadError, match=r"damaged.*--force"):
        download("MSVD", data_dir=tmp_path / "data")
    hub.repositories[MEDIA][commit]["video-tasks/frames/video_ret.tar.gz"] = whole
    found = download("MSVD", data_dir=tmp_path / "data", force=True)
    assert archive.read_bytes() == whole
    assert not found.tasks[0].missing


def test_a_file_that_was_cut_is_fetched_again(hub: HubStandIn, tmp_path: Path) -> None:
    publish(hub, tmp_path, [CLIPS])
    download("MSVD", data_dir=tmp_path / "data")
    table = tmp_path / "data" / "annotations" / CLIPS.repo / "data" / "test-00000-of-00001.parquet"
    whole = table.read_bytes()
    table.write_bytes(whole[:100])
    download("MSVD", data_dir=tmp_path / "data")
    assert table.read_bytes() == whole


SLOW_UNPACKING = """
import sys, time
from vlm2vec.mmeb.data import archives, download
copy = archives.shutil.copyfileobj
def slowly(*arguments):
    time.sleep(0.3)
    return copy(*arguments)
if sys.argv[2] == "slowly":
    archives.shutil.copyfileobj = slowly
download("NExTQA", data_dir=sys.argv[1])
"""


def killed(data: Path, mode: str, when: Callable[[], bool]) -> None:
    """Download in another process, and kill it when that is so."""
    with subprocess.Popen([sys.executable, "-c", SLOW_UNPACKING, str(data), mode]) as process:
        while not when():
            assert process.poll() is None, "it ended before it was killed"
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        process.wait()


def test_killed_in_the_middle_of_a_file_it_goes_on(hub: HubStandIn, tmp_path: Path) -> None:
    source = publish(hub, tmp_path, [QUESTIONS])
    big = {f"NExTQA/extra/{number}.png": os.urandom(2**18) for number in range(16)}
    archive = tarred({**contents(source / "video-tasks/frames/video_qa"), **big})
    hub.put(MEDIA, {f"{VIDEO_QA}-00": archive[: 2**19], f"{VIDEO_QA}-01": archive[2**19 :]})
    hub.pause = 0.1
    data = tmp_path / "data"
    cache = data / ".cache"

    def in_the_second_part() -> bool:
        # What says that the first is whole is written once it is in its place.
        known = [path for path in cache.rglob("*-00.metadata") if path.stat().st_size]
        return bool(known) and any(cache.rglob("*.incomplete"))

    killed(data, "at once", in_the_second_part)
    assert not (data / f"{VIDEO_QA}-01").exists()
    assert not Record.load(data).archives
    hub.pause = 0
    hub.fetched.clear()
    found = download("NExTQA", data_dir=data)
    assert media(data, QUESTIONS.roots[0]) == {
        **media(source, QUESTIONS.roots[0]),
        **{name.removeprefix("NExTQA/"): content for name, content in big.items()},
    }
    assert not found.tasks[0].missing
    assert not list(data.rglob("*.incomplete"))
    again = Counter(hub.fetched)
    assert again[f"{MEDIA}/{VIDEO_QA}-00"] == 0
    assert again[f"{MEDIA}/{VIDEO_QA}-01"] == 1


def test_killed_while_it_unpacks_it_unpacks_again_and_fetches_nothing(
    hub: HubStandIn, tmp_path: Path
) -> None:
    source = publish(hub, tmp_path, [QUESTIONS], parts=2)
    data = tmp_path / "data"
    killed(data, "slowly", lambda: len(list((data / QUESTIONS.roots[0]).rglob("*.png"))) > 5)
    unpacked = media(data, QUESTIONS.roots[0])
    assert len(unpacked) < len(media(source, QUESTIONS.roots[0]))
    assert Record.load(data).half_unpacked(QUESTIONS) == [VIDEO_QA]
    hub.fetched.clear()
    found = download("NExTQA", data_dir=data, delete_archives=True)
    assert media(data, QUESTIONS.roots[0]) == media(source, QUESTIONS.roots[0])
    assert not [name for name in hub.fetched if name.startswith(MEDIA)]
    assert not found.tasks[0].problems
    assert not Record.load(data).half_unpacked(QUESTIONS)


def test_two_at_once_are_refused(hub: HubStandIn, tmp_path: Path) -> None:
    source = publish(hub, tmp_path, [QUESTIONS])
    data = tmp_path / "data"
    refused: list[str] = []

    def running() -> bool:
        if not list((data / QUESTIONS.roots[0]).rglob("*.png")):
            return False
        with pytest.raises(DownloadError, match="another download") as error:
            download("NExTQA", data_dir=data)
        refused.append(str(error.value))
        return True

    killed(data, "slowly", running)
    assert len(refused) == 1
    download("NExTQA", data_dir=data)
    assert media(data, QUESTIONS.roots[0]) == media(source, QUESTIONS.roots[0])


def test_results_quote_the_commits_of_their_data(hub: HubStandIn, tmp_path: Path) -> None:
    publish(hub, tmp_path, [CLIPS])
    download("MSVD", data_dir=tmp_path / "data")
    by_chance = np.random.default_rng(0)

    def encode(contents: Sequence[Content], role: str) -> np.ndarray:
        return by_chance.standard_normal((len(contents), 4))

    results = evaluate(
        encode,
        "MSVD",
        data_dir=tmp_path / "data",
        output_dir=tmp_path / "out",
        name="by chance",
        offline=True,
    )
    (commit,), (archive_commit,) = hub.repositories[CLIPS.repo], hub.repositories[MEDIA]
    assert results.tasks[0].revisions == {CLIPS.repo: commit, MEDIA: archive_commit}
    again = Results.load(tmp_path / "out")
    assert again.tasks[0].revisions == results.tasks[0].revisions
