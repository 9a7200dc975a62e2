"""The adapter methods of a `SentenceTransformer`, which call peft and not transformers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from peft import PeftConfig
from peft.functional import get_peft_model_state_dict, set_adapter
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils import AuxiliaryTrainingWrapper
from torch import Tensor

from vlm2vec.checkpoints import adapter
from vlm2vec.checkpoints.load import resolve_folder
from vlm2vec.errors import InputError

__all__ = ["AdapterMethods"]


class AdapterMethods:
    """Adapters that stand beside the weights; `VLM2Vec(adapter)` merges one, which encodes faster.

    For the first module of a `SentenceTransformer`, whose methods of the same names these replace.
    """

    @property
    def _network(self) -> Any:
        return self[0].model  # type: ignore[index]

    def add_adapter(self, adapter_config: PeftConfig, adapter_name: str = "default") -> None:
        """Add an adapter with fresh weights, which are then all that learns.

        Args:
            adapter_config: Such as a `peft.LoraConfig`.
            adapter_name: Its name.

        Raises:
            InputError: There is an adapter of that name, or this is no configuration.
            ValueError: peft cannot add it, for example because no layer has a name of `target_modules`.
        """
        if not isinstance(adapter_config, PeftConfig):
            raise InputError(
                f"the adapter's configuration is a {type(adapter_config).__name__}",
                fix="Pass a peft.LoraConfig; fit(lora=...) takes a dict or a vlm2vec.training.LoRA.",
            )
        adapter.add_adapter(self._network, adapter_config, adapter_name)
        self._require_seen(adapter_name)
        self.set_adapter(adapter_name)

    def load_adapter(
        self,
        peft_model_id: str | Path,
        adapter_name: str = "default",
        *,
        is_trainable: bool = False,
        revision: str | None = None,
        token: bool | str | None = None,
        cache_dir: str | None = None,
        local_files_only: bool = False,
    ) -> None:
        """Add a saved LoRA or DoRA adapter, which stays apart from the weights, and make it the active one.

        Args:
            peft_model_id: Folder or repository of the adapter.
            adapter_name: Its name.
            is_trainable: Whether its weights learn.
            revision: Of the repository.
            token: For a private one.
            cache_dir: Where it is downloaded to.
            local_files_only: Do not ask the hub.

        Raises:
            CheckpointError: It cannot be read, or does not fit the network.
            InputError: There is an adapter of that name.
        """
        folder = resolve_folder(
            peft_model_id,
            revision=revision,
            token=token,
            cache_dir=cache_dir,
            local_files_only=local_files_only,
        )
        adapter.load_adapter(self._network, folder, adapter_name)
        self._require_seen(adapter_name)
        set_adapter(self._network, adapter_name, inference_mode=not is_trainable)

    def set_adapter(self, adapter_name: str | Sequence[str]) -> None:
        """Make these the active adapters, which learn; others rest.

        Raises:
            InputError: There is no adapter of that name.
        """
        names = [adapter_name] if isinstance(adapter_name, str) else list(adapter_name)
        if not names:
            raise InputError("no adapter is named", fix="disable_adapters() encodes without any.")
        self._require(names)
        set_adapter(self._network, names)

    def active_adapters(self) -> list[str]:
        """Names of the adapters that take part in encoding.

        Raises:
            InputError: There is no adapter.
        """
        return adapter.active_adapters(self._network)

    def active_adapter(self) -> str:
        """The first of `active_adapters`."""
        return self.active_adapters()[0]

    def disable_adapters(self) -> None:
        """Encode with the weights alone, until `enable_adapters`."""
        self._enable(enabled=False)

    def enable_adapters(self) -> None:
        """Encode with the active adapters again."""
        self._enable(enabled=True)

    def get_adapter_state_dict(self, adapter_name: str | None = None) -> dict[str, Tensor]:
        """Weights of an adapter, by default the active one, under the names that `peft` saves them by."""
        name = self.active_adapter() if adapter_name is None else adapter_name
        self._require([name])
        weights: dict[str, Tensor] = get_peft_model_state_dict(
            self._network, adapter_name=name, save_embedding_layers=False
        )
        return weights

    def delete_adapter(self, adapter_names: str | Sequence[str]) -> None:
        """Take adapters away; without the last one, the model is what it was before the first.

        Raises:
            InputError: There is no adapter of that name.
        """
        names = [adapter_names] if isinstance(adapter_names, str) else list(adapter_names)
        self._require(names)
        for name in names:
            adapter.remove_adapter(self._network, name)

    def _require(self, names: Sequence[str]) -> None:
        known = getattr(self._network, "peft_config", {})
        if unknown := [name for name in names if name not in known]:
            there = f"There are {', '.join(known)}." if known else "Add one, or load one."
            raise InputError(f"the model has no adapter {unknown[0]!r}", fix=there)

    def _require_seen(self, name: str) -> None:
        """Take an adapter away that encoding would ignore: it reads the weights of the patch projection."""
        visual = getattr(self._network, "visual", None)
        if visual is not None and isinstance(visual.patch_embed.proj, BaseTunerLayer):
            adapter.remove_adapter(self._network, name)
            raise InputError(
                "the adapter changes visual.patch_embed.proj, whose adapters have to be merged",
                fix="Load it merged, VLM2Vec(folder), or name other target_modules.",
            )

    def _enable(self, *, enabled: bool) -> None:
        self.active_adapters()  # raises where there is none
        for module in self._network.modules():
            if isinstance(module, (BaseTunerLayer, AuxiliaryTrainingWrapper)):
                module.enable_adapters(enabled=enabled)
