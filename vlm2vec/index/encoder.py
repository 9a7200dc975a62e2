"""`Encoder`: the model of an index, loaded when something is to be encoded and not before."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from vlm2vec import profiles
from vlm2vec.checkpoints.folder import check_path
from vlm2vec.errors import IndexMismatchError, VLM2VecError
from vlm2vec.index.settings import IndexSettings
from vlm2vec.inputs.parts import Input, Text
from vlm2vec.media.limits import Limits
from vlm2vec.notices import without_bars_of_transformers
from vlm2vec.profiles import Profile
from vlm2vec.vectors_identity import VectorsIdentity
from vlm2vec.vectors_version import VECTORS_VERSION

if TYPE_CHECKING:
    from vlm2vec.model import VLM2Vec

__all__ = ["Encoder"]

_FIX = "Use the index's own, reindex it with these (index.reindex, --reindex), or make another index."
# Files of a model's folder that decide what it computes.
_DECIDING = ("*.json", "*.jinja", "*.txt", "*.safetensors", "*.bin", "*/*.json", "*/*.safetensors")
_TOO_MANY = 2**31
_SLACK = 8  # tokens: a paragraph behind another may have one more than alone


class Encoder:
    """Encodes documents and queries for an index.

    Args:
        model: A model; or folder or repository of one, which is loaded when it is needed. `None` is the
            index's own, and for a new index the small one in the package.
        settings: Of the index.
        profile: Of a model that is named and does not say its own.
        limits: What one input may cost, for a model that is named.
        source: The store, for errors.
    """

    def __init__(
        self,
        model: VLM2Vec | str | Path | None,
        *,
        settings: IndexSettings,
        profile: str | None = None,
        limits: Limits | None = None,
        source: str = "",
    ) -> None:
        self.settings = settings
        self._name = _called(model) if isinstance(model, str | Path) else None
        self._by_name = model is None or isinstance(model, str | Path)
        self._model: Any = None if self._by_name else model
        self._profile = profile
        self._limits = limits
        self._source = source
        self._lock = threading.Lock()

    def check(self, kept: Mapping[str, Any], kinds: Collection[str]) -> None:
        """Raise unless vectors of this model and these settings can join those of an index.

        A model that is named is known by the sizes and times of its files: while they are as they were,
        nothing is loaded.

        Args:
            kept: As `described` gave it when the index was made.
            kinds: Of the files that the index has rows of.

        Raises:
            IndexMismatchError: They cannot; each difference is named.
        """
        identity = VectorsIdentity.from_dict(kept["identity"])
        if self._model is None and self._is_as_kept(kept["model"]):
            now = self._expected(identity, kept["model"])
        else:
            self.load(kept)
            now = self._identity(kept)
        identity.check(now, source=self._source, fix=_FIX, kinds=kinds, error=IndexMismatchError)

    def load(self, kept: Mapping[str, Any] | None = None) -> VLM2Vec:
        """The model.

        Args:
            kept: Of the index that it is for, if there is one: type, revision and profile of the model are as
                they were, unless another one is named.
        """
        with self._lock:
            return self._loaded(kept)

    def _loaded(self, kept: Mapping[str, Any] | None) -> VLM2Vec:
        if self._model is None:
            from vlm2vec.model import EMBEDDED_MODEL, VLM2Vec

            name, profile = self._name, self._profile
            options: dict[str, Any] = {"limits": self._limits}
            if kept is not None:
                identity, own = VectorsIdentity.from_dict(kept["identity"]), kept["model"]
                options["dtype"] = identity.dtype
                if name in (None, own["name"]):
                    name, profile = own["name"], profile or own["profile"]
                    if identity.revision is not None and not Path(name or "").is_dir():
                        options["revision"] = identity.revision
            with without_bars_of_transformers():  # which would stand in that of the index
                self._model = VLM2Vec(EMBEDDED_MODEL if name is None else name, profile=profile, **options)
        model: VLM2Vec = self._model
        return model

    def described(self, kept: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """What is kept with an index: identity, name and files of the model, as plain values."""
        from vlm2vec.model import EMBEDDED_MODEL

        model = self.load(kept)
        own = str(model[0].model.name_or_path)
        name = self._name or (None if own == str(EMBEDDED_MODEL) else _called(own))
        return {
            "identity": self._identity(kept).as_dict(),
            "model": {
                "name": name,
                "profile": self._profile or (kept["model"]["profile"] if kept is not None else None),
                # Of a model that the caller has, nobody knows whether its weights are still those of its
                # files.
                "files": self.files(),
            },
        }

    def take_model(self, other: Encoder) -> None:
        """Use the model that another one has loaded."""
        if self._model is None:
            self._model = other._model

    def files(self) -> dict[str, dict[str, list[int]]]:
        """Sizes and times of the files of a model that was named and is loaded; nothing for others."""
        return _state_of(self._model[0].folders) if self._by_name and self._model is not None else {}

    @property
    def dimensions(self) -> int:
        """Components of a stored vector."""
        model = self.load()
        return min(model.full_width, self.settings.dimensions or model.truncate_dim or model.full_width)

    @property
    def kept_settings(self) -> IndexSettings:
        """The settings, with the components that are kept where the model alone says how many."""
        own = self.load().truncate_dim is not None
        return replace(self.settings, dimensions=self.dimensions) if own else self.settings

    @property
    def limits(self) -> Limits:
        """What one input may cost."""
        limits: Limits = self.load()[0].limits
        return limits

    def documents(
        self, inputs: Iterable[Any], *, on_error: Callable[[int | None, VLM2VecError], None], window: int
    ) -> Iterator[tuple[int, npt.NDArray[np.float32]]]:
        """Vectors of documents, of unit length, in order; NaN where one failed."""
        model = self.load()
        return model.encode_stream(
            inputs,
            prompt_name="document" if "document" in model.prompts else None,
            prompt=self.settings.instruction,
            on_error=on_error,
            truncate_dim=self.settings.dimensions,
            normalize_embeddings=True,
            window=window,
        )

    def query(self, query: Any, instruction: str | None = None) -> npt.NDArray[np.float32]:
        """`(dim,)`, the vector of a query, of unit length."""
        (vector,) = self.load().encode_query(
            [query],
            instruction=instruction,
            truncate_dim=self.settings.dimensions,
            normalize_embeddings=True,
            show_progress_bar=False,
        )
        return np.asarray(vector, dtype=np.float32)

    def count(self, text: str) -> int:
        """Tokens of a text, without those of its prompt."""
        return max(0, self._planned_tokens(text) - self._prompt_tokens)

    @property
    def context(self) -> int:
        """Tokens of a text that the model's context holds."""
        most = int(self.load()[0].preparer.planner.max_tokens)
        return max(1, most - self._prompt_tokens - _SLACK)

    @cached_property
    def _prompt_tokens(self) -> int:
        return self._planned_tokens("a") - 1

    def _planned_tokens(self, text: str) -> int:
        planner = self.load()[0].preparer.planner
        instruction = self.load().prompts.get("document")
        if self.settings.instruction is not None:
            instruction = self.settings.instruction
        (planned,) = planner.plan([(0, Input((Text(text),), instruction or None, role="document"))])
        return int(getattr(planned, "tokens", _TOO_MANY))  # one that does not fit has none

    def _identity(self, kept: Mapping[str, Any] | None) -> VectorsIdentity:
        model = self.load(kept)
        known = None
        if kept is not None and self._by_name and _state_of(model[0].folders) == kept["model"]["files"]:
            known = str(kept["identity"]["weights"])  # which were read when the index was made
        return VectorsIdentity.of(
            model,
            instruction=self.settings.instruction,
            truncate_dim=self.settings.dimensions,
            settings=self.settings.deciding,
            weights=known,
        )

    def _is_as_kept(self, own: Mapping[str, Any]) -> bool:
        """Whether the model that is named is, by its files, the one that an index was made with."""
        if self._name not in (None, own["name"]) or self._profile not in (None, own["profile"]):
            return False
        files = own["files"]
        return bool(files) and _state_of([Path(folder) for folder in files]) == files

    def _expected(self, identity: VectorsIdentity, own: Mapping[str, Any]) -> VectorsIdentity:
        """What the same model gives with the settings, profiles and versions of now."""
        profile = _profile_of(own)
        return replace(
            identity,
            instruction=identity.instruction
            if self.settings.instruction is None
            else self.settings.instruction,
            dimensions=self.settings.dimensions or identity.dimensions,
            settings=self.settings.deciding,
            profile=identity.profile if profile is None else profile.as_dict(),
            versions={name: VECTORS_VERSION.get(name, 0) for name in identity.versions},
        )


def _called(model: str | Path) -> str:
    check_path(model)
    return str(Path(model).absolute()) if Path(model).is_dir() else str(model)


def _profile_of(own: Mapping[str, Any]) -> Profile | None:
    """The profile that a model is loaded with, as far as it is known without loading it."""
    if own["profile"] is not None:
        return profiles.get(own["profile"])
    folder = Path(next(iter(own["files"])))
    return Profile.load(folder) or profiles.of_folder(folder)


def _state_of(folders: Iterable[Path]) -> dict[str, dict[str, list[int]]]:
    """Sizes and times of a model's files, by folder and name; a folder that is gone has none."""
    return {
        str(folder.absolute()): {
            path.relative_to(folder).as_posix(): [path.stat().st_size, path.stat().st_mtime_ns]
            for path in sorted({path for pattern in _DECIDING for path in folder.glob(pattern)})
            if path.is_file()
        }
        for folder in folders
    }
