"""Profiles as data: saved, loaded, looked up."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import pytest

from vlm2vec import errors, profiles
from vlm2vec.describe import describe_value
from vlm2vec.mmeb.published.means import known_as
from vlm2vec.profiles import PROFILE_FILE, Profile

SAVED = Path(__file__).parents[1] / "freeze" / "saved" / "model"


@pytest.mark.parametrize("name", profiles.names())
def test_a_saved_profile_loads_equal(name: str, tmp_path: Path) -> None:
    profiles.get(name).save(tmp_path)
    assert Profile.load(tmp_path) == profiles.get(name)


def test_a_folder_without_one_has_none(tmp_path: Path) -> None:
    assert Profile.load(tmp_path) is None


@pytest.mark.parametrize("text", ["", "{}", '{"profile": {"name": "x"}}', '{"profile": {"colour": "red"}}'])
def test_a_damaged_file_is_an_error(text: str, tmp_path: Path) -> None:
    (tmp_path / PROFILE_FILE).write_text(text)
    with pytest.raises(errors.ProfileError, match="does not hold a profile"):
        Profile.load(tmp_path)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("positions", "3d"),
        ("instruction_slot", "frist"),
        ("clip", "stamps"),
        ("part_order", "sorted"),
        ("instruction_rule", "dot"),
        ("num_frames", "eight"),
        ("text_prefix", 7),
        ("num_frames", 0),
        ("min_frames", 1.5),
        ("fps", "1"),
        ("untimed_fps", None),
        ("network", None),
        ("network", "x" * 5000),
        ("name", "two\nlines"),
    ],
)
def test_a_value_that_means_nothing_is_an_error(field: str, value: object, tmp_path: Path) -> None:
    with pytest.raises(errors.ProfileError, match=f"^{field} is {re.escape(describe_value(value))}"):
        dataclasses.replace(profiles.get("vlm2vec-v2"), **{field: value})
    profiles.get("vlm2vec-v2").save(tmp_path)
    file = tmp_path / PROFILE_FILE
    written = json.loads(file.read_text(encoding="utf-8"))
    written["profile"][field] = value
    file.write_text(json.dumps(written), encoding="utf-8")
    with pytest.raises(errors.ProfileError, match=f"does not hold a profile .{field} is"):
        Profile.load(tmp_path)


@pytest.mark.parametrize("field", ["suffix", "instruction_end", "default_instruction"])
def test_a_word_that_cannot_be_encoded_is_an_error(field: str, tmp_path: Path) -> None:
    profiles.get("vlm2vec-v2").save(tmp_path)
    file = tmp_path / PROFILE_FILE
    content = json.loads(file.read_text(encoding="utf-8"))
    content["profile"][field] = "a\ud800"
    file.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(errors.ProfileError, match=f"{field} has half of a surrogate pair"):
        Profile.load(tmp_path)


def test_a_misspelt_value_is_answered_with_the_closest() -> None:
    with pytest.raises(errors.ProfileError, match='Did you mean "after_media"'):
        dataclasses.replace(profiles.get("vlm2vec-v2"), instruction_slot="after media")


def test_names_that_are_no_profiles_are_answered_with_what_was_meant() -> None:
    for name, answer in {
        "qwen3-vl-embeding": 'Did you mean "qwen3-vl-embedding"?',
        "Qwen/Qwen3-VL-Embedding-2B": "is a repository, and follows the profile qwen3-vl-embedding",
        "ume-r1-generative": "the generative mode of UME-R1 writes a text",
    }.items():
        with pytest.raises(errors.ProfileError) as caught:
            profiles.get(name)
        assert answer in str(caught.value)


@pytest.mark.parametrize(
    ("pixels", "said"),
    [
        ({"alpha": "black"}, 'alpha is text "black"'),
        ({"sizing": "mine"}, 'sizing is text "mine"'),
        ({"fixed_size": [28]}, "fixed_size is"),
        ({"frames": 3}, "does not hold a profile"),
        ({"frames": {"min_pixels": 784}}, "max_pixels"),
        ({"frames": {"min_pixels": 784, "max_pixels": "all"}}, 'max_pixels is text "all"'),
        ({"frames": {"min_pixels": 784, "max_pixels": 1568, "resizer": "torch"}}, 'resizer is text "torch"'),
        ({"frames": {"min_pixels": 784, "max_pixels": 1568, "colour": "red"}}, "colour"),
    ],
)
def test_pixel_rules_that_mean_nothing_are_an_error(
    pixels: dict[str, object], said: str, tmp_path: Path
) -> None:
    profiles.get("vlm2vec-v2").save(tmp_path)
    file = tmp_path / PROFILE_FILE
    written = json.loads(file.read_text(encoding="utf-8"))
    written["profile"]["pixels"] |= pixels
    file.write_text(json.dumps(written), encoding="utf-8")
    with pytest.raises(errors.ProfileError, match=said):
        Profile.load(tmp_path)


def test_what_was_saved_before_a_field_came_is_what_is_saved_now(tmp_path: Path) -> None:
    """Older files load, and what results are known by does not change."""
    before = json.loads((SAVED / PROFILE_FILE).read_text(encoding="utf-8"))["profile"]
    profile = Profile.load(SAVED)
    assert profile is not None
    assert profile.as_dict() == before
    profile.save(tmp_path)
    assert (tmp_path / PROFILE_FILE).read_bytes() == (SAVED / PROFILE_FILE).read_bytes()


def test_published_repositories_have_a_profile() -> None:
    assert profiles.of_repository("VLM2Vec/VLM2Vec-V2.0") == profiles.get("vlm2vec-v2")
    assert profiles.of_repository("Qwen/Qwen3-VL-Embedding-8B") == profiles.get("qwen3-vl-embedding")
    assert profiles.of_repository("somebody/else") is None


def test_each_published_model_is_listed_once_with_what_was_checked() -> None:
    known = profiles.models()
    assert len({each.model.repository for each in known}) == len(known) > 15
    for each in known:
        assert each.profile == profiles.get(each.profile.name)
        assert each.checked == profiles.checked(each.profile.name)
        assert each.model.scores is None or known_as(each.model.repository) == each.model.scores
        assert profiles.of_repository(each.model.repository) == each.profile
    unchecked = {each.profile.name for each in known if each.checked == "no"}
    assert unchecked == {"e5-v", "ume-r1", "unime-v2-qwen2vl"}


def test_a_profile_names_its_control_tokens() -> None:
    assert profiles.get("ume-r1").control_tokens[-1] == "<disc_emb>"
    assert profiles.get("nomic-multimodal").control_tokens == [
        *("<|im_start|>", "<|vision_start|>", "<|vision_end|>", "<|im_end|>", "<|endoftext|>")
    ]
    assert profiles.get("vlm2vec-v2").control_tokens == []
