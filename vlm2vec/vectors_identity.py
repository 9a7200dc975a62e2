"""`VectorsIdentity`: all that a stored vector depends on besides its input, and how two of these differ."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from vlm2vec.describe import literal
from vlm2vec.errors import VectorsMismatchError
from vlm2vec.sameness import differences, digest_of, weights_digest
from vlm2vec.vectors_version import versions_of

if TYPE_CHECKING:
    from vlm2vec.model import VLM2Vec

__all__ = ["VectorsIdentity"]

_READERS = frozenset({"text", "image", "video", "pdf"})
# What only helps to say which model it was: the same weights may have another name.
_NAMES = ("model", "revision")
# Fields of a profile that only queries are encoded by, or nothing is: the instruction is compared by itself.
_NOT_OF_DOCUMENTS = frozenset(
    {"name", "summary", "query_instruction", "query_suffix", "document_instruction"}
)
# Of each model, the state of its tensors when they were last read, and their digest.
_DIGESTS: WeakKeyDictionary[Any, tuple[Any, str]] = WeakKeyDictionary()


@dataclass(frozen=True)
class VectorsIdentity:
    """All that vectors of documents depend on besides the documents, as plain values.

    What does not change a vector is not in it: batch sizes, devices, limits, the instruction of queries.

    Attributes:
        model: Folder or repository of the model; it is named, and not compared.
        revision: Commit of the repository, where it is known; the same.
        weights: Digest of all weights, their names and types.
        vocabulary: Digest of the tokenizer's tokens.
        network: The `model_type`.
        modules: What makes a vector of the network's states, as plain values.
        dtype: Type of the weights.
        dimensions: Components of a vector.
        instruction: What documents are encoded for; `""` for nothing.
        profile: Prompt layout, pixels and frames, as `Profile.as_dict` gives them.
        versions: `VECTORS_VERSION` of the network and of the readers.
        settings: What else the caller sets that decides a vector, as plain values.
    """

    model: str
    revision: str | None
    weights: str
    vocabulary: str
    network: str
    modules: tuple[Any, ...]
    dtype: str
    dimensions: int
    instruction: str
    profile: Mapping[str, Any]
    versions: Mapping[str, int]
    settings: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        model: VLM2Vec,
        *,
        instruction: str | None = None,
        truncate_dim: int | None = None,
        settings: Mapping[str, Any] | None = None,
        weights: str | None = None,
    ) -> VectorsIdentity:
        """That of a model's vectors of documents. All weights are read, once while they stay as they are.

        Args:
            model: The model.
            instruction: What documents are encoded for; by default the model's own.
            truncate_dim: Components that are kept of each vector; by default as the model is set.
            settings: What else decides a vector, as plain values.
            weights: Their digest, where it is known.

        Example:
            >>> from vlm2vec import VLM2Vec
            >>> model = VLM2Vec()
            >>> kept = VectorsIdentity.of(model)
            >>> kept.check(VectorsIdentity.of(model, truncate_dim=64), source="shards")
            Traceback (most recent call last):
            vlm2vec.errors.VectorsMismatchError: shards: ... dimensions is 224 there, and 64 here. Use ...
        """
        first = model[0]
        network = str(first.model.config.model_type)
        own = model.prompts.get("document") or ""
        width = model.full_width
        return cls(
            model=str(first.model.name_or_path or "a model without a name"),
            revision=first.revision,
            weights=_weights_of(model) if weights is None else weights,
            vocabulary=digest_of(sorted(first.tokenizer.get_vocab().items())),
            network=network,
            modules=tuple([type(module).__name__, _config_of(module)] for module in list(model)[1:]),
            dtype=str(next(model.parameters()).dtype).removeprefix("torch."),
            dimensions=min(width, truncate_dim or model.truncate_dim or width),
            instruction=own if instruction is None else instruction,
            profile=model.profile.as_dict(),
            versions=versions_of(network),
            settings=dict(settings or {}),
        )

    def as_dict(self) -> dict[str, Any]:
        """Its fields as plain values, for a file of JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> VectorsIdentity:
        """What `as_dict` gave, also after it was a file of JSON; fields of later versions are left out.

        Raises:
            TypeError: Fields are missing.
        """
        known = {name.name for name in fields(cls)}
        given = {name: value for name, value in values.items() if name in known}
        return cls(**{**given, "modules": tuple(given.get("modules", ()))})

    def differences(self, now: VectorsIdentity, *, kinds: Collection[str] | None = None) -> list[str]:
        """What of it is another now, each in words.

        Args:
            now: What vectors that should join these depend on.
            kinds: "text", "image", "video" and "pdf", as far as there are vectors of them: the versions of
                other readers are not compared. By default all are.
        """
        before, after = self._compared(kinds), now._compared(kinds)
        names = differences(before, after)
        if "dtype" in names and "weights" in names:
            names.remove("weights")  # the digest of the same weights is another in another type
        found = [_in_words(name, before, after) for name in names]
        if "weights" in names:
            found[names.index("weights")] = (
                f"weights are of {self._called()} there, and of {now._called()} here"
            )
        if self.profile["name"] != now.profile["name"] and any(name.startswith("profile.") for name in names):
            found.insert(0, f"profile is {self.profile['name']} there, and {now.profile['name']} here")
        return found

    def check(
        self,
        now: VectorsIdentity,
        *,
        source: str = "",
        fix: str = "Use the same model and settings, or another folder for these vectors.",
        kinds: Collection[str] | None = None,
        error: type[VectorsMismatchError] = VectorsMismatchError,
    ) -> None:
        """Raise unless vectors that are made now can stand beside those that were stored.

        Args:
            now: What they depend on now.
            source: Where vectors are stored, for the error.
            fix: What to do.
            kinds: As `differences` takes them.
            error: Of which type the error is.

        Raises:
            VectorsMismatchError: They cannot; each difference is named.
        """
        found = self.differences(now, kinds=kinds)
        if found:
            raise error(f"the vectors there are others: {'; '.join(found)}", fix=fix, source=source or None)

    def _compared(self, kinds: Collection[str] | None) -> dict[str, Any]:
        values = {name: value for name, value in self.as_dict().items() if name not in _NAMES}
        unused = _READERS - set(_READERS if kinds is None else kinds)
        return {
            **values,
            "modules": [list(module) for module in self.modules],  # as they are once they were JSON
            "profile": {name: value for name, value in self.profile.items() if name not in _NOT_OF_DOCUMENTS},
            "versions": {name: number for name, number in self.versions.items() if name not in unused},
        }

    def _called(self) -> str:
        return self.model if self.revision is None else f"{self.model} at {self.revision[:12]}"


def _in_words(name: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    called = name.replace("versions.", "VECTORS_VERSION of ").removeprefix("settings.")
    return f"{called} is {_value(before, name)} there, and {_value(after, name)} here"


def _value(values: Any, name: str) -> str:
    for part in name.split("."):
        values = values.get(part) if isinstance(values, Mapping) else None
    return "not set" if values is None else literal(values)


def _config_of(module: Any) -> dict[str, Any]:
    config = module.get_config_dict() if hasattr(module, "get_config_dict") else {}
    plain = str | int | float | bool | None
    return {name: value for name, value in config.items() if isinstance(value, plain)}


def _weights_of(model: Any) -> str:
    tensors = model.state_dict()
    # Another place in memory, or a change in place: then all of it is read again.
    state = [(name, tensor.data_ptr(), tensor._version) for name, tensor in tensors.items()]
    known = _DIGESTS.get(model)
    if known is None or known[0] != state:
        known = _DIGESTS[model] = state, weights_digest(tensors)
    return known[1]
