"""Profiles as data: saved, loaded, looked up."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from vlm2vec import errors, profiles
from vlm2vec.profiles import PROFILE_FILE, Profile


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


@pytest.mark.parametrize(("field", "value"), [("positions", "3d"), ("instruction_slot", "frist")])
def test_a_value_that_means_nothing_is_an_error(field: str, value: str, tmp_path: Path) -> None:
    dataclasses.replace(profiles.get("vlm2vec-v2"), **{field: value}).save(tmp_path)
    with pytest.raises(errors.ProfileError, match=f"{field} is '{value}'"):
        Profile.load(tmp_path)


def test_published_repositories_have_a_profile() -> None:
    assert profiles.of_repository("VLM2Vec/VLM2Vec-V2.0") == profiles.get("vlm2vec-v2")
    assert profiles.of_repository("somebody/else") is None
