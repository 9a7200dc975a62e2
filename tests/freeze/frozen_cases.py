"""What the package computes, through its public face alone: `frozen/` has it as it was before code was moved.

Each function gives one part of it anew. `python tests/freeze/frozen_cases.py` writes `frozen/`: only where an
entry of CHANGELOG.md says that embeddings, batches or messages change.
"""

from __future__ import annotations

import base64
import itertools
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import torch

sys.path.append(str(Path(__file__).parents[1]))

from golden_cases import ADAPTED, CASES, GOLDEN, raw_input

from vlm2vec import Limits, Video, VLM2Vec, errors, mmeb, pdf_pages
from vlm2vec.training import LoRA, Mixture, SubBatchSampler
from vlm2vec.world.samples import write_samples

FROZEN = Path(__file__).parent / "frozen"
FAMILIES = (
    *("gme-qwen2vl", "lamra-ret", "ops-mm-v1", "rzenembed"),
    *("vlm2vec-embedded", "vlm2vec-v1-qwen2vl", "vlm2vec-v2"),
)
"""Profiles whose vectors are frozen; others have golden numbers."""
PROFILES = Path(__file__).parents[1] / "data" / "golden_profiles"
TINY = GOLDEN / "tiny_qwen2vl"
PICTURE = np.random.default_rng(7).integers(0, 256, (70, 90, 3), dtype=np.uint8)
CLIP = np.random.default_rng(8).integers(0, 256, (6, 60, 80, 3), dtype=np.uint8)


def write_files(folder: Path) -> dict[str, Path]:
    """One file of each kind whose pixels no codec may change, and what the package draws for its demo."""
    files = {f"{name}": folder / name for name in ("words.txt", "notes.md", "moves.gif", "turned.png")}
    files["words.txt"].write_text("a plain text in a file", encoding="utf-8")
    files["notes.md"].write_text("# Notes\n\na text with a heading", encoding="utf-8")
    frames = [PIL.Image.fromarray(frame) for frame in CLIP]
    frames[0].save(files["moves.gif"], save_all=True, append_images=frames[1:], duration=100)
    turned = PIL.Image.fromarray(PICTURE)
    exif = turned.getexif()
    exif[0x0112] = 6
    turned.save(files["turned.png"], exif=exif)
    files["frames"] = folder / "frames"
    files["frames"].mkdir()
    for number, frame in enumerate(frames):
        frame.save(files["frames"] / f"frame_{number}.png")
    for sample in write_samples(folder / "drawn"):
        files.setdefault(f"drawn{sample.path.suffix}", sample.path)
    return files


def forms(files: dict[str, Path]) -> dict[str, Any]:
    """One input of every form that `encode` takes."""
    picture, clip, document = files["turned.png"], files["drawn.mp4"], files["drawn.pdf"]
    data_uri = "data:image/png;base64," + base64.b64encode(picture.read_bytes()).decode()
    rgba = np.dstack([PICTURE, PICTURE[..., 0]])
    return {
        "text": "a red ring",
        "text with the look of a path": str(picture.name),
        "path of a text": files["words.txt"],
        "path of markdown": files["notes.md"],
        "path of an image": picture,
        "path of a JPEG": files["drawn.jpg"],
        "path of a video": clip,
        "path of a PDF": document,
        "path of an animation": files["moves.gif"],
        "image": PIL.Image.fromarray(PICTURE),
        "image with alpha": PIL.Image.fromarray(rgba),
        "image of a palette": PIL.Image.fromarray(PICTURE).quantize(32),
        "array": PICTURE,
        "array of grey": PICTURE[..., 1],
        "array of floats": (PICTURE / 255).astype(np.float32),
        "tensor with channels first": torch.from_numpy(PICTURE.transpose(2, 0, 1).copy()),
        "clip as an array": CLIP,
        "Video of arrays": Video([*CLIP]),
        "Video of images": Video([PIL.Image.fromarray(frame) for frame in CLIP[:3]]),
        "bytes of an image": picture.read_bytes(),
        "bytes of a video": clip.read_bytes(),
        "bytes of a PDF": document.read_bytes(),
        "dict of text": {"text": "a red ring"},
        "dict of an image": {"image": str(picture)},
        "data URI": {"image": data_uri},
        "text before image": {"text": "what is this", "image": PICTURE, "instruction": "Answer:"},
        "image before text": {"image": PICTURE, "text": "what is this"},
        "images": {"images": [PICTURE, picture], "text": "compare"},
        "small budget": {"image": PICTURE, "max_pixels": 56 * 56},
        "video with options": {"video": clip, "num_frames": 3, "start": 0.2, "end": 0.9},
        "video by rate": {"video": clip, "fps": 4},
        "folder of frames": {"video": files["frames"], "num_frames": 4},
        "list of frames": {"video": [*CLIP], "num_frames": 2},
        "page": {"pdf": document, "page": 2},
        "pages": {"pdf": document, "pages": [3, 1]},
        "lazy page": pdf_pages(document)[1],
        "list": ["first", PICTURE, "then", {"video": clip, "num_frames": 2}],
        "tuple": ("first", {"image": picture}),
        "prompt": {"prompt": "<|image_pad|>\nexactly this\n", "images": [PICTURE]},
        "prompt with a video": {"prompt": "<|video_pad|>\nexactly", "video": clip, "num_frames": 2},
        "message": {"role": "user", "content": "a red ring"},
        "conversation": [
            {"role": "system", "content": "You describe."},
            {
                "role": "user",
                "content": [{"type": "image", "image": PICTURE}, {"type": "text", "text": "what is this"}],
            },
        ],
        "content parts of OpenAI": [
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "what is this"},
                    {"type": "image_url", "image_url": {"url": data_uri}},
                ],
            }
        ],
    }


def vectors() -> dict[str, np.ndarray]:
    """Vectors of all golden cases, of the demo's files, and of one input of every form, but no family's."""
    tiny = VLM2Vec(TINY, profile="vlm2vec-v2", device="cpu")
    found = {f"golden/{name}": tiny.encode(raw_input(name)) for name in CASES}
    adapted = VLM2Vec(GOLDEN / "tiny_adapter_dora", profile="vlm2vec-v2", base_model=TINY, device="cpu")
    adapted_names = [key.split("/")[1] for key in ADAPTED if key.startswith("emb_lora_merged_fp32/")]
    found |= {f"adapter/{name}": adapted.encode(raw_input(name)) for name in adapted_names}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        files = write_files(folder)
        for label, model in (("embedded", VLM2Vec(device="cpu")), ("tiny", tiny)):
            given = forms(files)
            rows = [model.encode([each], instruction=None) for each in given.values()]
            found |= {f"{label}/{name}": row[0] for name, row in zip(given, rows, strict=True)}
        embedded = VLM2Vec(device="cpu")
        drawn = [
            {"pdf": sample.path, "page": sample.page} if sample.page else sample.path
            for sample in write_samples(folder / "demo")
        ]
        found |= {f"demo/{index}": row for index, row in enumerate(embedded.encode(drawn))}
        captions = [sample.caption for sample in write_samples(folder / "demo")]
        found |= {f"demo query/{index}": row for index, row in enumerate(embedded.encode_query(captions))}
    return found


def vectors_of_family(name: str) -> np.ndarray:
    """Those of three inputs, by a profile."""
    with tempfile.TemporaryDirectory() as scratch:
        of_form = forms(write_files(Path(scratch)))
        model = VLM2Vec(TINY, profile=name, device="cpu")
        given = [of_form[form] for form in ("text before image", "page", "video with options")]
        return model.encode(given, instruction="Find this:").ravel()


def losses() -> dict[str, list[float]]:
    """Losses of 20 steps of `fit`: on a mixture of two sources from a file, and with an adapter."""
    colours = {"red": (220, 40, 40), "blue": (40, 60, 220), "green": (40, 180, 70), "black": (10, 10, 10)}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        files = write_files(folder)
        pictures, texts = [], []
        for index, (name, colour) in enumerate(colours.items()):
            for side in (56, 84, 112):
                path = folder / f"{name}{side}.png"
                PIL.Image.new("RGB", (side, side), colour).save(path)
                row = {"query": f"flim {name}", "document": {"image": path.name}}
                other = {"image": f"{list(colours)[index - 1]}56.png"}
                pictures.append(row | ({"negatives": [other]} if index else {}))
                texts.append({"query": f"{name} of {side}", "document": f"{side} times {name}"})
        texts.append({"query": "a clip", "document": {"video": str(files["drawn.mp4"]), "num_frames": 2}})
        for name, rows in (("pictures", pictures), ("texts", texts)):
            lines = [json.dumps(row) for row in rows]
            (folder / f"{name}.jsonl").write_text("\n".join(lines), encoding="utf-8")
        recipe = folder / "mixture.yaml"
        recipe.write_text(
            "sources:\n"
            "  pictures: {loader: rows, file: pictures.jsonl, weight: 2, query_instruction: 'Find:'}\n"
            "  texts: {loader: rows, file: texts.jsonl, weight: 1}\n",
            encoding="utf-8",
        )
        found = {}
        settings = {"max_steps": 20, "logging_steps": 1, "show_progress_bar": False}
        settings |= {"batch_size": 8, "sub_batch_size": 4, "chunk_size": 4, "temperature": 0.1}
        model = VLM2Vec(device="cpu")
        result = model.fit(Mixture.from_yaml(recipe, root=folder), learning_rate=1e-4, **settings)
        found["all weights"] = [loss for _, loss in result.losses]
        model = VLM2Vec(device="cpu")
        result = model.fit(
            Mixture.from_yaml(recipe, root=folder), lora=LoRA(r=4), learning_rate=1e-3, **settings
        )
        found["adapter"] = [loss for _, loss in result.losses]
    return found


def batches() -> dict[str, list[Any]]:
    """The first batches of the sampler, in several shapes, on one rank and on a second of two."""
    shapes: dict[str, tuple[list[int], dict[str, Any]]] = {
        "one source": ([50], {"batch_size": 16, "sub_batch_size": 4}),
        "small sources": ([3, 90, 17], {"batch_size": 16, "sub_batch_size": 4, "seed": 3}),
        "weights": ([40, 40], {"weights": [3, 1], "batch_size": 16, "sub_batch_size": 8, "seed": 5}),
        "no sub-batches": ([40, 20], {"batch_size": 12, "sub_batch_size": 0}),
        "rank 1 of 2": (
            [40, 20],
            {"batch_size": 16, "sub_batch_size": 4, "seed": 1, "rank": 1, "world_size": 2},
        ),
        "as published": ([5000, 700, 300], {"seed": 2}),
    }
    return {
        name: [
            [list(pair) for pair in batch] for batch in itertools.islice(SubBatchSampler(sizes, **more), 4)
        ]
        for name, (sizes, more) in shapes.items()
    }


def mini_scores() -> dict[str, float]:
    """Scores of the embedded model on the mini suite, in percent."""
    return dict(mmeb.evaluate(VLM2Vec(device="cpu"), "mini", show_progress_bar=False).scores)


def error_texts() -> dict[str, str]:
    """What a user reads when something is wrong: type and text of the error."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        files = write_files(folder)
        return {name: _error(call, folder) for name, call in _mistakes(folder, files).items()}


def _error(call: Callable[[], Any], folder: Path) -> str:
    try:
        call()
    except errors.VLM2VecError as error:
        return f"{type(error).__name__}: {error}".replace(str(folder), "FOLDER").replace(str(TINY), "TINY")
    except (TypeError, ValueError) as error:  # of sentence-transformers' own checks
        return f"{type(error).__name__}: {error}"
    return "no error"


def _mistakes(folder: Path, files: dict[str, Path]) -> dict[str, Callable[[], Any]]:
    model = VLM2Vec(device="cpu")
    (folder / "empty.png").write_bytes(b"")
    (folder / "cut.png").write_bytes(files["turned.png"].read_bytes()[:200])
    (folder / "cut.mp4").write_bytes(files["drawn.mp4"].read_bytes()[:900])
    (folder / "cut.pdf").write_bytes(files["drawn.pdf"].read_bytes()[:300])
    (folder / "strange.bin").write_bytes(bytes(range(64)))
    (folder / "unknown").mkdir()
    (folder / "unknown" / "config.json").write_text('{"model_type": "qwen2_vl"}', encoding="utf-8")
    clip, document = files["drawn.mp4"], files["drawn.pdf"]
    inputs: dict[str, Any] = {
        "None": None,
        "a number": 3,
        "a blank text": " ",
        "an empty dict": {},
        "an unknown key": {"imgae": PICTURE},
        "a missing file": folder / "none.png",
        "an empty file": folder / "empty.png",
        "a cut picture": folder / "cut.png",
        "a cut video": folder / "cut.mp4",
        "a cut PDF": folder / "cut.pdf",
        "a strange file": folder / "strange.bin",
        "a folder": folder / "unknown",
        "a URL": {"image": "https://example.org/a.png"},
        "a bad data URI": {"image": "data:image/png;base64,!"},
        "an array of one dimension": np.zeros(3),
        "an empty array": np.zeros((0, 4, 3)),
        "floats above 1": np.full((4, 4, 3), 3.0),
        "a page that is not there": {"pdf": document, "page": 9},
        "page 0": {"pdf": document, "page": 0},
        "page and pages": {"pdf": document, "page": 1, "pages": [1]},
        "an end before the start": {"video": clip, "start": 2, "end": 1},
        "no frames": {"video": clip, "num_frames": 0},
        "frames of a picture": {"image": PICTURE, "num_frames": 3},
        "a rate of 0": {"video": clip, "fps": 0},
        "too small a budget": {"image": PICTURE, "max_pixels": 3},
        "a prompt of two pictures, given one": {"prompt": "<|image_pad|><|image_pad|>", "images": [PICTURE]},
        "a prompt beside text": {"prompt": "a", "text": "b"},
        "a list in a list": ["a", ["b"]],
        "audio": {"audio": "a.wav"},
    }
    limited = VLM2Vec(device="cpu", limits=Limits(max_image_pixels=1000))
    rows = [{"query": "a", "document": "b"}, {"query": "c", "document": "d"}]
    quiet = {"max_steps": 1, "show_progress_bar": False}
    mistakes: dict[str, Callable[[], Any]] = {
        f"encode: {name}": lambda given=given: model.encode(["good", given]) for name, given in inputs.items()
    }
    return mistakes | {
        "encode: above a limit": lambda: limited.encode([PICTURE]),
        "encode: two instructions for three": lambda: model.encode(["a", "b", "c"], instruction=["x", "y"]),
        "encode: batch size": lambda: model.encode(["a"], batch_size=0),
        "encode: on_error": lambda: model.encode(["a"], on_error="ignore"),  # type: ignore[arg-type]
        "load: no such folder": lambda: VLM2Vec(folder / "none"),
        "load: unknown folder": lambda: VLM2Vec(folder / "unknown"),
        "load: unknown profile": lambda: VLM2Vec(TINY, profile="vlm2vec-v3"),
        "load: folder without a profile": lambda: VLM2Vec(TINY),
        "fit: no rows": lambda: model.fit([], **quiet),
        "fit: a row without a document": lambda: model.fit([{"query": "a"}], **quiet),
        "fit: an unknown key": lambda: model.fit([*rows, {"query": "a", "documnet": "b"}], **quiet),
        "fit: an input that is none": lambda: model.fit([*rows, {"query": 3, "document": "b"}], **quiet),
        "fit: an unknown setting": lambda: model.fit(rows, learning_rat=1, **quiet),
        "fit: batch size": lambda: model.fit(rows, batch_size=0, **quiet),
        "fit: sub-batch size": lambda: model.fit(rows * 8, batch_size=8, sub_batch_size=3, **quiet),
        "fit: unknown layers": lambda: model.fit(rows, lora=LoRA(target_modules=["nothing"]), **quiet),
        "fit: resume without a folder": lambda: model.fit(rows, resume=True, **quiet),
        "mixture: no file": lambda: Mixture.from_yaml(folder / "none.yaml"),
        "sampler: weights": lambda: SubBatchSampler([3, 4], [1.0]),
        "sampler: rank": lambda: SubBatchSampler([30], batch_size=8, sub_batch_size=4, rank=2, world_size=2),
        "mmeb: unknown task": lambda: mmeb.get_task("VOC2006"),
        "mmeb: unknown selection": lambda: mmeb.list_tasks("pictures"),
        "mmeb: unknown model": lambda: mmeb.published("VLM2Vec-V9"),
        "mmeb: no data": lambda: mmeb.evaluate(model, ["VOC2007"], data_dir=folder / "unknown"),
        "mmeb: metric": lambda: mmeb.metrics.hit_at_k([], ["a"], 0),
    }


def write() -> None:
    """Write `frozen/` anew."""
    families = {f"profile/{name}": vectors_of_family(name) for name in FAMILIES}
    np.savez_compressed(FROZEN / "vectors.npz", **vectors(), **families)
    facts = {
        "losses": losses(),
        "batches": batches(),
        "mini_scores": mini_scores(),
        "error_texts": error_texts(),
    }
    for name, found in facts.items():
        text = json.dumps(found, indent=None if name == "batches" else 1, ensure_ascii=False)
        (FROZEN / f"{name}.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    write()
