"""The prompt layout of a profile as a chat template, so that other software writes the same prompts."""

from __future__ import annotations

import unicodedata
from functools import cache

from vlm2vec.profiles.profile import Profile

__all__ = ["chat_template"]


def chat_template(
    profile: Profile,
    *,
    image_token: str = "<|image_pad|>",  # noqa: S107
    video_token: str = "<|video_pad|>",  # noqa: S107
    bos_token: str = "",
) -> str:
    """A Jinja template that renders messages to this profile's prompt.

    The system message is the instruction; the parts of the other messages follow in order. Saved beside the
    tokenizer, where transformers and sentence-transformers find it.

    A clip is one block of `<|video_pad|>`. For a profile with `clip="seconds"` the stock processor makes its
    blocks of that; with "images" a template cannot, since it does not know the frames: other software has to
    be given them as pictures. Nor does a template know queries: `query_suffix` is not in it.

    Args:
        profile: The profile.
        image_token: What stands for a picture in the vocabulary of the network.
        video_token: The same for a clip.
        bos_token: What begins every prompt, where the profile leaves that to the tokenizer.
    """
    asks_for_media = profile.text_prefix is not None or profile.text_suffix is not None
    begins_otherwise = profile.image_prefix is not None
    by_kind = profile.part_order == "video_image_text"
    return _TEMPLATE.format(
        has_media=(_HAS_MEDIA if asks_for_media else "") + (_FIRST if begins_otherwise else ""),
        full_stop=_full_stop() if profile.instruction_rule == "full_stop" else "",
        bos_token=f"{{{{- {_quoted(bos_token)} -}}}}" if bos_token else "",
        prefix=_by_media(profile.prefix, profile.text_prefix)
        + (
            f" if first.kind != 'image' else {_quoted(profile.image_prefix or '')}"
            if begins_otherwise
            else ""
        ),
        instruction_first=str(profile.instruction_slot == "first").lower(),
        instruction_joiner=_quoted(profile.instruction_joiner),
        instruction_end=_quoted(profile.instruction_end),
        default_instruction=_quoted(profile.default_instruction),
        kinds=_KINDS if by_kind else "",
        of_kind=" if part.type == kind" if by_kind else "",
        end_of_kinds=_END_OF_KINDS if by_kind else "",
        joiner=_quoted(profile.joiner),
        image=_quoted(f"{profile.media_start}{image_token}{profile.media_end}"),
        video=_quoted(f"{profile.media_start}{video_token}{profile.media_end}"),
        default_text=_default_text(profile) if profile.default_text else "",
        closing=_closing(profile) if profile.closing else "",
        suffix=_by_media(profile.suffix, profile.text_suffix),
    )


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("\n", "\\n").replace("'", "\\'") + "'"


def _by_media(usual: str, of_text: str | None) -> str:
    return _quoted(usual) if of_text is None else f"{_quoted(usual)} if has.media else {_quoted(of_text)}"


def _closing(profile: Profile) -> str:
    before, _, after = profile.closing.partition("{}")
    text = profile.text_beside_media
    return _CLOSING.format(before=_quoted(before), after=_quoted(after), text=_quoted(text))


def _default_text(profile: Profile) -> str:
    return _DEFAULT_TEXT.format(text=_quoted(profile.default_text), joiner=_quoted(profile.joiner))


@cache
def _full_stop() -> str:
    """Jinja knows no categories of characters, so all punctuation there is stands in the template."""
    punctuation = "".join(chr(code) for code in range(0x20000) if unicodedata.category(chr(code))[0] == "P")
    return _FULL_STOP.format(punctuation=_quoted(punctuation))


_HAS_MEDIA = """\
{%- set has = namespace(media=false) -%}
{%- for message in messages if message.role != 'system' and message.content is not string -%}
{%- for part in message.content if part.type in ('image', 'video') -%}
{%- set has.media = true -%}
{%- endfor -%}
{%- endfor -%}
"""

_FIRST = """\
{%- set first = namespace(kind='') -%}
{%- for message in messages if message.role != 'system' -%}
{%- set content = message.content -%}
{%- set parts = [{'type': 'text', 'text': content}] if content is string else content -%}
{%- for part in parts -%}
{%- set first.kind = first.kind or (part.type if part.type != 'text' or part.text else '') -%}
{%- endfor -%}
{%- endfor -%}
"""

_FULL_STOP = """\
{{%- set ns.instruction = ns.instruction | trim -%}}
{{%- if ns.instruction and ns.instruction[-1] not in {punctuation} -%}}
{{%- set ns.instruction = ns.instruction + '.' -%}}
{{%- endif -%}}
"""

_KINDS = """\
{%- for kind in ['video', 'image', 'text'] -%}
"""

_END_OF_KINDS = """\
{%- endfor -%}
"""

_DEFAULT_TEXT = """\
{{%- if (ns.image or ns.video) and not ns.text -%}}
{{{{- joined({text}, {joiner}) -}}}}{{%- set ns.text = true -%}}
{{%- endif -%}}
"""

_CLOSING = """\
{{%- set kinds = (['image'] if ns.image else []) + (['video'] if ns.video else []) -%}}
{{%- set kinds = kinds + ([{text} if kinds else 'sentence'] if ns.text or not kinds else []) -%}}
{{{{- {before} + kinds | join(' and ') + {after} -}}}}"""

_TEMPLATE = """\
{{%- set ns = namespace(instruction='', placed=false, joiner='', image=false, video=false, text=false) -%}}
{{%- macro joined(piece, joiner) -%}}
{{{{- ns.joiner + piece -}}}}{{%- set ns.joiner = joiner -%}}
{{%- endmacro -%}}
{{%- macro text_of(content) -%}}
{{%- if content is string -%}}{{{{- content -}}}}{{%- else -%}}
{{%- for part in content if part.type == 'text' -%}}{{{{- part.text -}}}}{{%- endfor -%}}
{{%- endif -%}}
{{%- endmacro -%}}
{{%- for message in messages if message.role == 'system' -%}}
{{%- set ns.instruction = ns.instruction + text_of(message.content) -%}}
{{%- endfor -%}}
{full_stop}{has_media}{bos_token}{{{{- {prefix} -}}}}
{{%- if {instruction_first} -%}}
{{%- set instruction = ns.instruction or {default_instruction} -%}}
{{{{- (instruction + {instruction_joiner} if instruction else '') + {instruction_end} -}}}}
{{%- set ns.placed = true -%}}
{{%- endif -%}}
{kinds}{{%- for message in messages if message.role != 'system' -%}}
{{%- set content = message.content -%}}
{{%- set parts = [{{'type': 'text', 'text': content}}] if content is string else content -%}}
{{%- for part in parts{of_kind} -%}}
{{%- if part.type == 'text' and part.text -%}}
{{%- if ns.instruction and not ns.placed -%}}
{{{{- joined(ns.instruction, {instruction_joiner}) -}}}}{{%- set ns.placed = true -%}}
{{%- endif -%}}
{{{{- joined(part.text, {joiner}) -}}}}{{%- set ns.text = true -%}}
{{%- elif part.type == 'image' -%}}{{{{- joined({image}, {joiner}) -}}}}{{%- set ns.image = true -%}}
{{%- elif part.type == 'video' -%}}{{{{- joined({video}, {joiner}) -}}}}{{%- set ns.video = true -%}}
{{%- endif -%}}
{{%- endfor -%}}
{{%- endfor -%}}
{end_of_kinds}{{%- if ns.instruction and not ns.placed -%}}
{{{{- joined(ns.instruction, '') -}}}}{{%- set ns.text = true -%}}
{{%- endif -%}}
{default_text}{closing}
{{{{- {suffix} -}}}}
"""
