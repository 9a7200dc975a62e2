"""How each family is run: prompts to the character, frames, the wording of tasks, and what is said of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from vlm2vec import VLM2Vec, mmeb, profiles
from vlm2vec.encoding.prompt import Control, Plain, lay_out
from vlm2vec.errors import InputError
from vlm2vec.inputs.parse import parse_input
from vlm2vec.inputs.parts import Clip
from vlm2vec.mmeb.encoders import Described
from vlm2vec.mmeb.encoders.families import FAMILIES
from vlm2vec.mmeb.encoders.original_prompts import OriginalPrompts
from vlm2vec.mmeb.encoders.vlm2vec_model import VLM2VecEncoder
from vlm2vec.mmeb.results import Results
from vlm2vec.mmeb.samples import Content
from vlm2vec.mmeb.task_result import StaleResultError
from vlm2vec.sameness import digest_of

TINY = {
    "qwen2_vl": "golden/tiny_qwen2vl",
    "qwen2_5_vl": "golden_qwen2_5_vl/tiny_qwen2_5_vl",
    "qwen3_vl": "golden_qwen3_vl/tiny_qwen3vl",
}

SYSTEM = "<|im_start|>system\n"
USER = "<|im_end|>\n<|im_start|>user\n"
HELPFUL = f"{SYSTEM}You are a helpful assistant.{USER}"
BARE = f"{SYSTEM}Represent the user's input.{USER}"
END = "<|im_end|>\n<|im_start|>assistant\n"
SEEN = "<|vision_start|>[image]<|vision_end|>"
EOT = "<|endoftext|>"

PROMPTS = {
    ("qwen3-vl-embedding", "query"): {
        "text": f"{SYSTEM}Find a picture:{USER}a cat.{END}{EOT}",
        "bare text": f"{BARE}a dog{END}{EOT}",
        "picture": f"{SYSTEM}Represent the given image.{USER}{SEEN}{END}{EOT}",
        "picture and text": f"{SYSTEM}Represent the given image.{USER}{SEEN}what?{END}{EOT}",
        "clip": f"{SYSTEM}Name the motion.{USER}[clip]{END}{EOT}",
        "clip and text": f"{SYSTEM}Answer:{USER}[clip] who?{END}{EOT}",
    },
    ("qwen3-vl-embedding", "document"): {
        "bare text": f"{BARE}a dog{END}{EOT}",
        "picture": f"{BARE}{SEEN}{END}{EOT}",
        "picture and text": f"{BARE}{SEEN}what?{END}{EOT}",
        "page": f"{BARE}{SEEN}{END}{EOT}",
        "clip": f"{BARE}[clip]{END}{EOT}",
    },
    ("lamra-ret-qwen2.5vl", "query"): {
        "text": f"{HELPFUL}Find a picture: a cat.\n\n{END}<emb>.{END}",
        "picture and text": f"{HELPFUL}{SEEN}\nRepresent the given image. what?\n{END}<emb>.{END}",
        "clip": f"{HELPFUL}{SEEN}Name the motion. {END}<emb>.{END}",
    },
    ("vlm2vec-v2-qwen2.5vl", "query"): {
        "picture": "[image]\nRepresent the given image.\n",
        "clip and text": "[clip] Answer:  who?",
    },
    ("unime-v2-qwen2vl", "query"): {"picture": "[image]\nRepresent the given image.\n", "bare text": "a dog"},
    ("ops-mm-v1", "query"): {
        "text": f"{SYSTEM}Find a picture:{USER}a cat.{END}{EOT}",
        "clip": f"{SYSTEM}Name the motion.{USER}[clip]{END}{EOT}",
    },
    ("ops-mm-v1", "document"): {"picture": f"{SYSTEM}Represent the given image.{USER}{SEEN}{END}{EOT}"},
    ("rzenembed", "query"): {
        "text": f"{HELPFUL}Find a picture: a cat.{END}{EOT}",
        "picture": f"{HELPFUL}{SEEN}Represent the given image.{END}{EOT}",
        "clip": f"{HELPFUL}[clip]Name the motion.{END}{EOT}",
    },
    ("ume-r1", "query"): {"picture and text": f"{HELPFUL}{SEEN}Represent the given image. what?\n<disc_emb>"},
    ("nomic-multimodal", "query"): {"text": f"a cat.{EOT * 10}"},
    ("nomic-multimodal", "document"): {
        "page": f"<|im_start|>user\n{SEEN}Describe the image.<|im_end|>{EOT}",
        "bare text": "a dog",
    },
}
"""By profile and role, of the samples of `contents`; [image] and [clip] stand for tokens of media."""


class Stub(VLM2Vec):
    """What an encoder asks of a model, without weights."""

    def __init__(self, profile: profiles.Profile) -> None:
        self.__dict__["_of"] = profile

    profile = property(lambda self: self.__dict__["_of"])

    def __getitem__(self, _: Any) -> Any:
        return type("Module", (), {"model": type("Network", (), {"name_or_path": ""})})


def encoder_with(profile: str, **settings: Any) -> VLM2VecEncoder:
    return VLM2VecEncoder(Stub(profiles.get(profile)), **settings)


def prompt_of(encoder: VLM2VecEncoder, content: Content, role: Any) -> str:
    given = encoder.input_of(content, role)
    item = replace(parse_input(given), role=role)
    said = []
    for segment in lay_out(item, encoder.profile):
        if isinstance(segment, Plain | Control):
            said.append(segment.text)
        else:
            said.append("[clip]" if isinstance(segment, Clip) else "[image]")
    return "".join(said)


@pytest.mark.parametrize(("name", "role"), PROMPTS)
def test_prompts_are_those_that_the_family_is_scored_with(
    name: str, role: str, contents: dict[str, Content]
) -> None:
    encoder = encoder_with(name)
    for kind, expected in PROMPTS[name, role].items():
        assert prompt_of(encoder, contents[kind], role) == expected, kind


@pytest.mark.parametrize(
    ("name", "frames"),
    [
        ("qwen3-vl-embedding", 64),
        ("lamra-ret-qwen2.5vl", "middle"),
        ("vlm2vec-v2-qwen2.5vl", "all"),
        ("ops-mm-v1", "all"),
    ],
)
def test_frames_are_those_that_the_family_is_scored_with(name: str, frames: Any) -> None:
    assert encoder_with(name).frames == frames


def test_qwen3_is_scored_on_up_to_64_frames_spread_evenly() -> None:
    clip = Content("", frames=tuple(Path(f"{i}.jpg") for i in range(70)))
    given = encoder_with("qwen3-vl-embedding").input_of(clip, "query")["video"]
    assert (len(given.frames), given.num_frames) == (70, 64)
    few = encoder_with("qwen3-vl-embedding").input_of(replace(clip, frames=clip.frames[:5]), "query")
    assert few["video"].num_frames == 5


def test_tasks_are_worded_as_qwen3_is_scored_on_them() -> None:
    encoder = encoder_with("qwen3-vl-embedding")
    asked = "Given a video and a question, select the most accurate answer from the provided candidates. "
    asked += "Return only the exact text of your chosen answer."
    changes = {task.name: encoder.changes(task) for task in mmeb.list_tasks()}
    assert {changes[name]["query_instruction"] for name in ("MVBench", "Video-MME", "ActivityNetQA")} == {
        asked
    }
    assert changes["NExTQA"] == {
        "query_instruction": asked,
        "options": {"candidate": "({letter}) {text}", "key": "({letter}) {text}"},
        "frames": 64,
    }
    assert changes["EgoSchema"]["options"] == {"query": "{question} {choices}"}
    assert changes["MomentSeeker"]["options"]["instructions"] == {
        "text": "Find the clip that corresponds to the given text.",
        "image": "Select the video clip that aligns with the given text and image.",
        "video": "Find the clip that corresponds to the given sentence and video segment.",
    }
    assert changes["K700"] == {"frames": 64}
    assert changes["ViDoRe_arxivqa"] == {
        "query_instruction": "Find a document image that matches the given query."
    }
    assert not any(changes[task.name] for task in mmeb.list_tasks("image"))


@pytest.mark.parametrize("name", sorted({*profiles.names()} - {"qwen3-vl-embedding"}))
def test_no_other_family_changes_a_task(name: str) -> None:
    encoder = encoder_with(name)
    assert not any(encoder.changes(task) for task in mmeb.list_tasks(["all", "mini"]))
    if FAMILIES.get(name) is not None and FAMILIES[name].source:
        assert not any(encoder_with(name, prompts="profile").changes(task) for task in mmeb.list_tasks())


@pytest.mark.parametrize(
    ("name", "digest"),
    [
        ("gme-qwen2vl", "39d9dd7c3aab4d6ea50f8f6bee226c84"),
        ("lamra-ret", "ab8e0d8dedacbb3824db93a6fc849fab"),
        ("vlm2vec-embedded", "613088a94a8a338f5e4decf4aa269dcc"),
        ("vlm2vec-v1-qwen2vl", "8ab575a82338f850c54b8f008465f5d2"),
        ("vlm2vec-v2", "76ec5804724321ad4d1792af06c926fe"),
    ],
)
def test_results_that_were_kept_of_older_families_still_count(name: str, digest: str) -> None:
    """The digests are those of 0.4: a result is known by its profile, and by the fields of its prompts."""
    assert digest_of(profiles.get(name).as_dict()) == digest
    known = FAMILIES.get(name)
    if known is not None:
        assert isinstance(known.prompts, OriginalPrompts)
        assert set(vars(known.prompts)) == {
            *("medium", "text", "without_token", "frames", "min_pixels", "max_pixels"),
        }


@pytest.mark.parametrize("name", profiles.names())
def test_a_report_says_how_each_family_is_run(name: str) -> None:
    encoder = encoder_with(name)
    assert isinstance(encoder, Described)
    said = encoder.described()
    assert {"profile", "prompts", "frames", "pixels", "checked"} <= set(said)
    assert said["profile"] == name
    published = FAMILIES.get(name) is not None and bool(FAMILIES[name].source)
    assert said["prompts"].startswith("of the published scores" if published else "of the profile")
    assert ("compared with nothing" in said["checked"]) == (profiles.checked(name) == "no")


def test_what_is_not_known_of_a_family_is_said_and_not_guessed() -> None:
    for name in ("ops-mm-v1", "rzenembed", "ume-r1", "nomic-multimodal"):
        assert (
            encoder_with(name).described()["prompts"].endswith("how published scores were made is not known")
        )
        with pytest.raises(InputError, match="not known how published scores"):
            encoder_with(name, prompts="original")
    by_request = encoder_with("qwen3-vl-embedding", prompts="profile").described()
    assert by_request["prompts"] == "of the profile, and not those of published scores"
    assert "scored on images alone" in encoder_with("unime-v2-qwen2vl").described()["otherwise"]


def test_a_number_of_frames_can_be_asked_for_of_any_family() -> None:
    encoder = encoder_with("vlm2vec-v2", frames=16)
    assert encoder.changes(mmeb.get_task("K700")) == {"frames": 16}
    assert encoder.changes(mmeb.get_task("ImageNet-1K")) == {}
    for frames in (0, True, "some"):
        with pytest.raises(InputError, match="frames is"):
            encoder_with("vlm2vec-v2", frames=frames)


@pytest.fixture
def clips(tmp_path: Path) -> Callable[[int], Path]:
    """The data of MSVD's layout with one clip of so many frames."""

    def write(count: int) -> Path:
        task = mmeb.get_task("MSVD")
        for number in range(count):
            file = tmp_path / "data" / task.roots[0] / "a" / f"frame_{number}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (64, 64), (3 * number, 0, 0)).save(file)
        rows = tmp_path / "data" / "annotations" / task.repo / "test.jsonl"
        rows.parent.mkdir(parents=True, exist_ok=True)
        rows.write_text('{"video_id": "a", "caption": ["a ring turns"]}\n', encoding="utf-8")
        return tmp_path / "data"

    return write


def test_a_run_keeps_and_shows_how_the_model_was_run(
    golden: Path, clips: Callable[[int], Path], tmp_path: Path
) -> None:
    data = clips(12)
    model = VLM2Vec(golden.parent / TINY["qwen3_vl"], profile="qwen3-vl-embedding", device="cpu")
    asked: list[Any] = []
    encode = model.encode

    def encode_noted(inputs: Any, **arguments: Any) -> np.ndarray:
        asked.extend(inputs)
        vectors: np.ndarray = encode(inputs, **arguments)
        return vectors

    model.encode = encode_noted
    run = {"data_dir": data, "output_dir": tmp_path / "run", "offline": True}
    first = mmeb.evaluate(model, "MSVD", **run)
    assert asked[0] == {
        "text": "a ring turns",
        "instruction": "Find the video snippet that corresponds to the given summary.",
    }
    assert [len(one["video"].frames) for one in asked if "video" in one] == [12]
    loaded = Results.load(tmp_path / "run")
    assert loaded.settings == first.settings
    assert loaded.settings["frames"] == "at most 64 of a clip, spread evenly"
    assert "frames: at most 64 of a clip" in str(loaded)
    assert loaded.tasks[0].made_of["task"]["frames"] == 64
    mmeb.write_report(loaded, tmp_path / "report.html", data_dir=data, offline=True)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "How it was run" in page
    assert "Without pictures" not in page  # its data are found again as they were scored
    loaded.save(tmp_path / "sent.json")
    assert "at most 64 of a clip" in (tmp_path / "sent.json").read_text(encoding="utf-8")
    seen = len(asked)
    again = mmeb.evaluate(model, "MSVD", **run)
    assert (again.tasks, len(asked)) == (first.tasks, seen)
    with pytest.raises(StaleResultError, match=r"model\.frames"):
        mmeb.evaluate(model, "MSVD", frames=8, **run)
    with pytest.raises(StaleResultError, match=r"model\.prompts.*task\.query_instruction"):
        mmeb.evaluate(model, "MSVD", prompts="profile", **run)


@pytest.mark.parametrize("network", TINY)
def test_each_network_is_scored_by_the_same_call(
    network: str, golden: Path, clips: Callable[[int], Path]
) -> None:
    name = {"qwen2_vl": "ops-mm-v1", "qwen2_5_vl": "lamra-ret-qwen2.5vl", "qwen3_vl": "qwen3-vl-embedding"}
    model = VLM2Vec(golden.parent / TINY[network], profile=name[network], device="cpu")
    assert mmeb.evaluate(model, "MSVD", data_dir=clips(3), offline=True).scores == {"MSVD": 100.0}
