"""`VLM2Vec`: one embedding space for texts, images, videos and PDF pages.

It is a `SentenceTransformer` of three modules: `module` (inputs to token states), last-token
pooling and normalisation. Parsing is in `inputs`, decoding in `media`, the network in `backbones`, what
differs between checkpoints in `profiles`, the encode engine in `encoding.engine`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import torch
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling
from sentence_transformers.util import get_device_name
from torch import Tensor, nn

from vlm2vec import profiles
from vlm2vec.atomic_write import full_disk_named, replacing_in
from vlm2vec.backbones.peak_memory import bytes_per_token
from vlm2vec.blocks.device import check_device, one_thread_after_fork
from vlm2vec.checkpoints.adapter import check_not_base, has_adapter, remove_adapter_files
from vlm2vec.checkpoints.adapter_methods import AdapterMethods
from vlm2vec.checkpoints.fitting import check_modules, reading_files
from vlm2vec.checkpoints.folder import check_path, remove_other_weights
from vlm2vec.checkpoints.load import EMBEDDED_MODEL
from vlm2vec.checkpoints.repository import check_repository
from vlm2vec.compat import HookedSentenceTransformer
from vlm2vec.encoding import rows
from vlm2vec.encoding.batch_forward import BatchForward
from vlm2vec.encoding.engine import Budget, Engine, Item
from vlm2vec.encoding.model_thread import in_model_thread
from vlm2vec.encoding.policy import (
    ErrorPolicy,
    check_names,
    check_settings,
    check_truncation,
    takes_sentences,
)
from vlm2vec.encoding.pool import in_pool
from vlm2vec.encoding.prompt import with_default_instruction, with_role
from vlm2vec.encoding.settings import EngineSettings
from vlm2vec.errors import InputError, VLM2VecError
from vlm2vec.inputs.access import FileAccess
from vlm2vec.inputs.parse import is_single, parse_batch
from vlm2vec.load_settings import check_load_settings, device_of, without_placement
from vlm2vec.media.limits import Limits
from vlm2vec.model_card import VLM2VecModelCardData, with_usage
from vlm2vec.module import InputModule
from vlm2vec.profiles import Profile
from vlm2vec.trained_here import check_not_trained_elsewhere

if TYPE_CHECKING:
    from vlm2vec.training.result import TrainingResult

__all__ = ["EMBEDDED_MODEL", "VLM2Vec"]


class VLM2Vec(AdapterMethods, HookedSentenceTransformer):
    """A model that turns texts, images, videos, PDF pages and mixtures of them into vectors of one space.

    Args:
        model_name_or_path: A folder or a repository on the hub, with weights or an adapter; by default the
            small model inside the package, which needs no download.
        profile: Prompt layout and pixel rules to follow, by name or as a `Profile`; by default what the
            checkpoint says.
        base_model: Base of an adapter, where its own word is not to be followed.
        limits: What one input may cost.
        allow_urls: Whether a string under a media key may be an http(s) URL.
        allow_files: Whether inputs may be paths: `False` refuses all, and a list of folders those that do not
            lead below one of them. A path that is refused is not looked up.
        dtype: Type of the weights, such as "bfloat16", or "auto" for the checkpoint's own. By default
            bfloat16 on a GPU that has it, and on a CPU for networks of a billion parameters and more whose
            checkpoint is in half precision; float32 elsewhere. What bfloat16 does to vectors is in
            `docs/encode.md`.
        **kwargs: As `SentenceTransformer` takes them: `device`, `revision`, `token`, `truncate_dim`, ... Of
            `processor_kwargs`, `min_pixels` and `max_pixels` are the pixel budget of pictures; of
            `model_kwargs`, `dtype` and `device_map` have their meaning for one device. What else there is in
            them, and what to pass instead, is in `docs/coming_from_sentence_transformers.md`.

    Raises:
        CheckpointError: The checkpoint is incomplete, of another kind, or neither a folder nor on the hub.
        InputError: An argument has a value that it cannot have.
        ProfileError: The checkpoint does not say which profile it follows, and `profile` does not either.

    Example:
        >>> from vlm2vec import VLM2Vec
        >>> model = VLM2Vec()
        >>> vectors = model.encode(["a red circle", "a blue square"])
        >>> vectors.shape[0], vectors.dtype.name
        (2, 'float32')
    """

    model_card_data_class = VLM2VecModelCardData
    input_module_class: ClassVar[type[InputModule]] = InputModule

    def __init__(
        self,
        model_name_or_path: str | Path | None = None,
        *,
        profile: str | Profile | None = None,
        base_model: str | Path | None = None,
        limits: Limits | None = None,
        allow_urls: bool = False,
        allow_files: FileAccess = True,
        dtype: str | torch.dtype | None = None,
        device: str | None = None,
        model_kwargs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        self.input_module_arguments: dict[str, Any] = {
            "profile": profile,
            "base_model": base_model,
            "limits": limits,
            "allow_urls": allow_urls,
            "allow_files": allow_files,
        }
        check_load_settings(kwargs)
        check_settings("raise", truncate_dim=kwargs.get("truncate_dim"))
        if kwargs.get("modules") is None:
            model_name_or_path = EMBEDDED_MODEL if model_name_or_path is None else model_name_or_path
        else:
            loading = {"model_name_or_path": model_name_or_path, "dtype": dtype, "model_kwargs": model_kwargs}
            loading["processor_kwargs"] = kwargs.get("processor_kwargs") or kwargs.get("tokenizer_kwargs")
            if not isinstance(kwargs["modules"], Mapping):
                kwargs["modules"] = list(kwargs["modules"])
            beside = {**self.input_module_arguments, **loading, "allow_files": allow_files is not True}
            _check_modules(kwargs["modules"], beside)
        check_path(model_name_or_path)
        device = device_of(model_kwargs, device) or get_device_name()
        check_device(device)
        model_kwargs = without_placement(model_kwargs)
        if dtype is not None:
            model_kwargs = {**(model_kwargs or {}), "dtype": dtype}
        if not model_kwargs:
            self.input_module_arguments["device"] = torch.device(device)
        # The card does not ask the hub whether a local folder is known there.
        local = model_name_or_path is not None and Path(model_name_or_path).is_dir()
        kwargs["model_card_data"] = VLM2VecModelCardData.of(kwargs.get("model_card_data"), local=local)
        self.engine_settings = EngineSettings()
        self.budgets: dict[torch.device, Budget] = {}  # what fitted, by device
        if not isinstance(limits, Limits | None):
            raise TypeError(f"limits is a vlm2vec.Limits, not {type(limits).__name__}.")
        if model_name_or_path is None:
            super().__init__(None, device=device, model_kwargs=model_kwargs, **kwargs)
            return
        name = str(model_name_or_path)
        if not Path(name).exists():
            if isinstance(profile, str):
                profiles.get(profile)
            hub = ("revision", "token", "cache_folder", "local_files_only")
            check_repository(name, **{each: kwargs.get(each) for each in hub})
        with reading_files(name):
            super().__init__(name, device=device, model_kwargs=model_kwargs, **kwargs)
            first, *others = self
            check_modules(
                others,
                states=first.get_embedding_dimension(),
                width=self.full_width,
                device=self.device,
            )

    @property
    def profile(self) -> Profile:
        """Prompt layout, positions and pixel rules that this model follows."""
        profile: Profile = self[0].profile
        return profile

    @takes_sentences
    def encode(
        self,
        inputs: Any,
        prompt_name: str | None = None,
        prompt: str | None = None,
        batch_size: int | None = None,
        show_progress_bar: bool | None = None,
        *,
        instruction: str | Sequence[str | None] | None = None,
        on_error: ErrorPolicy = "raise",
        truncate: bool = False,
        truncate_dim: int | None = None,
        max_tokens_per_batch: int | None = None,
        **kwargs: Any,
    ) -> Any:
        """Vectors of texts, images, videos, PDF pages and mixtures of them.

        Args:
            inputs: One input, or an iterable of inputs. A `str` is text, always; a `pathlib.Path` is a file.
                `docs/inputs.md` has the table of all forms. `sentences` is another name of this argument.
            prompt_name: Name of one of the model's prompts, which serves as instruction.
            prompt: The same in full; for inputs that have no instruction of their own.
            batch_size: Maximum number of inputs in a forward pass; by default `max_tokens_per_batch` decides.
            show_progress_bar: By default only where logging is at INFO or below.
            instruction: What the vectors are for: one for all inputs, or one for each.
            on_error: What a bad input does: "raise" ends the call, "nan" makes its row NaN, a callable is
                called with `(index, error)` and the row is NaN.
            truncate: Shorten texts that do not fit the model's context, instead of refusing them. Media,
                instructions and raw prompts are never shortened.
            truncate_dim: Components to keep of each vector, at most all.
            max_tokens_per_batch: Tokens and patches of the vision tower that one forward pass takes: what
                bounds memory. By default 4,096 on a CPU, and on a GPU 32,768, halved as often as its free
                memory asks for when the model first encodes there; less once that did not fit.
            **kwargs: As `SentenceTransformer.encode` takes them: `precision`, `convert_to_tensor`,
                `normalize_embeddings`, `output_value`, `device` (a list of devices
                spreads the work over processes), `pool`, `chunk_size`, and what modules of the model declare.
                Also `profile`, a `Profile` whose prompt layout and pixels this call follows instead of the
                model's own.

        Returns:
            `(n, dim)` float32 numpy array of unit length, row i for input i; `(dim,)` for a single input.
            Other forms as in sentence-transformers, where `truncate_dim` does not restore unit length.

        Raises:
            InputError: An input has a form that cannot be embedded.
            MediaError: A file cannot be read as what it claims to be.
            LimitError: An input is larger than a limit, the context or the device's memory allows.
            CheckpointError: The `profile` is for another network or tokenizer.

        Example:
            >>> from vlm2vec import VLM2Vec
            >>> model = VLM2Vec()
            >>> vector = model.encode("a red circle", instruction="Find a picture of this.")
            >>> round(float(vector @ vector), 4)
            1.0
        """
        declared = self.declared_arguments()
        known = {name: value for name, value in kwargs.items() if name not in declared}
        check_names(known)
        check_settings(
            on_error,
            prompt=prompt,
            prompt_name=prompt_name,
            prompts=self.prompts,
            batch_size=batch_size,
            max_tokens_per_batch=max_tokens_per_batch,
            truncate_dim=truncate_dim,
            truncate=truncate,
            **known,
        )
        check_truncation(truncate_dim, self.full_width)
        device = kwargs.get("device")
        if isinstance(device, list):
            _check_devices(device)
        elif device is not None:
            check_device(device)
        # As encode_query and encode_document, which say so in the same way.
        kwargs.setdefault("task", prompt_name)
        single = is_single(inputs)
        parsed = parse_batch(
            inputs,
            instruction,
            **self[0].allowed,
            on_error="raise" if on_error == "raise" else "yield",
        )
        vectors = super().encode(
            list(parsed),
            prompt_name=prompt_name,
            prompt=prompt,
            batch_size=sys.maxsize if batch_size is None else batch_size,
            show_progress_bar=show_progress_bar,
            on_error=on_error,
            truncate=truncate,
            truncate_dim=truncate_dim,
            max_tokens_per_batch=max_tokens_per_batch,
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

    @takes_sentences
    def encode_query(
        self,
        inputs: Any,
        prompt_name: str | None = None,
        prompt: str | None = None,
        batch_size: int | None = None,
        show_progress_bar: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """`encode` with the model's instruction for queries, if it has one."""
        return super().encode_query(inputs, prompt_name, prompt, batch_size, show_progress_bar, **kwargs)

    @takes_sentences
    def encode_document(
        self,
        inputs: Any,
        prompt_name: str | None = None,
        prompt: str | None = None,
        batch_size: int | None = None,
        show_progress_bar: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """`encode` with the model's instruction for documents, if it has one."""
        return super().encode_document(inputs, prompt_name, prompt, batch_size, show_progress_bar, **kwargs)

    async def aencode(self, inputs: Any, **settings: Any) -> Any:
        """`encode` for asyncio: the event loop goes on meanwhile, and cancelling the task stops the work.

        Calls of one model are encoded one after the other, in the order in which they came, in a thread that
        is the model's own: a long one keeps those behind it waiting, so give it in parts. When the task is
        cancelled, no row comes of it, and the work ends after the forward pass or picture in hand.

        Args:
            inputs: As in `encode`. An iterable is read, and a callable `on_error` called, in that thread.
            **settings: As `encode` takes them, but for `pool` and a list of devices.

        Returns:
            As `encode`.

        Raises:
            InputError: The work is to be spread over processes; other errors as in `encode`.

        Example:
            >>> import asyncio
            >>> from vlm2vec import VLM2Vec
            >>> model = VLM2Vec()
            >>> asyncio.run(model.aencode(["a red circle", "a blue square"])).shape[0]
            2
        """
        return await self._in_thread(self.encode, inputs, settings)

    async def aencode_query(self, inputs: Any, **settings: Any) -> Any:
        """`aencode` with the model's instruction for queries, if it has one."""
        return await self._in_thread(self.encode_query, inputs, settings)

    async def aencode_document(self, inputs: Any, **settings: Any) -> Any:
        """`aencode` with the model's instruction for documents, if it has one."""
        return await self._in_thread(self.encode_document, inputs, settings)

    async def _in_thread(self, encode: Callable[..., Any], inputs: Any, settings: dict[str, Any]) -> Any:
        if settings.get("pool") is not None or isinstance(settings.get("device"), list):
            raise InputError(
                "work in other processes cannot be called off",
                fix="Leave out pool= and lists of devices, or call encode itself: "
                "await asyncio.to_thread(model.encode, inputs, pool=pool).",
            )
        return await in_model_thread(self, partial(encode, inputs, **settings))

    def similarity(
        self, embeddings1: Tensor | np.ndarray | list[Any], embeddings2: Tensor | np.ndarray | list[Any]
    ) -> Tensor:
        """As sentence-transformers', except that a row of NaN has -inf to all: a failed input is found last.

        Args:
            embeddings1: `(n, dim)` or `(dim,)`.
            embeddings2: `(m, dim)` or `(dim,)`.

        Returns:
            `(n, m)` similarities, by `similarity_fn_name`; cosines if it is not set.

        Example:
            >>> from vlm2vec import VLM2Vec
            >>> model = VLM2Vec()
            >>> vectors = model.encode([None, "a red circle"], on_error="nan")
            >>> model.similarity(model.encode("a red circle"), vectors).argmax().item()
            1
        """
        return _failed_last(super().similarity(embeddings1, embeddings2))

    def similarity_pairwise(
        self, embeddings1: Tensor | np.ndarray | list[Any], embeddings2: Tensor | np.ndarray | list[Any]
    ) -> Tensor:
        """The same for each row of the first and the row of the second beside it, `(n,)`."""
        return _failed_last(super().similarity_pairwise(embeddings1, embeddings2))

    def fit(
        self,
        train: Any,
        *,
        eval: Any = None,
        batch_size: int | None = None,
        sub_batch_size: int | None = None,
        max_steps: int | None = None,
        epochs: float | None = None,
        learning_rate: float | None = None,
        temperature: float | None = None,
        lora: Any = None,
        output_dir: str | Path | None = None,
        resume: bool | str | Path = False,
        **settings: Any,
    ) -> TrainingResult:
        """Train this model, in place, on pairs of what belongs together.

        A row is a dict: `query`, `document` (what should be found), optionally `negatives` (a list of what
        should not), `query_instruction` and `document_instruction`. Each input is anything that `encode`
        takes. The loss is InfoNCE over the whole batch, with the graph of one chunk in memory. What is
        equal to a row's query or document is no negative of it. `accelerate launch` spreads it over devices.

        Args:
            train: Rows: a list, a `datasets.Dataset`, anything with a length and positions; a dict of such by
                source; or a `vlm2vec.training.Mixture`, whose recipe's settings are then the defaults.
            eval: Held-out rows, scored by retrieval now and then, or sentence-transformers' evaluators.
            batch_size: Rows of a batch, over all processes: 64, or all rows if there are fewer.
            sub_batch_size: Rows of one source that stay together: 64, or the largest divisor of the batch
                below.
            max_steps: Optimizer steps.
            epochs: The same, in passes over the rows; by default 3, and 100 steps at least.
            learning_rate: At its highest; the default depends on what learns (`FitSettings`).
            temperature: What similarities are divided by: 0.02.
            lora: `True` or a `vlm2vec.training.LoRA` trains an adapter, `False` all weights; by default an
                adapter for networks of a billion parameters or more.
            output_dir: Where checkpoints and the model are saved; without, nothing is written.
            resume: Go on from the newest complete checkpoint in `output_dir`, or from the one given here.
            **settings: Fields of `vlm2vec.training.FitSettings`: `symmetric`, `seed`, `on_error`, ...; also
                `batch_sampler`, called as `SubBatchSampler` is, to draw batches in another way, and
                `callbacks` of transformers' trainer.

        Returns:
            Steps, losses, scores; `print` shows a summary, `.plot(path)` the training curve.

        Raises:
            VLM2VecError: A row cannot be used, and `on_error` is "raise"; it is named by source and number.
            InputError: A setting makes no sense.

        Example:
            >>> from vlm2vec import VLM2Vec
            >>> model = VLM2Vec()
            >>> pairs = {"a flim": "a red circle", "a blat": "a blue cross"}
            >>> rows = [{"query": query, "document": document} for query, document in pairs.items()]
            >>> model.fit(rows, max_steps=2, show_progress_bar=False).steps
            2
        """
        from vlm2vec.training.fit import fit

        one_thread_after_fork()
        named = {
            "batch_size": batch_size,
            "sub_batch_size": sub_batch_size,
            "max_steps": max_steps,
            "epochs": epochs,
            "learning_rate": learning_rate,
            "temperature": temperature,
            "lora": lora,
        }
        given = {name: value for name, value in named.items() if value is not None}
        return fit(self, train, eval=eval, output_dir=output_dir, resume=resume, **given, **settings)

    def merge_adapter(self) -> None:
        """Add a trained adapter to the weights and take it away: as exact, faster, and saved as a whole.

        Raises:
            InputError: There is no adapter.
        """
        from vlm2vec.training.lora import merge_adapter

        merge_adapter(self)

    def preprocess(self, inputs: Sequence[Any], prompt: str | None = None, **kwargs: Any) -> dict[str, Any]:
        """Features of a batch, for trainers: see `InputModule.preprocess`."""
        features: dict[str, Any] = self[0].preprocess(inputs, prompt=prompt, **kwargs)
        return features

    def get_model_kwargs(self) -> list[str]:
        """Arguments of `encode` beyond those of `SentenceTransformer`."""
        return [*super().get_model_kwargs(), "on_error", "truncate", "max_tokens_per_batch", "profile"]

    def save(
        self,
        path: str | None,
        model_name: str | None = None,
        create_model_card: bool = True,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        """Save a folder that this class and plain `SentenceTransformer` load, with a card.

        The card says what the model was made from, how it was trained and scored, and how to use it; what was
        loaded with a card keeps that, but for how to use it. A model that is there already is replaced once
        the new one is written in whole. Without a path nothing is written, as in sentence-transformers.
        """
        if path is None:
            return
        folder, network = Path(path), self[0].model
        if has_adapter(network):
            check_not_base(network, folder)
        with full_disk_named(folder, "Free some space, and do it again."), replacing_in(folder) as unfinished:
            super().save(str(unfinished), model_name, create_model_card, *args, **kwargs)
            card = unfinished / "README.md"
            if create_model_card and card.is_file():
                card.write_text(with_usage(card.read_text(encoding="utf-8"), self), encoding="utf-8")
            written = {file.name for file in unfinished.iterdir()}
        self.model_card_data.save_dir = str(path)
        if not has_adapter(network):
            remove_adapter_files(folder)
            remove_other_weights(folder, written)
        if not network.name_or_path:
            network.name_or_path = str(path)  # weights that were trained have a name from here on

    def new_modules(
        self, name: str, dtype: torch.dtype | None, pixel_budget: dict[str, int], hub: dict[str, Any]
    ) -> list[nn.Module]:
        """Modules for a published checkpoint: inputs, last-token pooling, unit length."""
        settings = {"dtype": dtype, "pixel_budget": pixel_budget, **self.input_module_arguments}
        first = InputModule.from_checkpoint(name, **settings, **hub)
        for role, text in (
            ("query", first.profile.query_instruction),
            ("document", first.profile.document_instruction),
        ):
            if self.prompts.get(role) is None:
                self.prompts[role] = text
        return [first, Pooling(first.get_embedding_dimension(), "lasttoken"), Normalize()]

    def encode_parsed(
        self,
        inputs: Sequence[Item],
        *,
        device: torch.device,
        prompt: str | None,
        show_progress_bar: bool,
        on_error: ErrorPolicy | Literal["keep"] = "raise",
        task: str | None = None,
        **form: Any,
    ) -> Any:
        """Encode parsed inputs in this process.

        Args:
            inputs: Parsed inputs, or what was wrong with them.
            device: Where to.
            prompt: Instruction of inputs that have none.
            show_progress_bar: Whether to show how far it is.
            on_error: As in `encode`; "keep" makes each error a row.
            task: "query" or "document" for inputs that do not say themselves which they are; others are none.
            **form: As `engine` takes it, and what modules of the model declare.

        Returns:
            `(n, dim)` vectors; with `on_error="keep"`, or another `output_value`, a list of rows and errors.
        """
        declared = self.declared_arguments()
        given = {name: form.pop(name) for name in declared & form.keys()}
        if "task" in declared:
            given["task"] = task
        engine = self.engine(device=device, given=given, **form)
        items = [_instructed(item, prompt, task) for item in inputs]
        if on_error == "keep" or form["output_value"] != "sentence_embedding":
            keep = on_error == "keep"
            return rows.rows(engine, items, keep_errors=keep, show_progress_bar=show_progress_bar)
        like = torch.empty(self._width(form["truncate_dim"]), device="cpu" if form["save_to_cpu"] else device)
        return rows.vectors(engine, items, on_error=on_error, like=like, show_progress_bar=show_progress_bar)

    def start_multi_process_pool(self, target_devices: list[str] | None = None) -> dict[str, Any]:
        """Start a worker process for each device, for `encode(pool=...)`, as sentence-transformers does.

        The model itself is on the CPU from then on. A pool does one call at a time; others wait. It ends with
        `stop_multi_process_pool(pool)`, and when a call is broken off or a worker dies.

        Args:
            target_devices: Such as `["cuda:0", "cuda:1"]`; by default all GPUs, or four workers on the CPU.

        Raises:
            InputError: One of them is not there.
        """
        if target_devices is not None:
            _check_devices(target_devices)
        pool: dict[str, Any] = super().start_multi_process_pool(target_devices)
        return pool

    def encode_in_pool(
        self,
        run: Callable[..., list[Tensor | VLM2VecError]],
        inputs: Sequence[Item],
        *,
        on_error: ErrorPolicy = "raise",
        **settings: Any,
    ) -> Any:
        """Encode parsed inputs in worker processes; errors come back as rows and are settled here.

        Args:
            run: Spreads inputs over the workers.
            inputs: Parsed inputs, or what was wrong with them.
            on_error: What an error does.
            **settings: As `encode_parsed` takes them.
        """
        with in_pool(self, settings.get("pool")):
            found = run(inputs, on_error="keep", **settings)
        if settings["output_value"] == "sentence_embedding":
            return rows.stacked(found, on_error, torch.empty(self._width(settings["truncate_dim"])))
        if errors := [row for row in found if isinstance(row, VLM2VecError)]:
            raise errors[0]
        return found

    def encode_stream(
        self,
        inputs: Iterable[Any],
        *,
        instruction: str | Iterable[str | None] | None = None,
        prompt_name: str | None = None,
        prompt: str | None = None,
        on_error: ErrorPolicy = "raise",
        truncate: bool = False,
        truncate_dim: int | None = None,
        normalize_embeddings: bool = False,
        max_tokens_per_batch: int | None = None,
        task: str | None = None,
        window: int = 1024,
    ) -> Iterator[tuple[int, np.ndarray]]:
        """Vectors of inputs without end, each with its index, in order, in bounded memory.

        Inputs are read as vectors are asked for, a window at a time. To stop early, just stop reading. An
        array or a file must stay as it is until its vector has come: give each input an array of its own.

        Args:
            inputs: An iterable of inputs; a generator need not fit in memory.
            instruction: As in `encode`; for one for each input, any iterable as long as the inputs.
            prompt_name: As in `encode`.
            prompt: As in `encode`.
            on_error: As in `encode`; "raise" ends the stream when it comes to the input.
            truncate: As in `encode`.
            truncate_dim: As in `encode`.
            normalize_embeddings: As in `encode`.
            max_tokens_per_batch: As in `encode`.
            task: "query" or "document", for models that write these differently; by default `prompt_name`.
            window: Inputs that are read before the first vector comes, and among which equal ones are encoded
                once. Pictures that the caller passes in memory are in memory that long.

        Yields:
            `(index, vector)`, the vector `(dim,)` float32.

        Raises:
            VLM2VecError: As `encode`.

        Example:
            >>> from vlm2vec import VLM2Vec
            >>> model = VLM2Vec()
            >>> shapes = (f"a {colour} circle" for colour in ("red", "blue", "green"))
            >>> [index for index, vector in model.encode_stream(shapes)]
            [0, 1, 2]
        """
        check_settings(
            on_error,
            prompt=prompt,
            prompt_name=prompt_name,
            prompts=self.prompts,
            max_tokens_per_batch=max_tokens_per_batch,
            truncate_dim=truncate_dim,
            truncate=truncate,
            normalize_embeddings=normalize_embeddings,
            window=0 if window is None else window,
        )
        check_truncation(truncate_dim, self.full_width)
        parsed = parse_batch(inputs, instruction, **self[0].allowed, on_error="yield")
        prompt = self.resolved_prompt(prompt, prompt_name)
        engine = self.engine(
            device=self.device,
            truncate=truncate,
            truncate_dim=self.truncate_dim if truncate_dim is None else truncate_dim,
            normalize_embeddings=normalize_embeddings,
            max_tokens_per_batch=max_tokens_per_batch,
            save_to_cpu=True,
        )
        return rows.stream(
            engine,
            (_instructed(item, prompt, task or prompt_name) for item in parsed),
            on_error=on_error,
            like=torch.empty(self._width(truncate_dim)),
            window=window,
        )

    def engine(
        self,
        *,
        device: torch.device,
        truncate: bool = False,
        max_tokens_per_batch: int | None = None,
        batch_size: int | None = None,
        output_value: str | None = "sentence_embedding",
        profile: Profile | None = None,
        **form: Any,
    ) -> Engine:
        """What encodes parsed or planned inputs, by the model's profile or another one.

        Args:
            device: Where to.
            truncate: As in `encode`.
            max_tokens_per_batch: As in `encode`.
            batch_size: As in `encode`.
            output_value: As in `encode`.
            profile: Instead of the model's own.
            **form: As `BatchForward` takes it.

        Raises:
            InputError: Another thread trains the model.
        """
        check_not_trained_elsewhere(self)
        one_thread_after_fork()
        self.eval()
        profile = profile or self.profile
        if max_tokens_per_batch is not None:
            budget = Budget(max_tokens_per_batch)
        elif device in self.budgets:
            budget = self.budgets[device]
        else:
            budget = Budget.of(device, bytes_per_token=bytes_per_token(self[0].model))
            budget = self.budgets.setdefault(device, budget)
        settings = self.engine_settings
        forward = BatchForward(self, profile.pixels, device, settings, output_value=output_value, **form)
        return Engine(
            self[0].preparer_of(profile),
            forward,
            forward.collect,
            budget,
            max_inputs=batch_size,
            truncate=truncate,
            overlap=device.type != "cpu",
            settings=settings,
        )

    @property
    def full_width(self) -> int:
        """Components of a vector that is not cut, whatever `truncate_dim` the model is set to."""
        name = "get_embedding_dimension"
        widths: list[int | None] = [getattr(module, name)() for module in self if hasattr(module, name)]
        return [width for width in widths if width is not None][-1]

    def _width(self, truncate_dim: int | None) -> int:
        """Components of a vector, cut to `truncate_dim` or to the model's own."""
        return min(self.full_width, truncate_dim or self.truncate_dim or self.full_width)


def _check_modules(modules: Any, beside: Mapping[str, Any]) -> None:
    """Refuse modules that are no `VLM2Vec`, and arguments that have no effect beside modules."""
    given = list(modules.values() if isinstance(modules, Mapping) else modules)
    if len(given) < 2 or not isinstance(given[0], InputModule):
        names = ", ".join(type(module).__name__ for module in given)
        raise InputError(
            f"modules are {names or 'an empty list'}",
            fix="Pass an InputModule and, behind it, what makes a vector of its states, as list(model) of a "
            "VLM2Vec has them. A folder or repository is loaded by its name: VLM2Vec(path).",
        )
    if any(beside.values()):
        raise InputError(
            f"modules= is given, and {', '.join(name for name, value in beside.items() if value)}",
            fix="Give that to the first of the modules, or leave it out.",
        )


def _check_devices(names: Sequence[Any]) -> None:
    if not names:
        raise InputError(
            "the list of devices is empty", fix='Pass one or more, such as ["cuda:0", "cuda:1"].'
        )
    for name in names:
        check_device(name)


def _instructed(item: Item, instruction: str | None, task: str | None = None) -> Item:
    if isinstance(item, VLM2VecError):
        return item
    return with_role(with_default_instruction(item, instruction), task)


def _failed_last(scores: Tensor) -> Tensor:
    """-inf in place of NaN, which `argmax` and `topk` take for the greatest of all."""
    return torch.nan_to_num(scores, nan=-torch.inf, posinf=torch.inf, neginf=-torch.inf)
