"""Chat messages: dicts with a role and a content, as chat models take them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vlm2vec.describe import describe_value, shorten
from vlm2vec.errors import InputError
from vlm2vec.inputs.composed import Content, parse_parts
from vlm2vec.inputs.options import OPTIONS
from vlm2vec.inputs.parts import Part, Text
from vlm2vec.inputs.text import check_text

__all__ = ["is_message", "is_content_part", "parse_conversation", "parse_content_part"]

_INSTRUCTION_ROLES = ("system", "developer")
_CONTENT_ROLES = ("user", "assistant", "query", "document")

# Type of a content part -> our key, and the keys that may hold its value.
_PART_TYPES = {
    "text": ("text", ("text",)),
    "input_text": ("text", ("text",)),
    "image": ("image", ("image", "path", "url")),
    "image_url": ("image", ("image_url",)),
    "input_image": ("image", ("image_url",)),
    "video": ("video", ("video", "path", "url")),
    "video_url": ("video", ("video_url",)),
    "pdf": ("pdf", ("pdf", "path", "url")),
}


def is_message(value: object) -> bool:
    """Whether `value` is one message."""
    return isinstance(value, Mapping) and "role" in value and "content" in value


def is_content_part(value: object) -> bool:
    """Whether `value` is one part of a message's content."""
    return isinstance(value, Mapping) and "type" in value


def parse_conversation(messages: Sequence[Any]) -> Content:
    """The content of a conversation: its turns in order, the system message being the instruction.

    Args:
        messages: Dicts with `role` and `content`; a content is a string or a list of content parts.

    Raises:
        InputError: A message or one of its parts has a wrong form, or there is nothing to embed.

    Example:
        >>> turns = [{"role": "system", "content": "Find it."}, {"role": "user", "content": "a cat"}]
        >>> parse_conversation(turns)
        Content(parts=(Text(text='a cat'),), instruction='Find it.', prompt=None, bare_tokens=False)
    """
    parts: list[Part] = []
    instruction: str | None = None
    for message in messages:
        role, content = _check_message(message)
        new = _parse_content(content)
        if role in _CONTENT_ROLES:
            parts += new
        elif instruction is None:
            instruction = _instruction(new)
        else:
            raise InputError("the conversation has two system messages", fix="Join them into one.")
    if not parts:
        raise InputError("the conversation has no content to embed", fix="Add a message with the role user.")
    return Content(tuple(parts), instruction)


def parse_content_part(part: Mapping[Any, Any]) -> tuple[Part, ...]:
    """The part for one content part, such as `{"type": "image_url", "image_url": {"url": "data:..."}}`.

    Raises:
        InputError: Its type is unknown, or it does not hold what its type says.
    """
    kind = part.get("type")
    if not isinstance(kind, str) or kind not in _PART_TYPES:
        name = shorten(kind, 30) if isinstance(kind, str) else describe_value(kind)
        raise InputError(
            f"a content part has the unknown type {name}", fix=f"The types are {', '.join(_PART_TYPES)}."
        )
    key, holders = _PART_TYPES[kind]
    holder = next((name for name in holders if name in part), None)
    if holder is None:
        raise InputError(f'the content part of type {kind} has no "{holders[0]}"', fix=f'Add "{holders[0]}".')
    rest = {name: value for name, value in part.items() if name not in ("type", holder)}
    value = _inner_url(part[holder], kind) if kind.endswith("_url") or kind == "input_image" else part[holder]
    return parse_parts({key: value, **rest}, (key, *OPTIONS))


def _check_message(message: Any) -> tuple[str, Any]:
    if not is_message(message):
        raise InputError(
            f"{describe_value(message)} stands among messages",
            fix='Every message is a dict with "role" and "content".',
        )
    if extra := [key for key in message if key not in ("role", "content")]:
        raise InputError(
            f"a message has the unknown key {describe_value(extra[0])}",
            fix='Its keys are "role" and "content"; options stand beside the media, in its content part.',
        )
    role = message["role"]
    if not isinstance(role, str) or role not in (*_INSTRUCTION_ROLES, *_CONTENT_ROLES):
        raise InputError(
            f"a message has the unknown role {describe_value(role)}",
            fix=f"The roles are {', '.join((*_INSTRUCTION_ROLES, *_CONTENT_ROLES))}.",
        )
    return role, message["content"]


def _parse_content(content: Any) -> list[Part]:
    if isinstance(content, str):
        return [Text(check_text(content, "the content"))]
    if not isinstance(content, (list, tuple)):
        raise InputError(
            f"a message's content is {describe_value(content)}",
            fix="Pass a string or a list of content parts.",
        )
    parts: list[Part] = []
    for part in content:
        if isinstance(part, str):
            parts.append(Text(check_text(part, "the content")))
        elif is_content_part(part):
            parts += parse_content_part(part)
        else:
            raise InputError(
                f"{describe_value(part)} stands among content parts",
                fix='A content part is a dict with a type, such as {"type": "text", "text": "..."}.',
            )
    return parts


def _instruction(parts: list[Part]) -> str:
    texts = [part.text for part in parts if isinstance(part, Text)]
    if len(texts) < len(parts):
        raise InputError("the system message holds media", fix="Put media into a message with the role user.")
    return "".join(texts)


def _inner_url(value: Any, kind: str) -> Any:
    """OpenAI nests the URL: {"url": "data:...", "detail": "auto"}."""
    if not isinstance(value, Mapping):
        return value
    if extra := [key for key in value if key not in ("url", "detail")]:
        raise InputError(f"{kind} has the unknown key {describe_value(extra[0])}", fix='Its key is "url".')
    detail = value.get("detail", "auto")
    if not (isinstance(detail, str) and detail == "auto"):
        raise InputError(
            f"{kind} asks for a level of detail", fix='Leave "detail" out and set max_pixels beside the type.'
        )
    return value.get("url")
