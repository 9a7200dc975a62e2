"""The prompt layout of a profile as a chat template, so that other software writes the same prompts."""

from __future__ import annotations

from vlm2vec.profiles.profile import Profile

__all__ = ["chat_template"]


def chat_template(profile: Profile) -> str:
    """A Jinja template that renders messages to this profile's prompt.

    The system message is the instruction; the parts of the other messages follow in order. Saved beside the
    tokenizer, where transformers and sentence-transformers find it.
    """
    before, _, after = profile.closing.partition("{}")
    return _TEMPLATE.format(
        prefix=_quoted(profile.prefix),
        instruction_first=str(profile.instruction_slot == "first").lower(),
        instruction_joiner=_quoted(profile.instruction_joiner),
        instruction_end=_quoted(profile.instruction_end),
        default_instruction=_quoted(profile.default_instruction),
        joiner=_quoted(profile.joiner),
        image=_quoted(f"{profile.media_start}<|image_pad|>{profile.media_end}"),
        video=_quoted(f"{profile.media_start}<|video_pad|>{profile.media_end}"),
        closing=_CLOSING.format(before=_quoted(before), after=_quoted(after)) if profile.closing else "",
        suffix=_quoted(profile.suffix),
    )


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("\n", "\\n").replace("'", "\\'") + "'"


_CLOSING = """\
{{%- set kinds = (['image'] if ns.image else []) + (['video'] if ns.video else []) -%}}
{{%- set kinds = kinds + (['sentence'] if ns.text or not kinds else []) -%}}
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
{{{{- {prefix} -}}}}
{{%- if {instruction_first} -%}}
{{%- set instruction = ns.instruction or {default_instruction} -%}}
{{{{- (instruction + {instruction_joiner} if instruction else '') + {instruction_end} -}}}}
{{%- set ns.placed = true -%}}
{{%- endif -%}}
{{%- for message in messages if message.role != 'system' -%}}
{{%- set content = message.content -%}}
{{%- set parts = [{{'type': 'text', 'text': content}}] if content is string else content -%}}
{{%- for part in parts -%}}
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
{{%- if ns.instruction and not ns.placed -%}}
{{{{- joined(ns.instruction, '') -}}}}{{%- set ns.text = true -%}}
{{%- endif -%}}
{closing}
{{{{- {suffix} -}}}}
"""
