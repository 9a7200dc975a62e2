"""`VLM2Vec`: one embedding space for texts, images, videos and PDF pages.

It is a `SentenceTransformer` of three modules: `encoding.input_module` (inputs to token states), last-token
pooling and normalisation. Parsing is in `inputs`, decoding in `media`, the network in `modeling`, what
differs between checkpoints in `profiles`, the encoding loop in `encoding.rows`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling
from sentence_transformers.util import get_device_name, truncate_embeddings
from torch import Tensor, nn
from tqdm.auto import tqdm

from vlm2vec.compat import HookedSentenceTransformer, check_load_settings
from vlm2vec.encoding.input_module import Qwen2VLInput
from vlm2vec.encoding.pack import pack
from vlm2vec.encoding.prepare import Prepared
from vlm2vec.encoding.prompt import with_default_instruction
from vlm2vec.encoding.rows import ErrorPolicy, check_settings, encode_rows, settle_errors
from vlm2vec.encoding.saved_folder import card_note
from vlm2vec.errors import VLM2VecError
from vlm2vec.inputs.parse import is_single, parse_batch
from vlm2vec.inputs.parts import Input
from vlm2vec.media.limits import Limits
from vlm2vec.profiles import Profile

__all__ = ["EMBEDDED_MODEL", "VLM2Vec"]

EMBEDDED_MODEL = Path(__file__).parent / "assets" / "embedded"
"""Folder of the small model inside the package."""


class VLM2Vec(HookedSentenceTransformer):
    """A model that turns texts, images, videos, PDF pages and mixtures of them into vectors of one space.

    Args:
        model_name_or_path: A folder or a repository on the hub, with weights or an adapter; by default the
            small model inside the package, which needs no download.
        profile: Prompt layout and pixel rules to follow, by name or as a `Profile`; by default what the
            checkpoint says.
        base_model: Base of an adapter, where its own word is not to be followed.
        limits: What one input may cost.
        allow_urls: Whether a string under a media key may be an http(s) URL.
        **kwargs: As `SentenceTransformer` takes them: `device`, `revision`, `token`, `truncate_dim`, ...

    Raises:
        CheckpointError: The checkpoint is incomplete or of another kind, or not to be found on the hub.
        FileNotFoundError: There is no such folder.
        ProfileError: The checkpoint does not say which profile it follows, and `profile` does not either.

    Example:
        >>> from vlm2vec import VLM2Vec
        >>> model = VLM2Vec()
        >>> vectors = model.encode(["a red circle", "a blue square"])
        >>> vectors.shape[0], vectors.dtype.name
        (2, 'float32')
    """

    input_module_class: ClassVar[type[Qwen2VLInput]] = Qwen2VLInput

    def __init__(
        self,
        model_name_or_path: str | Path | None = None,
        *,
        profile: str | Profile | None = None,
        base_model: str | Path | None = None,
        limits: Limits | None = None,
        allow_urls: bool = False,
        device: str | None = None,
        model_kwargs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        self.input_module_arguments = {
            "profile": profile,
            "base_model": base_model,
            "limits": limits,
            "allow_urls": allow_urls,
        }
        check_load_settings(kwargs)
        if kwargs.get("modules") is None:
            model_name_or_path = EMBEDDED_MODEL if model_name_or_path is None else model_name_or_path
        elif any(self.input_module_arguments.values()):
            raise ValueError(
                "With modules=, profile, base_model, limits and allow_urls belong to the first module."
            )
        device = device or get_device_name()
        if torch.device(device).type == "cpu" and not model_kwargs:
            # Published weights are bfloat16, which most CPUs compute slowly and all less exactly.
            model_kwargs = {"dtype": torch.float32}
        if model_name_or_path is not None and Path(model_name_or_path).is_dir():
            # Without this, the model card asks the hub whether a local folder is known there.
            kwargs.setdefault("model_card_data", self.model_card_data_class(local_files_only=True))
        super().__init__(
            None if model_name_or_path is None else str(model_name_or_path),
            device=device,
            model_kwargs=model_kwargs,
            **kwargs,
        )

    @property
    def profile(self) -> Profile:
        """Prompt layout, positions and pixel rules that this model follows."""
        profile: Profile = self[0].profile
        return profile

    def encode(
        self,
        inputs: Any,
        prompt_name: str | None = None,
        prompt: str | None = None,
        batch_size: int = 32,
        show_progress_bar: bool | None = None,
        *,
        instruction: str | Sequence[str | None] | None = None,
        on_error: ErrorPolicy = "raise",
        truncate: bool = False,
        truncate_dim: int | None = None,
        **kwargs: Any,
    ) -> Any:
        """Vectors of texts, images, videos, PDF pages and mixtures of them.

        Args:
            inputs: One input, or an iterable of inputs. A `str` is text, always; a `pathlib.Path` is a file.
                `docs/inputs.md` has the table of all forms.
            prompt_name: Name of one of the model's prompts, which serves as instruction.
            prompt: The same in full; for inputs that have no instruction of their own.
            batch_size: Most inputs in one forward pass.
            show_progress_bar: By default only where logging is at INFO or below.
            instruction: What the vectors are for: one for all inputs, or one for each.
            on_error: What a bad input does: "raise" ends the call, "nan" makes its row NaN, a callable is
                told `(index, error)` and the row is NaN.
            truncate: Shorten texts that do not fit the model's context, instead of refusing them. Media,
                instructions and raw prompts are never shortened.
            truncate_dim: Components to keep of each vector.
            **kwargs: As `SentenceTransformer.encode` takes them: `precision`, `convert_to_tensor`,
                `normalize_embeddings`, `output_value`, `device` (a list of devices
                spreads the work over processes), `pool`, `chunk_size`.

        Returns:
            `(n, dim)` float32 numpy array of unit length, row i for input i; `(dim,)` for a single input.
            Other forms as in sentence-transformers, where `truncate_dim` does not restore unit length.

        Raises:
            InputError: An input has a form that cannot be embedded.
            MediaError: A file cannot be read as what it claims to be.
            LimitError: An input is larger than a limit or the context allows.

        Example:
            >>> from vlm2vec import VLM2Vec
            >>> model = VLM2Vec()
            >>> vector = model.encode("a red circle", instruction="Find a picture of this.")
            >>> round(float(vector @ vector), 4)
            1.0
        """
        check_settings(on_error, prompt=prompt, **kwargs)
        single = is_single(inputs)
        parsed = parse_batch(
            inputs,
            instruction,
            allow_urls=self[0].allow_urls,
            on_error="raise" if on_error == "raise" else "yield",
        )
        vectors = super().encode(
            list(parsed),
            prompt_name=prompt_name,
            prompt=prompt,
            batch_size=batch_size,
            show_progress_bar=show_progress_bar,
            on_error=on_error,
            truncate=truncate,
            truncate_dim=truncate_dim,
            **kwargs,
        )
        if single:
            return vectors[0]
        # An empty array of sentence-transformers has lost its width and its type.
        if len(vectors) or isinstance(vectors, list):
            return vectors
        if isinstance(vectors, np.ndarray):
            return np.empty((0, self._width(truncate_dim)), dtype=np.float32)
        return vectors.reshape(0, self._width(truncate_dim))

    def preprocess(self, inputs: Sequence[Any], prompt: str | None = None, **kwargs: Any) -> dict[str, Any]:
        """Features of a batch, for trainers: see `Qwen2VLInput.preprocess`."""
        features: dict[str, Any] = self[0].preprocess(inputs, prompt=prompt, **kwargs)
        return features

    def get_model_kwargs(self) -> list[str]:
        """Arguments of `encode` beyond those of `SentenceTransformer`."""
        return [*super().get_model_kwargs(), "on_error", "truncate"]

    def save(self, path: str, *args: Any, create_model_card: bool = True, **kwargs: Any) -> None:
        """Save a folder that this class and plain `SentenceTransformer` load; its card names the profile."""
        super().save(path, *args, create_model_card=create_model_card, **kwargs)
        card = Path(path) / "README.md"
        if create_model_card and "## Profile" not in card.read_text(encoding="utf-8"):
            with card.open("a", encoding="utf-8") as file:
                file.write("\n" + card_note(self.profile))

    def new_modules(self, name: str, dtype: torch.dtype | None, hub: dict[str, Any]) -> list[nn.Module]:
        """Modules for a published checkpoint: inputs, last-token pooling, unit length."""
        first = Qwen2VLInput.from_checkpoint(name, dtype=dtype, **self.input_module_arguments, **hub)
        for role, text in (
            ("query", first.profile.query_instruction),
            ("document", first.profile.document_instruction),
        ):
            if self.prompts.get(role) is None:
                self.prompts[role] = text
        return [first, Pooling(first.get_embedding_dimension(), "lasttoken"), Normalize()]

    def encode_parsed(
        self,
        inputs: list[Input | VLM2VecError],
        *,
        device: torch.device,
        prompt: str | None,
        batch_size: int,
        show_progress_bar: bool,
        output_value: str | None,
        save_to_cpu: bool,
        normalize_embeddings: bool,
        truncate_dim: int | None,
        on_error: ErrorPolicy | Literal["keep"] = "raise",
        truncate: bool = False,
        task: str | None = None,  # "query" or "document"; the prompt says it already
    ) -> Any:
        """Encode parsed inputs in this process: prepare, pack, forward, and one row for each, in order.

        Returns:
            `(n, dim)` vectors; with `on_error="keep"`, or another `output_value`, a list of rows and errors.
        """
        preparer = self[0].preparer

        def prepare(item: Input) -> Prepared:
            ready: Prepared = preparer(with_default_instruction(item, prompt), truncate=truncate)
            return ready

        def forward(batch: Sequence[Prepared]) -> Sequence[Any]:
            output = self({name: tensor.to(device) for name, tensor in pack(batch).items()})
            vectors = truncate_embeddings(output["sentence_embedding"], truncate_dim)
            if normalize_embeddings:
                vectors = nn.functional.normalize(vectors, dim=1)
            if output_value == "sentence_embedding":
                return list(vectors.cpu() if save_to_cpu else vectors)
            tokens = output["token_embeddings"][0].split(output["cu_seq_lens_q"].diff().tolist())
            if output_value == "token_embeddings":
                return list(tokens)
            return [
                {"sentence_embedding": vector, "token_embeddings": states}
                for vector, states in zip(vectors, tokens, strict=True)
            ]

        encoded = encode_rows(
            inputs, prepare=prepare, forward=forward, batch_size=batch_size, stop_at_error=on_error == "raise"
        )
        rows = list(tqdm(encoded, total=len(inputs), desc="Encoding", disable=not show_progress_bar))
        if on_error == "keep" or output_value != "sentence_embedding":
            return rows
        return self._stacked(rows, on_error, truncate_dim, "cpu" if save_to_cpu else device)

    def encode_in_pool(
        self,
        run: Callable[..., list[Tensor | VLM2VecError]],
        inputs: list[Input | VLM2VecError],
        *,
        on_error: ErrorPolicy = "raise",
        **settings: Any,
    ) -> Any:
        """Encode parsed inputs in worker processes; errors come back as rows and are settled here."""
        rows = run(inputs, on_error="keep", **settings)
        if settings["output_value"] == "sentence_embedding":
            return self._stacked(rows, on_error, settings["truncate_dim"], "cpu")
        if errors := [row for row in rows if isinstance(row, VLM2VecError)]:
            raise errors[0]
        return rows

    def _stacked(
        self,
        rows: Sequence[Tensor | VLM2VecError],
        on_error: ErrorPolicy,
        truncate_dim: int | None,
        device: torch.device | str,
    ) -> Tensor:
        like = torch.empty(self._width(truncate_dim), device=device)
        return torch.stack(settle_errors(rows, on_error, like)) if rows else like.new_empty((0, len(like)))

    def _width(self, truncate_dim: int | None) -> int:
        full: int = self[0].get_embedding_dimension()
        return min(full, truncate_dim or self.truncate_dim or full)
