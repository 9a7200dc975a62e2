"""vLLM's shape: `POST /v1/embeddings {"model", "messages": [...]}`, one conversation and one vector.

Source: vllm, entrypoints/pooling/base/protocol.py (commit 020638a) and embed/openai_protocol.py (b76dd59).
Its extras may also stand beside `input`. The prompt is the model's own here, so that what vLLM has to be told
about it is taken where it says the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vlm2vec.describe import describe_value
from vlm2vec.serve.asked import Asked
from vlm2vec.serve.shapes.answers import BASE64
from vlm2vec.serve.shapes.content import INPUT, PART, inputs_of, parts
from vlm2vec.serve.shapes.fields import MODEL, OPTIONAL, Fields, Fixed, choice, dimensions, flag, string
from vlm2vec.serve.shapes.openai import ROUTE, write
from vlm2vec.serve.shapes.shape import Body, Place, Shape, ShapeError

__all__ = ["OWN", "SHAPE", "read"]

_PROMPT = "Leave it out: the prompt is the model's own."
_UNIT = "Leave it out: vectors are of unit length."
_MEDIA = "Set max_pixels, num_frames or fps beside the type of a content part."
_MESSAGE: dict[str, Any] = {
    "type": "object",
    "properties": {
        "role": {"enum": ["system", "developer", "user", "assistant"]},
        "content": {"anyOf": [{"type": "string"}, {"type": "array", "items": PART}]},
    },
    "required": ["role", "content"],
    "additionalProperties": False,
}
_OWN_TAKEN: dict[str, dict[str, Any]] = {
    "messages": {"type": "array", "items": _MESSAGE, "minItems": 1},
    "truncate_prompt_tokens": {
        "enum": [-1, None],
        "description": "-1 shortens texts to what the context holds.",
    },
    "continue_final_message": {
        "type": ["boolean", "null"],
        "description": "True beside an empty last message of the assistant alone.",
    },
}
FIELDS = Fields(
    "vLLM",
    {"model": MODEL, "input": INPUT, **OPTIONAL, **_OWN_TAKEN},
    fixed={
        "add_generation_prompt": Fixed((False,), _PROMPT),
        "add_special_tokens": Fixed((True, False), _PROMPT),  # the tokenizers of these models add none
        "chat_template": Fixed((), _PROMPT),
        "chat_template_kwargs": Fixed(({},), _PROMPT),
        "mm_processor_kwargs": Fixed(({},), _MEDIA),
        "media_io_kwargs": Fixed(({},), _MEDIA),
        "truncation_side": Fixed(("right",), "Leave it out: texts are shortened at their end."),
        "padding": Fixed((False, True), "Leave it out: vectors do not depend on padding."),
        "normalize": Fixed((True,), _UNIT),
        "use_activation": Fixed((True,), _UNIT),
        "embed_dtype": Fixed(("float32",), "Leave it out: vectors are of float32."),
        "endianness": Fixed(("native", "little"), "Leave it out: base64 is of little-endian float32."),
    },
)
OWN = (*_OWN_TAKEN, *FIELDS.fixed)
"""Fields by which the shape is known."""


def read(body: Body) -> Asked:
    """What a request asks for.

    Raises:
        ShapeError: It cannot be read.

    Example:
        >>> read({"messages": [{"role": "user", "content": "a cat"}]}).inputs
        [[{'text': 'a cat'}]]
    """
    given = FIELDS.check(body)
    choice(given, "encoding_format", BASE64, "float")
    if ("messages" in given) == ("input" in given):
        what = 'both "messages" and "input" are there' if "input" in given else 'there is no "messages"'
        raise ShapeError(what, fix="Send one of the two.", param="messages")
    if given.get("truncate_prompt_tokens", -1) != -1:
        raise Place("truncate_prompt_tokens").error(
            '"truncate_prompt_tokens" is not -1', "Send -1, which shortens texts to what the context holds."
        )
    continued = flag(given, "continue_final_message")
    instruction = string(given, "instruction")
    if "messages" in given:
        content, system = _conversation(given["messages"], Place("messages", 0), continued=continued)
        if system is not None and instruction is not None:
            raise Place("instruction").error(
                "a system message is an instruction as well", "Send one of the two."
            )
        inputs, instruction = [content], instruction if system is None else system
    elif continued:
        raise Place("continue_final_message").error("there are no messages", "Leave it out.")
    else:
        inputs = inputs_of(given["input"], Place("input"))
    return Asked(
        inputs,
        instruction=instruction,
        dimensions=dimensions(given),
        truncate="truncate_prompt_tokens" in given,
    )


def _conversation(messages: Any, place: Place, *, continued: bool) -> tuple[list[Any], str | None]:
    """The content of its turns in order, and the system message, which is the instruction."""
    if not isinstance(messages, list) or not messages:
        raise place.error(f'"messages" is {describe_value(messages)}', "Send a list of messages.")
    content: list[Any] = []
    system: str | None = None
    ends_empty = False
    for number, message in enumerate(messages):
        where = place.item(number)
        role, said = _message(message, where)
        ends_empty = role == "assistant" and not any(one != {"text": ""} for one in said)
        if ends_empty:  # where the model's answer would begin; the model's own prompt says it
            continue
        if role in ("user", "assistant"):
            content += said
        elif system is not None:
            raise where.error("the conversation has two system messages", "Join them into one.")
        elif any("text" not in one for one in said):
            raise where.error("the system message holds media", "Put media into a message of the user.")
        else:
            system = "".join(one["text"] for one in said)
    if not content:
        raise place.error("the conversation has no content to embed", "Add a message of the user.")
    if continued and not ends_empty:
        raise Place("continue_final_message").error(
            '"continue_final_message" is true, and the last message is not an empty one of the assistant',
            _PROMPT,
        )
    return content, system


def _message(message: Any, place: Place) -> tuple[str, list[Any]]:
    if not isinstance(message, Mapping) or set(message) != {"role", "content"}:
        raise place.error(
            f"{describe_value(message)} stands among messages",
            'A message has "role" and "content", and no more.',
        )
    role, content = message["role"], message["content"]
    if role not in ("system", "developer", "user", "assistant"):
        raise place.error(
            f"a message has the role {describe_value(role)}", "Send system, developer, user or assistant."
        )
    if role == "assistant" and content in (None, []):
        content = ""
    return role, parts(content, place.key("content"))


SHAPE = Shape(
    "vllm",
    ROUTE,
    read,
    write,
    {**FIELDS.schema(), "anyOf": [{"required": ["messages"]}, {"required": ["input"]}]},
    {
        "model": "vlm2vec",
        "messages": [
            {"role": "system", "content": "Find the picture that the text describes."},
            {"role": "user", "content": [{"type": "text", "text": "a red ring"}]},
        ],
    },
    truncation='"truncate_prompt_tokens": -1',
)
