"""What this package wrote before: results, and records of downloads, runs, vectors, profiles."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from random import Random

import numpy as np

from .mutations import damaged, damaged_json
from .reader import Case, Reader, WrongResultError

__all__ = ["records", "results"]


def _results() -> list[Case]:
    tasks = [
        ("mini-CLS", "hit@1", [1.0, 0.0, 1.0]),
        ("ImageNet-1K", "hit@1", [1.0, 0.0]),
        ("ViDoRe_arxivqa", "ndcg@5", [0.5, 0.25]),
    ]
    files = {
        f"tasks/{task}.json": json.dumps(
            {
                "task": task,
                "model": "a model",
                "metric": metric,
                "scores": {metric: sum(values) / len(values), "mrr@10": 0.5},
                "per_query": values,
                "top": [["a", 1], [], ["b"]][: len(values)],
                "candidates": 10,
                "expected_queries": 1000,
                "seconds": 1.5,
                "made_of": {"model": {"weights": "0a"}, "compat": None, "data": "1b"},
                "failures": [{"role": "query", "which": "0", "error": "input 0: it is broken"}],
                "revisions": {"a/b": "0" * 40},
                "versions": {"torch": "2.11"},
                "settings": {"batch size": "64"},
            }
        ).encode()
        for task, metric, values in tasks
    }
    names = list(files)
    return [{names[0]: files[names[0]]}, {name: files[name] for name in names[1:]}, files]


def _damage(case: Case, rng: Random, seeds: Sequence[Case]) -> Case:
    name = rng.choice(sorted(case))
    others = [data for seed in seeds for other, data in seed.items() if other == name]
    change = damaged_json if name.endswith((".json", ".jsonl")) else damaged
    return {**case, name: change(case[name], rng, others)}


def _start_results() -> Callable[[Path], None]:
    from vlm2vec.mmeb.results import Results

    def read(folder: Path) -> None:
        found = Results.load(folder)
        if not all(0 <= score <= 100 for score in found.scores.values()):
            raise WrongResultError(f"a score is {found.scores}")
        text = str(found)
        if "nan" in text.lower().split():
            raise WrongResultError("a mean is NaN")
        found.summary()
        found.intervals()
        found.to_pandas()
        _ = found.written, found.own, found.compat
        found.compare(found)

    return read


def _records() -> list[Case]:
    from vlm2vec import profiles

    block = io.BytesIO()
    np.save(block, np.ones((3, 4), np.float32))
    profile = json.dumps({"profile": profiles.get("vlm2vec-v2").as_dict()}).encode()
    downloads = {
        "repositories": {"a/b": {"commit": "0" * 40, "files": {"x.zip": {"bytes": 3, "commit": "0" * 40}}}},
        "tasks": {"MVBench": {"a/b": "0" * 40}},
        "archives": {
            "x.zip": {
                "complete": True,
                "content": ["a"],
                "parts": ["x.zip"],
                "repo": "a/b",
                "commit": "0" * 40,
            }
        },
    }
    run = {"sampler": {"step": 3}, "log_temperature": -3.9, "settings": {"seed": 0, "batch_size": 64}}
    mixture = b"""description: two sources
root: .
defaults: {weight: 1.0, query_instruction: "Find it."}
sources:
  one: {loader: rows, file: rows.jsonl, cap: 5}
training: {batch_size: 4, learning_rate: 5e-5}
"""
    return [
        {"profile/vlm2vec.json": profile},
        {"downloads/downloads.json": json.dumps(downloads).encode()},
        {"downloads/unpacked_frames.json": json.dumps({"clip": 3}).encode()},
        {"run/vlm2vec_run.json": json.dumps(run).encode()},
        {"digests/digests.json": json.dumps({"/a 3 5": "0" * 32}).encode()},
        {
            "store/0a.json": json.dumps({"names": ["a", "b", "c"], "ends": []}).encode(),
            "store/0a.npy": block.getvalue(),
        },
        {
            "store/0a.json": json.dumps({"names": ["a", "b"], "ends": [1, 3]}).encode(),
            "store/0a.npy": block.getvalue(),
        },
        {"lines/rows.jsonl": b'{"query": "a", "document": "b"}\n\n{"query": "c", "document": "d"}\n'},
        {"rows/rows.json": b'[{"query": "a", "label": 1}, {"query": "c", "label": 2}]'},
        {"mixture/mixture.yaml": mixture, "mixture/rows.jsonl": b'{"query": "a", "document": "b"}\n'},
    ]


def _profile(folder: Path) -> None:
    from vlm2vec.profiles import Profile
    from vlm2vec.profiles.chat_template import chat_template

    found = Profile.load(folder)
    if found is not None:
        chat_template(found)
        _ = found.control_tokens, found.as_dict()


def _downloads(folder: Path) -> None:
    from vlm2vec.mmeb.data.record import Record, noted_counts
    from vlm2vec.mmeb.tasks import list_tasks

    record = Record.load(folder)
    for task in list_tasks("all"):
        record.revisions(task)
        record.half_unpacked(task)
    record.commit("a/b")
    record.unpacked("x.zip", ["a"])
    if any(count < 0 for count in noted_counts(folder).values()):
        raise WrongResultError("a folder has fewer frames than none")


def _run(folder: Path) -> None:
    from vlm2vec.training.run_state import RunState, newest_checkpoint

    RunState.load(folder).check_settings({"seed": 0, "batch_size": 64})
    newest_checkpoint(folder)


def _digests(folder: Path) -> None:
    from vlm2vec.mmeb.digests import Digests
    from vlm2vec.mmeb.samples import Content

    Digests(folder / "digests.json").content(Content("a"))


def _store(folder: Path) -> None:
    from vlm2vec.mmeb.store import EmbeddingStore

    store = EmbeddingStore(folder)
    names = [name for name in ("a", "b", "c") if not store.missing([name])]
    for vector in store.vectors(names).values():
        if vector.dtype != np.float32 or vector.ndim not in (1, 2):
            raise WrongResultError(f"a vector is of {vector.dtype} and shape {vector.shape}")


def _lines(folder: Path) -> None:
    from vlm2vec.training.sources.json_lines import JsonLines

    lines = JsonLines(folder / "rows.jsonl")
    if len(list(lines)) != len(lines):
        raise WrongResultError("lines are lost")


def _rows(folder: Path) -> None:
    from vlm2vec.mmeb.loaders.annotation_rows import read_rows

    read_rows([folder / "rows.json"], ["query"], source="rows")


def _mixture(folder: Path) -> None:
    from vlm2vec.training import Mixture

    Mixture.from_yaml(folder / "mixture.yaml")


_KINDS: Mapping[str, Callable[[Path], None]] = {
    "profile": _profile,
    "downloads": _downloads,
    "run": _run,
    "digests": _digests,
    "store": _store,
    "lines": _lines,
    "rows": _rows,
    "mixture": _mixture,
}


def _start_records() -> Callable[[Path], None]:
    def read(folder: Path) -> None:
        (kind,) = folder.iterdir()
        _KINDS[kind.name](kind)

    return read


results = Reader(_results, _damage, _start_results, 5.0, 400)
records = Reader(_records, _damage, _start_records, 5.0, 1000)
