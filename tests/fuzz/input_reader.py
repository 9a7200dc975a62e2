"""What a caller passes to `encode`: values of any type under any key, as a tree of JSON.

A dict with "$" stands for what JSON does not have: `{"$": "array", "shape": [4, 4, 3], "dtype": "uint8"}`.
"""

from __future__ import annotations

import decimal
import enum
import fractions
import io
import json
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from random import Random
from types import MappingProxyType, SimpleNamespace
from typing import Any

import numpy as np

from .media_readers import check_vectors
from .mutations import VALUES, damaged_tree
from .reader import Case, Reader, WrongResultError

__all__ = ["inputs"]


class _Word(enum.StrEnum):
    CAT = "a cat"


def _special(kind: str, **more: Any) -> dict[str, Any]:
    return {"$": kind, **more}


_PNG, _CLIP, _PDF, _TEXT = (
    _special("file", name=name) for name in ("a.png", "clip.gif", "two.pdf", "note.txt")
)
_SPECIALS: tuple[Any, ...] = (
    *(_PNG, _CLIP, _PDF, _TEXT),
    *(_special("file", name=name) for name in ("missing.png", "frames", "", ".", "/dev/null", "nul\0l.png")),
    *(_special("bytes", name=name) for name in ("a.png", "clip.gif", "two.pdf", "note.txt", "nothing")),
    *(_special("uri", name=name) for name in ("a.png", "clip.gif", "two.pdf", "nothing")),
    *(
        _special("array", shape=shape, dtype=dtype)
        for shape in (
            [8, 8, 3],
            [8, 8],
            [3, 8, 8],
            [2, 8, 8, 3],
            [0, 8, 3],
            [1, 1, 1],
            [8],
            [],
            [2, 2, 2, 2, 3],
        )
        for dtype in ("uint8", "float32", "bool", "int64", "O", "U4", "complex64", "float16", "M8[s]")
    ),
    *(
        _special("picture", mode=mode, size=[9, 7])
        for mode in ("RGB", "RGBA", "P", "I;16", "F", "CMYK", "1", "La")
    ),
    *(_special("picture", mode="RGB", size=size) for size in ([1, 1], [1, 900], [0, 5], [300, 1])),
    *(
        _special("number", dtype=dtype, value=value)
        for dtype in ("int64", "float32", "bool")
        for value in (0, 1, 9)
    ),
    *(
        _special(kind)
        for kind in ("word", "object", "nan", "fraction", "decimal", "complex", "big", "closed", "io")
    ),
    *(
        _special(kind, of=[1, 2])
        for kind in ("tuple", "set", "generator", "range", "view", "tensor", "frozen")
    ),
    *(_special("pairs", of=of) for of in ([[1, "a"]], [["text", "a"], [None, 1]])),
    _special("video", frames=_CLIP, num_frames=2),
    _special("pages", of=_PDF),
    *({"type": "text", "text": "a"}, {"role": "user", "content": "a"}, {"bytes": None, "path": "a.png"}),
    *("a cat", "<|image_pad|>", "1-3,7", "http://127.0.0.1/a.png", "data:,", "a.png", "cat " * 3000),
)


def _seeds() -> list[Case]:
    turn = {"role": "user", "content": [{"type": "text", "text": "what?"}, {"type": "image", "image": _PNG}]}
    system = {"role": "system", "content": "Find it."}
    url = {"type": "image_url", "image_url": {"url": _special("uri", name="a.png"), "detail": "auto"}}
    array = _special("array", shape=[2, 8, 8, 3], dtype="uint8")
    inputs: list[Any] = [
        "a cat",
        ["a cat", "a dog"],
        [_PNG, _CLIP, _PDF, _TEXT],
        [_special("bytes", name="a.png"), _special("picture", mode="RGB", size=[20, 30])],
        [{"text": "what?", "image": _PNG, "instruction": "Find it.", "max_pixels": 9000}],
        [{"images": [_PNG, _special("picture", mode="L", size=[9, 9])]}],
        [{"video": _CLIP, "num_frames": 2, "start": 0.0, "end": 0.2}],
        [{"video": [_PNG, _PNG, _PNG], "frame_rate": 2.0, "fps": 1.0}],
        [{"video": array, "num_frames": 1}],
        [{"video": _special("file", name="frames"), "frame_rate": 5}],
        [{"pdf": _PDF, "pages": "1-2", "password": "secret"}, {"pdf": _PDF, "page": 1}],
        [{"prompt": "<|vision_start|><|image_pad|><|vision_end|>what?", "images": [_PNG]}],
        [{"prompt": "a cat"}],
        [[_PNG, "and", _CLIP, {"text": "more"}, url]],
        [system, turn],
        [[system, turn], turn],
        [{"role": "user", "content": [url, {"type": "pdf", "path": _PDF, "pages": [1]}]}],
        [{"image": "data:image/png;base64,AAAA"}, {"image": "http://127.0.0.1/a.png"}],
        [_special("video", frames=[_PNG, _PNG], num_frames=1), _special("pages", of=_PDF)],
        [{"bytes": _special("bytes", name="a.png"), "path": None}],
    ]
    settings: list[dict[str, Any]] = [
        {},
        {"on_error": "nan", "instruction": "Find it."},
        {"truncate": True, "truncate_dim": 8, "batch_size": 1},
        {"max_tokens_per_batch": 64, "prompt": "Find it: ", "normalize_embeddings": True},
    ]
    return [
        {"input.json": json.dumps({"inputs": tree, "settings": settings[i % len(settings)]}).encode()}
        for i, tree in enumerate(inputs)
    ]


def _damage(case: Case, rng: Random, _: Sequence[Case]) -> Case:
    tree = json.loads(case["input.json"])
    whole = rng.random() < 0.2
    changed = damaged_tree(tree if whole else tree["inputs"], rng, (*VALUES, *_SPECIALS, *_SPECIALS))
    tree = changed if whole else {**tree, "inputs": changed}
    return {"input.json": json.dumps(tree).encode()}


def _start() -> Callable[[Path], None]:
    from vlm2vec import Limits, VLM2Vec

    model = VLM2Vec(device="cpu", limits=Limits(decode_seconds=2))

    def read(folder: Path) -> None:
        for name, data in _files().items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes(data)
        case = json.loads((folder / "input.json").read_text(encoding="utf-8"))
        # Which settings there are is the language's to check, and so are their names.
        case = case if isinstance(case, dict) else {}
        given = _built(case.get("inputs"), folder)
        settings = case.get("settings", {})
        names = {
            *("on_error", "instruction", "truncate", "truncate_dim", "batch_size", "max_tokens_per_batch"),
            *("prompt", "normalize_embeddings"),
        }
        settings = settings if isinstance(settings, dict) else {}
        settings = {name: _built(value, folder) for name, value in settings.items() if name in names}
        vectors = model.encode(given, **settings)
        if not isinstance(vectors, np.ndarray):
            raise WrongResultError(f"a {type(vectors).__name__} comes back")
        many = isinstance(given, list | tuple) and not _is_conversation(given)
        count = len(given) if many else None if vectors.ndim == 1 else len(vectors)
        if settings.get("truncate_dim") is None:
            check_vectors(vectors, count, failed=settings.get("on_error") != "raise")

    return read


def _is_conversation(given: Sequence[Any]) -> bool:
    first = given[0] if given and isinstance(given, list) else None
    return isinstance(first, Mapping) and "role" in first and "content" in first


@cache
def _files() -> dict[str, bytes]:
    """A file of each kind, by the names that cases call them."""
    from PIL import Image

    pictures = [Image.new("RGB", (12, 8), colour) for colour in ("red", "green", "blue")]

    def saved(kind: str, **options: Any) -> bytes:
        file = io.BytesIO()
        pictures[0].save(file, kind, **options)
        return file.getvalue()

    files = {
        "a.png": saved("PNG"),
        "clip.gif": saved("GIF", save_all=True, append_images=pictures[1:]),
        "two.pdf": saved("PDF", save_all=True, append_images=pictures[1:2]),
        "note.txt": b"two words",
    }
    return {**files, "frames/1.png": files["a.png"], "frames/2.png": files["a.png"]}


def _built(tree: Any, folder: Path) -> Any:
    """The value that a tree of JSON stands for."""
    if isinstance(tree, list):
        return [_built(item, folder) for item in tree]
    if not isinstance(tree, dict):
        return tree
    if isinstance(tree.get("$"), str) and tree["$"] in _BUILDERS:
        try:
            return _BUILDERS[tree["$"]](SimpleNamespace(**tree), folder)
        except _UNBUILT:
            return None
    return {key: _built(value, folder) for key, value in tree.items()}


# What numpy, torch, Pillow and Python say of a shape, a type or a name that there is not.
_UNBUILT = (TypeError, ValueError, AttributeError, LookupError, OverflowError, MemoryError, RuntimeError)


def _array(tree: Any, _: Path) -> Any:
    sides = [abs(int(side)) for side in tree.shape]
    # Its first side may be a batch, of which each row may be refused, with an error of its own.
    if max(sides[:1], default=0) > 2**14 or np.prod(sides, dtype=np.float64) > 10**6:
        raise ValueError
    size = int(np.prod(sides))
    return (np.arange(size) % 251).reshape(tree.shape).astype(tree.dtype)


def _picture(tree: Any, _: Path) -> Any:
    from PIL import Image

    if abs(tree.size[0] * tree.size[1]) > 10**6:
        raise ValueError
    return Image.new(tree.mode, tuple(tree.size))


def _uri(tree: Any, _: Path) -> str:
    import base64

    kind = {"two.pdf": "application/pdf", "clip.gif": "image/gif"}.get(tree.name, "image/png")
    return f"data:{kind};base64,{base64.b64encode(_files().get(tree.name, b'')).decode()}"


def _video(tree: Any, folder: Path) -> Any:
    from vlm2vec import Video
    from vlm2vec.errors import VLM2VecError

    options = {
        name: _built(value, folder) for name, value in vars(tree).items() if name not in ("$", "frames")
    }
    try:
        return Video(_built(tree.frames, folder), **options)
    except VLM2VecError:
        return None


def _pages(tree: Any, folder: Path) -> Any:
    from vlm2vec import pdf_pages
    from vlm2vec.errors import InputError

    try:
        return pdf_pages(_built(tree.of, folder))[0]
    except InputError:
        return None


def _tensor(tree: Any, folder: Path) -> Any:
    import torch

    value = _built(tree.of, folder)
    return torch.as_tensor(value) if isinstance(value, list | np.ndarray) else None


def _closed(_: Any, folder: Path) -> Any:
    from PIL import Image

    picture = Image.open(folder / "a.png")
    picture.close()
    return picture


_BUILDERS: Mapping[str, Callable[[Any, Path], Any]] = {
    "file": lambda tree, folder: folder / tree.name,
    "bytes": lambda tree, _: _files().get(tree.name, b""),
    "uri": _uri,
    "array": _array,
    "picture": _picture,
    "number": lambda tree, _: np.dtype(tree.dtype).type(tree.value),
    "word": lambda *_: _Word.CAT,
    "object": lambda *_: object(),
    "nan": lambda *_: float("nan"),
    "fraction": lambda *_: fractions.Fraction(1, 3),
    "decimal": lambda *_: decimal.Decimal("1.5"),
    "complex": lambda *_: 1j,
    "big": lambda *_: 10**5000,
    "closed": _closed,
    "io": lambda *_: io.BytesIO(b"abc"),
    "tuple": lambda tree, folder: tuple(_built(tree.of, folder)),
    "set": lambda tree, folder: set(_built(tree.of, folder)),
    "generator": lambda tree, folder: iter(_built(tree.of, folder)),
    "range": lambda tree, _: range(len(tree.of)),
    "view": lambda tree, _: memoryview(bytes(len(tree.of))),
    "tensor": _tensor,
    "frozen": lambda tree, folder: MappingProxyType({"text": _built(tree.of, folder)}),
    "pairs": lambda tree, folder: {_built(key, folder): _built(value, folder) for key, value in tree.of},
    "video": _video,
    "pages": _pages,
}

inputs = Reader(_seeds, _damage, _start, 5.0, 120)
