"""A mixture as a YAML file: read, checked completely, and only then are data opened."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from vlm2vec import profiles
from vlm2vec.arguments import close_match, possible_path
from vlm2vec.describe import describe_value
from vlm2vec.errors import InputError, VLM2VecError
from vlm2vec.training import sources as loaders
from vlm2vec.training.sources import Loader, TrainingSource

__all__ = ["KEYS", "SOURCE_KEYS", "MixtureFile", "read_mixture_file"]

KEYS = ("description", "model", "profile", "root", "defaults", "sources", "training")
"""The keys of the file."""

_SETTINGS = ("weight", "cap", "query_instruction", "document_instruction", "num_frames", "negatives")
SOURCE_KEYS = ("loader", "root", *_SETTINGS)
"""The keys of every source, and of `defaults`; a loader has further ones."""

_MEANT = {"frames": "num_frames", "instruction": "query_instruction", "dataset_parser": "loader"}


@dataclass(frozen=True)
class MixtureFile:
    """What a mixture's file says.

    Attributes:
        sources: The sources, opened, in the order of the file.
        training: Settings for training, as they stand there.
        model: The model to start from.
        profile: The profile to open it with.
        description: What the mixture is.
    """

    sources: tuple[TrainingSource, ...]
    training: dict[str, Any]
    model: str | None = None
    profile: str | None = None
    description: str | None = None


@dataclass(frozen=True)
class _Planned:
    """A source whose settings are checked and whose data are not opened yet."""

    source: TrainingSource
    loader: Loader
    folder: Path
    options: dict[str, str]

    def open(self) -> TrainingSource:
        rows = self.loader.open(self.folder, self.options, self.source.cap)
        return replace(self.source, rows=rows, homepage=self.loader.homepage)


def read_mixture_file(
    path: str | os.PathLike[str], root: str | os.PathLike[str] | None = None
) -> MixtureFile:
    """Read a mixture's file and open its sources.

    Args:
        path: The YAML file.
        root: The folder that the sources' folders are relative to; by default what the file names as `root`,
            which is relative to the file itself.

    Raises:
        InputError: The file is missing or no YAML, or something in it is unknown or wrong; it names the
            file and the source.
    """
    path = possible_path(path)
    content = _load(path)
    _check_keys(content, KEYS, path.name)
    for key, kind in (
        ("description", str),
        ("model", str),
        ("profile", str),
        ("root", str),
        ("training", dict),
    ):
        if not isinstance(content.get(key), (kind, type(None))):
            what = "a text" if kind is str else "a mapping"
            raise InputError(
                f'"{key}" is {describe_value(content[key])}', fix=f"Give {what}.", source=path.name
            )
    if content.get("profile") is not None:
        _check_profile(content["profile"], path.name)
    base = Path(root) if root is not None else path.parent / Path(content.get("root") or ".").expanduser()
    planned = []
    for name, settings in _sources_of(content, path.name).items():
        where = f'{path.name}, source "{name}"'
        with _errors_at(where):
            planned.append(_plan(name, settings, base.expanduser(), where))
    opened = []
    for plan in planned:
        with _errors_at(f'{path.name}, source "{plan.source.name}"'):
            opened.append(plan.open())
    texts = {key: content.get(key) for key in ("model", "profile", "description")}
    return MixtureFile(tuple(opened), content.get("training") or {}, **texts)


def _load(path: Path) -> dict[str, Any]:
    if not path.is_file():
        from vlm2vec.training import recipes

        known = ", ".join(recipes.names())
        raise InputError(
            f"the file {path} does not exist",
            fix=f"Check the path. Recipes of this package: recipes.path(name), with one of {known}.",
        )
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_YamlLoader)  # noqa: S506  (a safe one)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"the file is no YAML ({error})", fix="Mend it.", source=path.name) from error
    if not isinstance(content, dict):
        raise InputError(
            "the file holds no mapping", fix=f"Its keys are {', '.join(KEYS)}.", source=path.name
        )
    return content


def _check_profile(name: str, where: str) -> None:
    if name not in profiles.names():
        fix = f"Choose one of {', '.join(profiles.names())}."
        raise InputError(f'there is no profile "{name}"', fix=fix, source=where)


def _sources_of(content: Mapping[str, Any], where: str) -> dict[str, dict[str, Any]]:
    """The settings of each source, with the defaults filled in."""
    sources, defaults = content.get("sources"), content.get("defaults") or {}
    if not isinstance(sources, dict) or not sources:
        raise InputError("the file names no sources", fix="Add sources: {name: {loader: ...}}.", source=where)
    if not isinstance(defaults, dict):
        raise InputError(f'"defaults" is {describe_value(defaults)}', fix="Give a mapping.", source=where)
    _check_keys(defaults, SOURCE_KEYS, f"{where}, defaults")
    for name, settings in sources.items():
        if not isinstance(settings, dict):
            raise InputError(
                f'source "{name}" is {describe_value(settings)}', fix="Give it a loader.", source=where
            )
    return {name: {**defaults, **settings} for name, settings in sources.items()}


def _plan(name: str, settings: Mapping[str, Any], base: Path, where: str) -> _Planned:
    if settings.get("loader") is None:
        raise InputError("it has no loader", fix=f"Choose one of {', '.join(loaders.names())}.")
    loader = loaders.get(settings["loader"])
    _check_keys(settings, (*SOURCE_KEYS, *loader.options), where)
    options: dict[str, str] = {}
    for key, default in loader.options.items():
        value = settings.get(key, default)
        if value is None:
            raise InputError(f'the loader "{loader.name}" needs "{key}"', fix=f'Add "{key}".')
        if not isinstance(value, str):
            raise InputError(f'"{key}" is {describe_value(value)}', fix="Give a text.")
        options[key] = value
    given = {key: settings[key] for key in _SETTINGS if settings.get(key) is not None}
    source = TrainingSource(name, (), **given)
    folder = settings.get("root") or "."
    if not isinstance(folder, str):
        raise InputError(f'"root" is {describe_value(folder)}', fix="Give the data folder as text.")
    folder = base / Path(folder).expanduser()
    found = False
    with suppress(OSError):  # a name that is too long for the system
        found = folder.is_dir()
    if not found:
        download = f"Download {loader.homepage} there, or set" if loader.homepage else "Set"
        raise InputError(f"the data folder {folder} does not exist", fix=f'{download} "root" or pass root=.')
    return _Planned(source, loader, folder, options)


def _check_keys(given: Mapping[Any, Any], allowed: tuple[str, ...], where: str) -> None:
    for key in given:
        if key not in allowed:
            meant = _MEANT.get(key) or close_match(key, allowed)
            fix = f'Did you mean "{meant}"? ' if meant in allowed else ""
            raise InputError(
                f'unknown key "{key}"', fix=f"{fix}The keys are {', '.join(allowed)}.", source=where
            )


@contextmanager
def _errors_at(where: str) -> Iterator[None]:
    """Errors in this block name the source of the mixture that they are about, and nothing else."""
    try:
        yield
    except VLM2VecError as error:
        raise type(error)(error.cause, fix=error.fix, source=where) from error


class _YamlLoader(yaml.SafeLoader):  # type: ignore[misc]
    """Safe YAML in which a key given twice is an error, and 5e-5 is a number."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag == "tag:yaml.org,2002:merge":
                continue
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f'the key "{key.value}" is given twice', key.start_mark
                )
            seen.add(key.value)
        mapping: dict[Any, Any] = super().construct_mapping(node, deep)
        return mapping


# YAML 1.1, which PyYAML reads, wants a dot and a sign: 5e-5 would be text.
_YamlLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?[0-9][0-9_]*(\.[0-9_]*)?[eE][-+]?[0-9]+$"),
    list("-+0123456789"),
)
