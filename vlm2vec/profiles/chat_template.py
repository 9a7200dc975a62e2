"""The prompt layout of a profile as a chat template, so that other software writes the same prompts."""

from __future__ import annotations

from vlm2vec.profiles.profile import Profile

__all__ = ["chat_template"]


def chat_template(profile: Profile) -> str:
    """A Jinja template that renders messages to this profile's prompt.

    The system message is the instruction; the parts of the other messages follow in order. Saved beside the
    tokenizer, where transformers and sentence-transformers find it.
    """
    return _TEMPLATE.format(
        instruction_first=str(profile.instruction_slot == "first").lower(),
        instruction_joiner=_quoted(profile.instruction_joiner),
        joiner=_quoted(profile.joiner),
        image=_quoted(f"{profile.media_start}<|image_pad|>{profile.media_end}"),
        video=_quoted(f"{profile.media_start}<|video_pad|>{profile.media_end}"),
        suffix=_quoted(profile.suffix),
    )


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("\n", "\\n").replace("'", "\\'") + "'"


_TEMPLATE = """\
{{%- set ns = namespace(instruction='', placed=false, started=false) -%}}
{{%- macro joined(piece) -%}}
{{{{- ({joiner} if ns.started else '') + piece -}}}}{{%- set ns.started = true -%}}
{{%- endmacro -%}}
{{%- macro text_of(content) -%}}
{{%- if content is string -%}}{{{{- content -}}}}{{%- else -%}}
{{%- for part in content if part.type == 'text' -%}}{{{{- part.text -}}}}{{%- endfor -%}}
{{%- endif -%}}
{{%- endmacro -%}}
{{%- for message in messages if message.role == 'system' -%}}
{{%- set ns.instruction = ns.instruction + text_of(message.content) -%}}
{{%- endfor -%}}
{{%- if {instruction_first} and ns.instruction -%}}
{{{{- ns.instruction + {instruction_joiner} -}}}}{{%- set ns.placed = true -%}}
{{%- endif -%}}
{{%- for message in messages if message.role != 'system' -%}}
{{%- set content = message.content -%}}
{{%- set parts = [{{'type': 'text', 'text': content}}] if content is string else content -%}}
{{%- for part in parts -%}}
{{%- if part.type == 'text' and part.text -%}}
{{%- if ns.instruction and not ns.placed -%}}
{{{{- joined(ns.instruction) -}}}}{{%- set ns.placed = true -%}}
{{%- endif -%}}
{{{{- joined(part.text) -}}}}
{{%- elif part.type == 'image' -%}}{{{{- joined({image}) -}}}}
{{%- elif part.type == 'video' -%}}{{{{- joined({video}) -}}}}
{{%- endif -%}}
{{%- endfor -%}}
{{%- endfor -%}}
{{%- if ns.instruction and not ns.placed -%}}{{{{- joined(ns.instruction) -}}}}{{%- endif -%}}
{{{{- {suffix} -}}}}
"""
