"""The words of a profile, taken from the chat template that lies beside the weights."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase

from vlm2vec.backbones.layout import Layout
from vlm2vec.describe import shorten
from vlm2vec.errors import CheckpointError
from vlm2vec.json_file import read_json
from vlm2vec.profiles import Profile

__all__ = ["with_own_template"]

logger = logging.getLogger(__name__)

_OLDER_FILE = "chat_template.json"  # of processors, up to transformers 4.51
_TEXT = "\ue000"  # of no language: it stands for the text


def with_own_template(
    profile: Profile, tokenizer: PreTrainedTokenizerBase, folder: Path, layout: Layout
) -> Profile:
    """The profile with what the template writes around a picture and a text, the assistant's turn opened.

    Args:
        profile: A profile; one that has its own words is given back as it is.
        tokenizer: Of the checkpoint, with the template of its own files.
        folder: The checkpoint.
        layout: Of its network.

    Without a template, the profile's own words stay, and the log says so.

    Raises:
        CheckpointError: The template cannot be used, or it writes pictures and texts in some other way.
    """
    if profile.template == "profile":
        return profile
    if not (folder / _OLDER_FILE).is_file() and not tokenizer.chat_template:
        logger.warning(
            "%s has no chat template, which %s follows: the newer one is taken.", folder, profile.name
        )
        return replace(profile, template="profile")
    image = layout.image_token or ""
    shown = _rendered(tokenizer, folder, ["image", "text"])
    alone = _rendered(tokenizer, folder, ["text"])
    if shown.count(image) != 1 or shown.count(_TEXT) != 1 or alone.count(_TEXT) != 1:
        raise CheckpointError(
            f"its chat template does not write one {image} for a picture and then the text",
            fix="Name a Profile with its prompt: VLM2Vec(path, profile=...).",
            source=str(folder),
        )
    before, _, rest = shown.partition(image)
    between, _, after = rest.partition(_TEXT)
    text_before, _, text_after = alone.partition(_TEXT)
    return replace(
        profile,
        template="profile",
        prefix=before,
        joiner=between,
        suffix=after,
        text_prefix=text_before,
        text_suffix=text_after,
    )


def _rendered(tokenizer: PreTrainedTokenizerBase, folder: Path, kinds: Sequence[str]) -> str:
    parts: list[dict[str, Any]] = [
        {"type": kind, **({"text": _TEXT} if kind == "text" else {})} for kind in kinds
    ]
    file = folder / _OLDER_FILE
    try:
        template = read_json(file)["chat_template"] if file.is_file() else None
        rendered: str = tokenizer.apply_chat_template(
            [{"role": "user", "content": parts}],
            chat_template=template,
            tokenize=False,
            add_generation_prompt=True,
        )
    except Exception as error:  # a template is a program, and fails in its own way
        reason = f"{type(error).__name__}: {shorten(str(error), 300)}"
        raise CheckpointError(
            f"its chat template, which its profile asks for, cannot be used ({reason})",
            fix="Put the chat_template.jinja that it was published with into the folder.",
            source=str(folder),
        ) from error
    return rendered
