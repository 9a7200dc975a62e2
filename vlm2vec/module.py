"""Module 0 of the model: what sentence-transformers calls to get from inputs to token states."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import accumulate
from pathlib import Path
from typing import Any

import torch
from sentence_transformers.base.modules import Transformer
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from vlm2vec import profiles
from vlm2vec.arguments import whole_number
from vlm2vec.backbones import encode_forward
from vlm2vec.backbones.registry import layout_of
from vlm2vec.backbones.stock import forward as stock_forward
from vlm2vec.backbones.stock.layout import StockLayout
from vlm2vec.backbones.stock.network import say_slower
from vlm2vec.backbones.train_forward import hidden_states, language_states, media_features, vision_features
from vlm2vec.blocks.attention import Segments
from vlm2vec.blocks.device import one_thread_after_fork, to_device
from vlm2vec.blocks.options import AUTO, ForwardOptions
from vlm2vec.checkpoints.adapter import has_adapter, remove_adapter_files, save_adapter
from vlm2vec.checkpoints.fitting import check_network, check_tokenizer
from vlm2vec.checkpoints.load import (
    folders_of,
    load_network,
    load_tokenizer,
    name_embedded_base,
    resolve_folder,
)
from vlm2vec.checkpoints.own_template import with_own_template
from vlm2vec.compat import init_transformer
from vlm2vec.encoding.pack import Features, Packed, pack, pad
from vlm2vec.encoding.plan import Planner
from vlm2vec.encoding.prepare import Prepared, Preparer
from vlm2vec.encoding.prompt import IMAGE_TOKEN, VIDEO_TOKEN, with_default_instruction, with_role
from vlm2vec.encoding.saved_folder import write_processor_files
from vlm2vec.encoding.unpacked import Unpacked
from vlm2vec.errors import InputError, ProfileError, VLM2VecWarning
from vlm2vec.inputs.access import Allowed, FileAccess, check_file_access
from vlm2vec.inputs.parse import parse_input
from vlm2vec.inputs.text import check_text
from vlm2vec.json_file import read_json
from vlm2vec.load_settings import dtype_of, pixel_budget_of
from vlm2vec.media.limits import Limits
from vlm2vec.media.pixels import PixelRules
from vlm2vec.media.tiles import Tiling
from vlm2vec.notices import without_bars_in_logs
from vlm2vec.profiles import Profile
from vlm2vec.profiles.chat_template import chat_template

__all__ = ["InputModule"]


class InputModule(Transformer):  # type: ignore[misc]
    """Inputs to token states: prompts and pixels by profile, then the packed forward of the network.

    Args:
        network: A network of `vlm2vec.backbones`, without a language-model head.
        tokenizer: Of the network.
        profile: Prompt layout, positions and pixel rules.
        limits: What one input may cost.
        allow_urls: Whether a string under a media key may be a URL.
        allow_files: Whether paths are read: all, none, or what is below these folders.

    Attributes:
        folders: What it was loaded from: of an adapter, its base behind it; nothing where it was not loaded.
    """

    def __init__(
        self,
        network: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        profile: Profile,
        *,
        limits: Limits | None = None,
        allow_urls: bool = False,
        allow_files: FileAccess = True,
    ) -> None:
        # The prompts this model was trained with, for whoever opens a saved folder with other software.
        layout = layout_of(network)
        tokenizer.chat_template = chat_template(
            profile,
            image_token=layout.image_token or IMAGE_TOKEN,
            video_token=layout.video_token or layout.image_token or VIDEO_TOKEN,
            bos_token="" if profile.bos == "none" else tokenizer.bos_token,
        )
        # It writes every token, so the tokenizer must add none, as that of Qwen3-VL-Embedding does.
        appends = tokenizer.backend_tokenizer.post_processor
        if appends is not None and appends.num_special_tokens_to_add(False):
            tokenizer.backend_tokenizer.post_processor = None
        init_transformer(self, network, tokenizer)
        self.profile = profile
        self._fitting: Profile | None = None  # the last profile that was found to fit
        if not isinstance(limits, Limits | None):
            raise TypeError(f"limits is a vlm2vec.Limits, not {type(limits).__name__}.")
        self.limits = limits or Limits()
        self.allow_urls = allow_urls
        self.allow_files = check_file_access(allow_files)
        self.folders: tuple[Path, ...] = ()

    @property
    def allowed(self) -> Allowed:
        """Whether it reads the URLs and files that inputs name, as `parse_input` takes it."""
        return Allowed(allow_urls=self.allow_urls, allow_files=self.allow_files)

    @property
    def revision(self) -> str | None:
        """The commit of the repository that it was loaded from; `None` where that is not known."""
        if not self.folders or self.folders[0].parent.name != "snapshots":
            return None
        return self.folders[0].name

    @classmethod
    def from_checkpoint(
        cls,
        name: str | Path,
        *,
        profile: str | Profile | None = None,
        base_model: str | Path | None = None,
        dtype: torch.dtype | None = None,
        device: torch.device | None = None,
        limits: Limits | None = None,
        allow_urls: bool = False,
        allow_files: FileAccess = True,
        pixel_budget: Mapping[str, int] | None = None,
        **hub: Any,
    ) -> InputModule:
        """Load a folder, or a repository on the hub: weights, merged or with an adapter.

        Args:
            name: Folder or repository.
            profile: The profile or its name; by default the folder's own, or the repository's if it is known.
            base_model: Base of an adapter, where its own word is not to be followed.
            dtype: Type of the weights; by default the one that suits `device`, or without a device the
                checkpoint's own.
            device: Where the model will run.
            limits: What one input may cost.
            allow_urls: Whether a string under a media key may be a URL.
            allow_files: Whether paths are read: all, none, or what is below these folders.
            pixel_budget: `min_pixels` and `max_pixels` of a picture in place of the profile's.
            hub: `revision`, `token`, `cache_dir`, `local_files_only`.

        Raises:
            CheckpointError: The files are missing, incomplete, or of another model.
            InputError: Its pictures have no such budget.
            ProfileError: No profile is known for this checkpoint.

        Warns:
            VLM2VecWarning: A profile is named, and the checkpoint says another.
        """
        # Of a repository before gigabytes are fetched for nothing; a folder may have any name.
        path = Path(name)
        published = (
            profiles.of_folder(path.absolute()) if path.is_dir() else profiles.of_repository(str(name))
        )
        given = profiles.get(profile) if isinstance(profile, str) else profile
        folder = resolve_folder(name, **hub)
        if isinstance(profile, str):
            _warn_of_another(profile, folder, published, source=str(name))
        chosen = given or Profile.load(folder) or published
        if chosen is None:
            raise ProfileError(
                "this checkpoint does not say which profile it follows",
                fix="Name it, VLM2Vec(path, profile=...) or --profile: "
                f"one of {', '.join(_fitting(folder))}.",
                source=str(name),
            )
        network = load_network(
            folder, base_model=base_model, profile=chosen, dtype=dtype, device=device, **hub
        )
        if isinstance(layout := layout_of(network), StockLayout):
            say_slower(layout.label)
        # What an adapter that is trained on this network names as its base: never a path of a cache.
        network.name_or_path = str(name)
        tokenizer = load_tokenizer(folder, network.config, base_model=base_model, **hub)
        chosen = with_own_template(chosen, tokenizer, folder, layout_of(network))
        check_tokenizer(chosen, tokenizer, source=str(name))
        if pixel_budget:
            chosen = replace(chosen, pixels=chosen.pixels.with_budget(**pixel_budget))
        allowed = Allowed(allow_urls=allow_urls, allow_files=allow_files)
        module = cls(network, tokenizer, chosen, limits=limits, **allowed)
        module.folders = folders_of(folder, base_model, **hub)
        return module

    @classmethod
    def load(
        cls,
        model_name_or_path: str,
        *,
        subfolder: str = "",
        token: bool | str | None = None,
        cache_folder: str | None = None,
        revision: str | None = None,
        local_files_only: bool = False,
        model_kwargs: dict[str, Any] | None = None,
        processor_kwargs: dict[str, Any] | None = None,
        init_defaults: dict[str, Any] | None = None,
        **_: Any,
    ) -> InputModule:
        """As sentence-transformers loads a module; `init_defaults` are arguments of `from_checkpoint`."""
        return cls.from_checkpoint(
            str(Path(model_name_or_path) / subfolder) if subfolder else model_name_or_path,
            token=token,
            cache_dir=cache_folder,
            revision=revision,
            local_files_only=local_files_only,
            dtype=dtype_of(model_kwargs),
            pixel_budget=pixel_budget_of(processor_kwargs),
            **(init_defaults or {}),
        )

    @property
    def preparer(self) -> Preparer:
        """What decodes and tokenises inputs for this model, as it is set now."""
        return self.preparer_of(self.profile)

    def preparer_of(self, profile: Profile) -> Preparer:
        """The same by another profile.

        Raises:
            CheckpointError: It is for another network, or writes control tokens that the tokenizer lacks.
        """
        if profile != self._fitting:
            source = str(self.model.name_or_path)
            check_network(profile, self.model.config, source=source)
            check_tokenizer(profile, self.tokenizer, source=source)
            self._fitting = profile
        context = self.model.config.text_config.max_position_embeddings
        given = self.max_seq_length
        max_tokens = min(whole_number("max_seq_length", given), context) if given else context
        start_ids = () if profile.bos == "none" else (self.tokenizer.bos_token_id,)
        return Preparer(Planner(self.tokenizer, profile, self.limits, max_tokens, self._tiling, start_ids))

    @property
    def _tiling(self) -> Tiling | None:
        """How the network takes pictures, where it takes them in tiles."""
        layout = layout_of(self.model)
        return layout.tiling(self.model.config) if isinstance(layout, StockLayout) else None

    def preprocess(
        self,
        inputs: Sequence[Any],
        prompt: str | None = None,
        *,
        truncate: bool = False,
        task: str | None = None,
        **_: Any,
    ) -> Features:
        """Features of a batch, as a trainer wants them.

        Args:
            inputs: Anything that `encode` takes, or inputs already parsed.
            prompt: Instruction of the inputs that have none of their own.
            truncate: As in `encode`.
            task: "query" or "document", what the inputs are, if it is known.

        Raises:
            VLM2VecError: One of the inputs cannot be embedded; its index says which.
        """
        if not inputs:
            return {}
        one_thread_after_fork()
        if isinstance(layout := layout_of(self.model), StockLayout):
            raise InputError(
                f"{layout.label} runs one input at a time, and has no padded features",
                fix="Call encode, or train it with fit.",
            )
        if prompt is not None:
            check_text(prompt, "the prompt")
        items = [parse_input(item, index=index, **self.allowed) for index, item in enumerate(inputs)]
        items = [with_role(with_default_instruction(item, prompt), task) for item in items]
        return pad(self.preparer.prepare_all(items, truncate=truncate))

    def pack(
        self, batch: Sequence[Prepared], rules: PixelRules, *, pooled_only: bool, share_prefixes: bool
    ) -> Packed | Unpacked:
        """A batch as `forward` takes it, as `packed`; see `vlm2vec.encoding.pack.pack`."""
        if isinstance(layout := layout_of(self.model), StockLayout):
            return Unpacked(batch, pooled_only, has_positions=layout.tiles is None)
        return pack(batch, rules, pooled_only=pooled_only, share_prefixes=share_prefixes)

    def forward(self, features: dict[str, Any], **_: Any) -> dict[str, Any]:
        """Add `token_embeddings` `(1, tokens, hidden)`, the inputs one after the other, and their offsets.

        In training, with `output_hidden_states` of the network's configuration, also `all_layer_embeddings`,
        which losses of sentence-transformers read: what goes into each layer, and `token_embeddings`.

        Args:
            features: As `pad` makes them, on the device of the network; or `packed`, a `Packed` batch, which
                is computed without a graph, and `options`, as the inference forward takes them. With `learn`
                a packed batch is computed as in training, from `media` where its `media_of` is known.
        """
        if features.get("learn", False):
            hidden, offsets = self._learn(features["packed"], features.get("media"))
        elif "packed" in features:
            hidden, offsets = self._encode(features["packed"], features.get("options", AUTO))
        else:
            below: list[Tensor] | None = [] if self.model.config.output_hidden_states else None
            hidden, offsets = self._train(features, below)
            if below is not None:
                states = [*below, hidden]
                features["all_layer_embeddings"] = [state.float().unsqueeze(0) for state in states]
        # In float32 from here on, so that unit length means unit length in half precision too.
        features["token_embeddings"] = hidden.float().unsqueeze(0)
        features["cu_seq_lens_q"] = offsets
        return features

    @torch.no_grad()
    def _encode(self, packed: Packed | Unpacked, options: ForwardOptions) -> tuple[Tensor, Tensor]:
        if isinstance(packed, Unpacked):
            return self._alone(packed)
        media = (
            None
            if packed.vision is None
            else encode_forward.media_features(self.model, packed.vision, options=options)
        )
        states = encode_forward.language_states(self.model, packed.language, media, options=options)
        return states.index_select(0, packed.rows), packed.offsets

    def _alone(self, batch: Unpacked) -> tuple[Tensor, Tensor]:
        """States of inputs one by one, by transformers' own forward."""
        features = {
            digest: stock_forward.media_features(self.model, to_device(medium, self.model.device))
            for digest, medium in batch.media.items()
        }
        states = stock_forward.language_states(self.model, batch.rows(features, self.model.device))
        if batch.pooled_only:
            states = [of_input[-1:] for of_input in states]
        offsets = torch.tensor([0, *accumulate(map(len, states))], dtype=torch.int32)
        return torch.cat(states), offsets.to(self.model.device)

    def _learn(self, packed: Packed | Unpacked, media: Tensor | None) -> tuple[Tensor, Tensor]:
        if isinstance(packed, Unpacked):
            return self._alone(packed)
        states = language_states(
            self.model, packed.language, self.media_of(packed) if media is None else media
        )
        return states.index_select(0, packed.rows), packed.offsets

    def media_of(self, packed: Packed) -> Tensor | None:
        """The features of the media of a batch, as in training: `(media tokens, hidden)`."""
        return None if packed.vision is None else vision_features(self.model, packed.vision)

    def _train(self, features: Features, below: list[Tensor] | None) -> tuple[Tensor, Tensor]:
        present = features["attention_mask"].bool()
        segments = to_device(Segments.of(present.sum(dim=1).tolist()), present.device)
        images, clips = self._media(features)
        hidden = hidden_states(
            self.model,
            features["input_ids"][present],
            features["position_ids"][present],
            segments,
            images=images,
            clips=clips,
            below=below,
        )
        return hidden, segments.offsets

    def _media(self, features: Features) -> tuple[Tensor | None, Tensor | None]:
        """The features of pictures and of clips, from one pass through the vision tower."""
        stills, clips = features.get("pixel_values"), features.get("pixel_values_videos")
        if stills is None and clips is None:
            return None, None
        grids = [features[name] for name in ("image_grid_thw", "video_grid_thw") if name in features]
        merged = media_features(self.model, stills, clips, torch.cat(grids))
        of_stills = 0 if stills is None else len(stills) // self.profile.pixels.merge_size**2
        return merged[:of_stills] if of_stills else None, None if clips is None else merged[of_stills:]

    def _apply(self, change: Callable[..., Tensor], recurse: bool = True) -> InputModule:
        """As torch moves and casts a module, except that rotary frequencies are never rounded.

        Far positions need every bit of them: `model.half()` would turn long inputs into others.
        """
        exact = [
            (module, name, values)
            for module in self.modules()
            for name, values in module.named_buffers(recurse=False)
            if name.endswith("inv_freq")
        ]
        super()._apply(change, recurse)
        for module, name, values in exact:
            setattr(module, name, values.to(getattr(module, name).device))
        return self

    def save(self, output_path: str, *_: Any, **__: Any) -> None:
        """Write weights, tokenizer, profile and the stock processor's settings, under stock class names."""
        folder = Path(output_path)
        if has_adapter(self.model):
            save_adapter(self.model, folder)
            name_embedded_base(folder)
        else:
            with without_bars_in_logs():
                self.model.save_pretrained(folder)
            remove_adapter_files(folder)
        self.tokenizer.save_pretrained(folder)
        self.profile.save(folder)
        write_processor_files(folder, self.profile, layout_of(self.model), tiling=self._tiling)
        self.save_config(output_path)


def _fitting(folder: Path) -> list[str]:
    """Names of the profiles for the network of a folder; of all, where it is not known."""
    try:
        config = read_json(folder / "config.json")
    except (OSError, ValueError):
        return profiles.names()
    network = config.get("model_type") if isinstance(config, dict) else None
    fitting = [name for name in profiles.names() if profiles.get(name).network == network]
    return fitting or profiles.names()


def _warn_of_another(named: str, folder: Path, published: Profile | None, *, source: str) -> None:
    """Vectors of a model under the profile of another family look fine, and are wrong."""
    with suppress(ProfileError):  # one that is damaged is just what a name is given for
        own = Profile.load(folder) or published
        if own is not None and own.name != named:
            warnings.warn(
                f"{source}: this model follows the profile {own.name}, and is loaded with {named}: "
                "its prompts and pixels are not those that it knows. Leave the profile out, unless that is "
                "meant",
                VLM2VecWarning,
                stacklevel=2,
            )
