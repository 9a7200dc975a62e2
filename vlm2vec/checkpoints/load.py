"""Loading a network from a folder, in any of the layouts it is published in.

The hub's flat layout (`visual.*`, `model.*`) and the newer one are renamed by transformers; adapters are
merged by `vlm2vec.checkpoints.adapter`. Whatever does not fit exactly is a `CheckpointError`.
"""

from __future__ import annotations

import json
import logging
import math
import re
from contextlib import suppress
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
from safetensors import SafetensorError, safe_open
from transformers import (
    AutoConfig,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from vlm2vec.arguments import is_number, is_whole, possible_path
from vlm2vec.backbones.layout import Layout
from vlm2vec.backbones.registry import LAYOUTS, classes_of
from vlm2vec.backbones.stock.layout import StockLayout
from vlm2vec.backbones.stock.network import StockNetwork
from vlm2vec.blocks.attention import use_packed_attention
from vlm2vec.blocks.device import default_dtype
from vlm2vec.checkpoints.adapter import changes_base, load_adapter, merge_adapter
from vlm2vec.checkpoints.fitting import check_network
from vlm2vec.checkpoints.folder import ADAPTER_CONFIG, require_complete, require_model
from vlm2vec.checkpoints.repository import not_there
from vlm2vec.describe import describe_value, shorten
from vlm2vec.errors import CheckpointError
from vlm2vec.json_file import read_json
from vlm2vec.notices import without_bars_in_logs, without_news
from vlm2vec.profiles import Profile

__all__ = [
    "EMBEDDED_MODEL",
    "folders_of",
    "load_network",
    "load_tokenizer",
    "name_embedded_base",
    "named_base",
    "resolve_folder",
]

logger = logging.getLogger(__name__)

EMBEDDED_MODEL = Path(__file__).parents[1] / "assets" / "embedded"
"""Folder of the small model inside the package."""

_EMBEDDED_NAME = "vlm2vec: the embedded model"

# The head over the vocabulary is what an embedding model has no use for.
_NOT_NEEDED = frozenset({"lm_head.weight"})

# Parameters for each number that is stored: a few where weights are quantised, many where sizes are invented.
_MOST_INVENTED = 4
_MOST_LAYERS = 10_000  # of any network that fits a machine, by far

_NO_LIMIT = 10**30  # tokens, as transformers writes it

# transformers knows the hub's old names, and the new ones of the language model, but not this one.
_NEWER_NAMES = {r"^model\.visual\.": "visual."}


def resolve_folder(name: str | Path, **hub: Any) -> Path:
    """The local folder of a checkpoint, downloaded from the hub unless it is one already.

    Args:
        name: A folder, or a repository on the hub.
        hub: `revision`, `token`, `cache_dir`, `local_files_only`, as `huggingface_hub.snapshot_download`.

    Raises:
        CheckpointError: There is no such folder, and no such repository can be reached; or it has no model.
    """
    folder = possible_path(name, error=CheckpointError)
    if folder.is_dir():
        require_model(folder, str(name))
        return folder
    try:
        # Top level only: what lies deeper are other checkpoints, or modules that are fetched by themselves.
        hub = {"ignore_patterns": ["*/*"], **hub}
        folder = Path(snapshot_download(str(name), allow_patterns=["*.json", "*.jinja", "*.txt"], **hub))
        require_model(folder, str(name))
        # Weights are picked by name, so that no second format, and no merged copy, is downloaded.
        weights = "adapter_model" if (folder / ADAPTER_CONFIG).is_file() else "*"
        for pattern in (f"{weights}.safetensors", f"{weights}.bin"):
            snapshot_download(str(name), allow_patterns=[pattern], **hub)
            if any(folder.glob(pattern)):
                break
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise not_there(str(name), error) from error
    return folder


def load_network(
    folder: Path,
    *,
    base_model: str | Path | None = None,
    profile: Profile | None = None,
    dtype: torch.dtype | None = None,
    device: torch.device | None = None,
    **hub: Any,
) -> PreTrainedModel:
    """The network of a checkpoint folder, adapters merged, ready for the packed forward, on the CPU.

    Args:
        folder: Holds weights, or an adapter whose configuration names its base model, which may be one too.
        base_model: Folder or repository of an adapter's base, where its own word is not to be followed.
        profile: What the checkpoint follows; one that is for another network is an error, before any weights
            are read.
        dtype: Type of the weights; by default the one that `default_dtype` gives for `device`, or without one
            the checkpoint's own.
        device: Where the network will run.
        hub: As `resolve_folder`, for a base model on the hub.

    Raises:
        CheckpointError: Of a network that there is none of here, or with missing, unexpected or misshapen
            weights.
    """
    if base_model is not None and not (folder / ADAPTER_CONFIG).is_file():
        raise CheckpointError(
            "base_model is given, and this is no adapter", fix="Leave it out.", source=str(folder)
        )
    *adapters, folder = folders_of(folder, base_model, **hub)
    config = _config(folder)
    if profile is not None:
        check_network(profile, config, source=str(folder))
    parameters = _count_parameters(folder, config)
    own = config.dtype or config.text_config.dtype or _stored_dtype(folder)
    if dtype is None:
        dtype = own if device is None else default_dtype(device, own, parameters=parameters)
    # An adapter is merged into the weights as they were stored, and each layer gets its type when it is. One
    # that changes other layers too, or them first, needs all of it exact.
    if adapters:
        held = torch.float32 if any(changes_base(adapter) for adapter in adapters) else own
        network = _load_weights(folder, config, held)
    else:
        network = _load_weights(folder, config, dtype)
    for adapter in reversed(adapters):
        logger.info("Merging the adapter in %s into %s", adapter, folder)
        load_adapter(network, adapter)
        merge_adapter(network, dtype)
    network.config.dtype = dtype
    # Parameters alone: rounding the rotary frequencies would move every position.
    for parameter in network.parameters():
        parameter.data = parameter.data.to(dtype)
    return network


def folders_of(folder: Path, base_model: str | Path | None = None, **hub: Any) -> tuple[Path, ...]:
    """The folder of a checkpoint; of an adapter, that of its base behind it, which may be an adapter too.

    Args:
        folder: The checkpoint.
        base_model: As `load_network`.
        hub: As `resolve_folder`, for a base model on the hub.

    Raises:
        CheckpointError: A base is not there, or is the adapter itself.
    """
    folders = [folder]
    while (folder / ADAPTER_CONFIG).is_file():
        folder, base_model = _base_of_adapter(folder, base_model, hub), None
        if folder.resolve() in {known.resolve() for known in folders}:
            raise CheckpointError(
                "the adapter names itself as its base", fix="Name another base_model.", source=str(folder)
            )
        folders.append(folder)
    return tuple(folders)


def load_tokenizer(
    folder: Path,
    config: PreTrainedConfig,
    *,
    base_model: str | Path | None = None,
    **hub: Any,
) -> PreTrainedTokenizerBase:
    """The tokenizer of a checkpoint folder, or of its base model where an adapter brings none.

    Args:
        folder: The checkpoint.
        config: Of its network.
        base_model: As `load_network`.
        hub: As `resolve_folder`, for a base model on the hub.

    Raises:
        CheckpointError: There is none, or its media tokens are not those of the model's configuration.
    """
    while not _has_tokenizer(folder) and (folder / ADAPTER_CONFIG).is_file():
        folder, base_model = _base_of_adapter(folder, base_model, hub), None
    if not _has_tokenizer(folder):
        # transformers would make an empty tokenizer up.
        raise CheckpointError(
            "there is no tokenizer", fix="A model folder needs tokenizer.json.", source=str(folder)
        )
    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(folder, config=config)
        tokenizer("a")  # some settings are looked at only now
        tokenizer.model_max_length = _checked_length(tokenizer.model_max_length)
    except Exception as error:  # the tokenizers library raises nothing narrower
        raise CheckpointError(
            f"the tokenizer cannot be read ({_reason(error)})",
            fix="Download the folder again; it may be incomplete.",
            source=str(folder),
        ) from error
    layout = LAYOUTS[config.model_type]
    for token, number in ((layout.image_token, "image_token_id"), (layout.video_token, "video_token_id")):
        if token is None:
            continue
        expected = getattr(config, number)
        if (found := tokenizer.convert_tokens_to_ids(token)) != expected:
            raise CheckpointError(
                f"the tokenizer has {token} at {found}, the model's configuration at {expected}",
                fix="Use the tokenizer that the model was trained with.",
                source=str(folder),
            )
    return tokenizer


def _checked_length(length: Any) -> int:
    """The most tokens that a tokenizer says it is for; some files have a float, such as 1e30."""
    if not (is_number(length) and length >= 1):  # nor NaN
        raise ValueError(f"model_max_length is {length!r}")
    return int(min(length, _NO_LIMIT))


def named_base(config: Path) -> str | None:
    """The folder or repository that an adapter's configuration names as its base.

    Raises:
        CheckpointError: It cannot be read.
    """
    try:
        named = read_json(config)["base_model_name_or_path"]
    except KeyError:
        named = None
    except (OSError, ValueError, TypeError) as error:
        raise CheckpointError(
            f"{ADAPTER_CONFIG} cannot be read ({_reason(error)})",
            fix="Download the folder again; it may be incomplete.",
            source=str(config.parent),
        ) from error
    if not isinstance(named, str | None):
        return None
    return str(EMBEDDED_MODEL) if named == _EMBEDDED_NAME else named


def name_embedded_base(folder: Path) -> None:
    """Where a saved adapter names the embedded model as its base, let it name no path of this machine."""
    config = folder / ADAPTER_CONFIG
    if config.is_file():
        content = json.loads(config.read_text(encoding="utf-8"))
        if content.get("base_model_name_or_path") == str(EMBEDDED_MODEL):
            content["base_model_name_or_path"] = _EMBEDDED_NAME
            config.write_text(json.dumps(content, indent=2, sort_keys=True), encoding="utf-8")


def _has_tokenizer(folder: Path) -> bool:
    return (folder / "tokenizer.json").is_file() or (folder / "vocab.json").is_file()


def _config(folder: Path) -> PreTrainedConfig:
    _check_layers(folder)
    try:
        config = _read_config(folder)
    except Exception as error:  # each field of a configuration fails in its own way
        raise CheckpointError(
            f"the configuration cannot be read ({_reason(error)})",
            fix=f"A model folder needs the config.json of one of {_networks()}.",
            source=str(folder),
        ) from error
    if config.model_type not in LAYOUTS:
        raise CheckpointError(
            f"this is a {config.model_type!r} model",
            fix=f"This version loads checkpoints on {_networks()}.",
            source=str(folder),
        )
    network = classes_of(config)
    # A configuration may call itself by one name and be of the class of another.
    complaints = ["its configuration is of another class"] if type(config) is not network.config_class else []
    try:
        complaints = complaints or [
            *_other_sizes(config, network.layout),
            *_other_sections(config.text_config, network.layout),
            *_no_context(config.text_config),
            *network.check(config),
        ]
    except Exception as error:  # a number in the place of a list, or the like
        complaints = [_reason(error)]
    if complaints:
        what = "; ".join(shorten(complaint, 300) for complaint in complaints)
        raise CheckpointError(
            f"the configuration is none of {network.layout.label} ({what})",
            fix="Check that config.json is the one that the checkpoint was published with.",
            source=str(folder),
        )
    return config


def _check_layers(folder: Path) -> None:
    """Refuse an invented number of layers before transformers makes a list with a name for each."""
    try:
        content = read_json(folder / "config.json")
    except (OSError, ValueError):
        return  # whoever reads the file says what is wrong with it
    content = content if isinstance(content, dict) else {}
    for part in (content, content.get("text_config"), content.get("vision_config")):
        for name in ("num_hidden_layers", "depth"):
            layers = part.get(name) if isinstance(part, dict) else None
            if isinstance(layers, int) and layers > _MOST_LAYERS:
                raise CheckpointError(
                    f"the configuration has {name} above {_MOST_LAYERS:,}",
                    fix="Check that config.json is the one that the checkpoint was published with.",
                    source=str(folder),
                )


def _read_config(folder: Path) -> PreTrainedConfig:
    """The configuration by transformers, or by a class of our own for a network that it has not."""
    content = read_json(folder / "config.json")
    model_type = content.get("model_type") if isinstance(content, dict) else None
    layout = LAYOUTS.get(model_type) if isinstance(model_type, str) else None
    if isinstance(layout, StockLayout) and not layout.config_class.startswith("transformers."):
        config_class: Any = StockNetwork(layout).config_class
        config: PreTrainedConfig = config_class.of_folder(folder)
        return config
    return AutoConfig.from_pretrained(folder)


def _other_sizes(config: Any, layout: Layout) -> list[str]:
    names = {"merge_size": "spatial_merge_size"}
    vision, sizes = config.vision_config, ("patch_size", "merge_size", "temporal_patch_size")
    given = {size: getattr(vision, names.get(size, size), getattr(layout, size)) for size in sizes}
    return [f"{size} is {value}" for size, value in given.items() if value != getattr(layout, size)]


def _other_sections(config: Any, layout: Layout) -> list[str]:
    """Rotary sections of a language model that are not those of its heads."""
    rotary = config.rope_parameters
    if isinstance(layout, StockLayout) and "mrope_section" not in (rotary or {}):
        return []  # its positions have one axis, or its own code knows the sections
    sections = rotary["mrope_section"]
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    size = int(size * rotary.get("partial_rotary_factor", 1.0))
    fit = len(sections) == 3 and all(section > 0 for section in sections) and 2 * sum(sections) == size
    return [] if fit else [f"rotary sections are {sections}, and heads turn {size} components"]


def _no_context(config: Any) -> list[str]:
    length = config.max_position_embeddings
    return [] if is_whole(length, 1) else [f"its context is {describe_value(length)}"]


def _reason(error: Exception) -> str:
    """What another library says, in a line."""
    return f"{type(error).__name__}: {shorten(str(error), 300)}"


def _networks() -> str:
    """What people call the networks there are."""
    *others, last = (layout.label for layout in LAYOUTS.values())
    return f"{', '.join(others)} and {last}"


def _stored_dtype(folder: Path) -> torch.dtype:
    """The type of the first weights in a folder whose configuration does not say it."""
    for file in sorted(folder.glob("*.safetensors")):
        with suppress(SafetensorError), safe_open(file, "pt") as weights:
            for key in weights.keys():  # noqa: SIM118  # not a dict
                dtype: torch.dtype = weights.get_tensor(key).dtype
                return dtype
    return torch.float32


def _count_parameters(folder: Path, config: PreTrainedConfig) -> int:
    """How many parameters a configuration describes, which must be about those that the folder holds.

    Raises:
        CheckpointError: It describes no network, or a far larger one, for which memory would be taken.
    """
    held = _count_stored(folder)
    try:
        vision = config.vision_config
        layers = (
            config.text_config.num_hidden_layers,
            getattr(vision, "depth", None) or vision.num_hidden_layers,
        )
        if held is not None and sum(layers) > held[0]:
            problem = f"has {sum(layers):,} layers, and the folder {held[0]:,} weights"
        else:
            with torch.device("meta"):
                count = int(classes_of(config).model_class(config).num_parameters())
            if held is None or count <= _MOST_INVENTED * held[1]:
                return count
            problem = f"describes {count:,} parameters, and the folder holds {held[1]:,}"
    except Exception as error:  # torch, transformers and Python each refuse sizes in their way
        problem = f"describes no network ({_reason(error)})"
    raise CheckpointError(
        f"the configuration {problem}",
        fix="Check that config.json is the one that the checkpoint was published with.",
        source=str(folder),
    )


def _count_stored(folder: Path) -> tuple[int, int] | None:
    """How many weights, and numbers in them, the headers of a folder's safetensors name; `None` for none."""
    weights = numbers = 0
    for file in sorted(folder.glob("*.safetensors")):
        with suppress(SafetensorError), safe_open(file, "pt") as stored:
            for key in stored.keys():  # noqa: SIM118  # not a dict
                weights += 1
                numbers += math.prod(stored.get_slice(key).get_shape())
    return (weights, numbers) if weights else None


def _load_weights(folder: Path, config: PreTrainedConfig, dtype: torch.dtype) -> PreTrainedModel:
    layout = LAYOUTS[config.model_type]
    stock = layout if isinstance(layout, StockLayout) else None
    renamed = {"key_mapping": _NEWER_NAMES if stock is None else _other_names(folder, stock)}
    try:
        # Of the keys that differ, which it reports in a table, `require_complete` knows which matter.
        with without_bars_in_logs(), without_news("transformers.modeling_utils", "LOAD REPORT"):
            network, report = classes_of(config).model_class.from_pretrained(
                folder, config=config, dtype=dtype, output_loading_info=True, **renamed
            )
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # a header, an index or a size that makes no sense fails anywhere
        raise CheckpointError(
            f"the weights cannot be loaded ({_reason(error)})",
            fix="Download the folder again; it may be incomplete.",
            source=str(folder),
        ) from error
    require_complete(
        folder,
        missing=report["missing_keys"],
        unexpected=(key for key in report["unexpected_keys"] if not _is_not_needed(key, stock)),
        misshapen=(str(key) for key in report["mismatched_keys"]),
    )
    if stock is None:
        use_packed_attention(network.config)
    return network


def _is_not_needed(key: str, layout: StockLayout | None) -> bool:
    patterns = () if layout is None else layout.not_needed
    return key in _NOT_NEEDED or any(fnmatchcase(key, pattern) for pattern in patterns)


def _other_names(folder: Path, layout: StockLayout) -> dict[str, str] | None:
    """Names of weights to be renamed, where a folder has them in place of others."""
    if not layout.stands_for:
        return None
    stored: set[str] = set()
    for file in folder.glob("*.safetensors"):
        with suppress(SafetensorError), safe_open(file, "pt") as weights:
            stored.update(weights.keys())
    missing = {name: usual for name, usual in layout.stands_for.items() if usual not in stored}
    return {f"^{re.escape(name)}$": usual for name, usual in missing.items()} or None


def _base_of_adapter(folder: Path, base_model: str | Path | None, hub: dict[str, Any]) -> Path:
    # The revision is the adapter's, not its base model's.
    hub = {key: value for key, value in hub.items() if key != "revision"}
    if base_model is not None:
        return resolve_folder(base_model, **hub)
    named = named_base(folder / ADAPTER_CONFIG)
    if not named:
        raise CheckpointError(
            f"{ADAPTER_CONFIG} does not name its base model",
            fix="Name it: VLM2Vec(path, base_model=...).",
            source=str(folder),
        )
    for beside in (folder, folder.parent):
        if (beside / str(named)).is_dir():
            return beside / str(named)
    return resolve_folder(named, **hub)
