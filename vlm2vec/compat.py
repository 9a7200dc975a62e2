"""Every name of sentence-transformers, and of the trainer below it, that is private and that is touched here.

Each has a test in `tests/test_compat.py` that fails when a new release renames it or changes what it does.
The rest of the package uses public names only.
"""

from __future__ import annotations

import atexit
import json
import multiprocessing
import os
import threading
from abc import abstractmethod
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Transformer
from sentence_transformers.base.modules.module import Module
from sentence_transformers.sentence_transformer.trainer import SentenceTransformerTrainer
from sentence_transformers.sentence_transformer.training_args import SentenceTransformerTrainingArguments
from sentence_transformers.util import load_file_path
from torch import distributed, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.trainer_utils import rotate_checkpoints

from vlm2vec.blocks.device import as_current
from vlm2vec.load_settings import dtype_of, pixel_budget_of

__all__ = [
    "STOCK_INPUT_MODULE",
    "HookedSentenceTransformer",
    "HookedTrainer",
    "OneDeviceArguments",
    "flag_adapters",
    "init_transformer",
]

STOCK_INPUT_MODULE = f"{Transformer.__module__}.{Transformer.__qualname__}"
"""What `modules.json` calls sentence-transformers' own input module."""


def init_transformer(
    module: Transformer, network: PreTrainedModel, tokenizer: PreTrainedTokenizerBase
) -> None:
    """Give an input module what sentence-transformers' `Transformer.__init__` would.

    Its own `__init__` loads a processor that needs torchvision, so it is not called.
    """
    Module.__init__(module)
    output = {"method": "forward", "method_output_name": "last_hidden_state"}
    module.transformer_task = "feature-extraction"
    # Tells the stock module, where a saved folder is opened in it, that control tokens in a text are plain.
    module.processing_kwargs = {"chat_template": {"sanitize_control_tokens": True}}
    module.backend = "torch"
    module.do_lower_case = False
    module.model = network
    module.processor = tokenizer
    module.modality_config = {
        **{modality: dict(output) for modality in ("text", "image", "video")},
        "message": {**output, "format": "structured"},
    }
    module.module_output_name = "token_embeddings"
    module.query_length = module.document_length = None
    module._prompt_length_mapping = {}
    module._unpad_inputs, module.can_flatten_inputs = False, False
    module._query_expansion = None


def flag_adapters(network: PreTrainedModel) -> None:
    """Let transformers know whether a network has adapters, which peft alone added.

    Without it, `network.save_pretrained` would write base weights under the names of wrapped layers, which
    nothing can load.
    """
    network._hf_peft_config_loaded = bool(getattr(network, "peft_config", None))


class HookedSentenceTransformer(SentenceTransformer):  # type: ignore[misc]
    """A `SentenceTransformer` whose private hooks call methods with names of our own.

    Subclasses give `input_module_class` and `input_module_arguments`, `new_modules`, and `encode_parsed`.
    """

    default_huggingface_organization = None

    input_module_class: ClassVar[type[Transformer]]
    input_module_arguments: Mapping[str, Any]

    def new_modules(
        self, name: str, dtype: torch.dtype | None, pixel_budget: dict[str, int], hub: dict[str, Any]
    ) -> list[nn.Module]:
        """Modules for a folder or repository without `modules.json`."""
        raise NotImplementedError

    def encode_parsed(self, *inputs: Any, **settings: Any) -> Any:
        """Encode in this process, on `device`."""
        raise NotImplementedError

    def encode_in_pool(self, *inputs: Any, **settings: Any) -> Any:
        """Encode in worker processes: `inputs[0](inputs[1], **settings)` spreads them."""
        raise NotImplementedError

    def _load_default_modules(
        self,
        model_name_or_path: str,
        *,
        token: bool | str | None = None,
        cache_folder: str | None = None,
        revision: str | None = None,
        trust_remote_code: bool = False,
        local_files_only: bool = False,
        model_kwargs: dict[str, Any] | None = None,
        processor_kwargs: dict[str, Any] | None = None,
        config_kwargs: dict[str, Any] | None = None,
    ) -> tuple[list[nn.Module], dict[str, Any]]:
        hub = {
            "token": token,
            "cache_dir": cache_folder,
            "revision": revision,
            "local_files_only": local_files_only,
        }
        budget = pixel_budget_of(processor_kwargs)
        return self.new_modules(model_name_or_path, dtype_of(model_kwargs), budget, hub), {}

    def _load_config_modules(self, model_name_or_path: str, *args: Any, **kwargs: Any) -> Any:
        """As sentence-transformers, except that a repository's own module class is none of ours to run."""
        hub = {name: kwargs.get(name) for name in ("token", "cache_folder", "revision")}
        listing = load_file_path(
            model_name_or_path,
            "modules.json",
            local_files_only=kwargs.get("local_files_only", False),
            **hub,
        )
        first = json.loads(Path(listing).read_text(encoding="utf-8"))[0]["type"]
        if first.startswith("sentence_transformers."):
            return super()._load_config_modules(model_name_or_path, *args, **kwargs)
        return self._load_default_modules(model_name_or_path, **kwargs)

    def _load_module_class_from_ref(self, class_ref: str, *args: Any, **kwargs: Any) -> type:
        if class_ref == STOCK_INPUT_MODULE:
            return self.input_module_class
        found: type = super()._load_module_class_from_ref(class_ref, *args, **kwargs)
        return found

    def _get_module_init_defaults(self, class_ref: str) -> dict[str, Any]:
        return dict(self.input_module_arguments) if class_ref == STOCK_INPUT_MODULE else {}

    def resolved_prompt(self, prompt: str | None, prompt_name: str | None) -> str | None:
        """The prompt in full: as given, of that name, or the model's default."""
        resolved: str | None = self._resolve_prompt(prompt, prompt_name)
        return resolved

    @torch.inference_mode()
    def _inference(self, inputs: list[Any], *, device: Any = None, **settings: Any) -> Any:
        return self.encode_parsed(inputs, device=self._resolve_inference_device(device), **settings)

    @classmethod
    def _multi_process_worker(cls, target_device: str, *arguments: Any) -> None:
        _end_with_parent()
        with as_current(torch.device(target_device)):
            super()._multi_process_worker(target_device, *arguments)

    def _multi_process(self, inputs: list[Any], **settings: Any) -> Any:
        return self.encode_in_pool(super()._multi_process, inputs, **settings)

    @staticmethod
    def _get_worker_result(pool: dict[str, Any], *arguments: Any) -> Any:
        """As sentence-transformers; a pool whose result did not come is marked: more are in its queue."""
        try:
            return SentenceTransformer._get_worker_result(pool, *arguments)
        except BaseException:
            pool["lost"] = True
            raise

    def declared_arguments(self) -> set[str]:
        """Names of the arguments of `encode` that modules of this model take in their forward."""
        return set(SentenceTransformer.get_model_kwargs(self))

    @property
    def loaded_card(self) -> str | None:
        """The card of what the model was loaded from, which is kept where nothing is trained."""
        card: str | None = self._model_card_text
        return card

    def _update_default_model_id(self, model_card: str) -> str:
        """As sentence-transformers, which looks for its placeholder behind the name of this class alone."""
        name, old = self.model_card_data.model_id, self[0].model.name_or_path
        for stale in (self._model_card_model_id_placeholder, old) if name else ():
            model_card = model_card.replace(f'("{stale}"', f'("{name}"')
        return model_card

    def activation_checkpointing_enable(self, *args: Any, **kwargs: Any) -> None:
        """As sentence-transformers under its older name, of which transformers' newest trainer warns."""
        for module in self.modules():
            if isinstance(module, PreTrainedModel) and module.supports_gradient_checkpointing:
                module.activation_checkpointing_enable(*args, **kwargs)

    def save(self, path: str, *args: Any, **kwargs: Any) -> None:
        """Save under stock class names, so that plain `SentenceTransformer(path)` opens the folder."""
        super().save(path, *args, **kwargs)
        listing = Path(path) / "modules.json"
        modules = json.loads(listing.read_text(encoding="utf-8"))
        modules[0]["type"] = STOCK_INPUT_MODULE
        listing.write_text(json.dumps(modules, indent=2), encoding="utf-8")


def _end_with_parent() -> None:
    """End this process when the one that started it is gone: a worker would wait for inputs forever."""
    parent = multiprocessing.parent_process()
    if parent is not None:

        def watch() -> None:
            parent.join()
            os._exit(1)

        threading.Thread(target=watch, daemon=True).start()


def _leave_process_group() -> None:
    if distributed.is_initialized():
        distributed.destroy_process_group()


class OneDeviceArguments(SentenceTransformerTrainingArguments):  # type: ignore[misc]
    """Arguments of a process that drives one device: ranks come from a launcher, never from `DataParallel`.

    Where several GPUs are visible and nobody launched several processes, transformers' trainer would wrap the
    model in it: replicas without their packed inputs, and a batch for each of them.
    """

    @property
    def n_gpu(self) -> int:
        """At most one."""
        visible: int = super().n_gpu
        return min(visible, 1)

    def stay_on(self, device: torch.device) -> None:
        """Train where the model is; without a launcher, transformers would take the first GPU."""
        if device.type == "cuda" and device.index is not None and self.world_size == 1:
            self._setup_devices = device  # what `self.device` gives
            self.distributed_state.device = device  # accelerate's


class HookedTrainer(SentenceTransformerTrainer):  # type: ignore[misc]
    """The stock trainer for a loss that embeds in chunks, and sums gradients over ranks by itself."""

    def __init__(self, model: Any, args: OneDeviceArguments, **options: Any) -> None:
        args.stay_on(model.device)
        super().__init__(model, args, **options)
        # torch's wrapper for ranks would sum gradients after every chunk; autocast is all that is left to do.
        self.accelerator.prepare_model = partial(self.accelerator.prepare_model, evaluation_mode=True)
        if distributed.is_available() and distributed.is_initialized():
            # Its threads abort the interpreter now and then if they are still there when it ends.
            atexit.register(_leave_process_group)

    @abstractmethod
    def checkpoint_saved(self, folder: Path) -> None:
        """All files of transformers are in a checkpoint's folder, those of all ranks."""

    @abstractmethod
    def restore(self, folder: Path) -> None:
        """Load a checkpoint's weights into the model."""

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        # sentence-transformers writes the model from all ranks at once, into the same files.
        if self.args.should_save:
            super()._save(output_dir, state_dict)

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        # Older checkpoints go once this one is complete, not before: a kill in between would leave none.
        limit, self.args.save_total_limit = self.args.save_total_limit, None
        try:
            super()._save_checkpoint(model, trial)
        finally:
            self.args.save_total_limit = limit
        if distributed.is_available() and distributed.is_initialized():
            distributed.barrier()
        if self.args.should_save:
            self.checkpoint_saved(Path(self.args.output_dir) / f"checkpoint-{self.state.global_step}")
            rotate_checkpoints(self.args.output_dir, limit, self.state.best_model_checkpoint, use_mtime=True)

    def _load_from_checkpoint(self, checkpoint_path: str) -> None:
        self.restore(Path(checkpoint_path))

    def restore_weights(self, folder: Path) -> None:
        """As the stock trainer: load the folder as a model, and take its weights."""
        super()._load_from_checkpoint(str(folder))
