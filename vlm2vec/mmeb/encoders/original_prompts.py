"""How the benchmark's original code words samples for a family of models, to the character."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from vlm2vec.encoding.prompt import IMAGE_TOKEN, VIDEO_TOKEN
from vlm2vec.mmeb.encoders.protocol import Role
from vlm2vec.mmeb.samples import Content

__all__ = ["OriginalPrompts"]


@dataclass(frozen=True)
class OriginalPrompts:
    """What the original gives the models of one profile.

    Attributes:
        medium: Prompt of a sample with a picture or clip; `{token}` stands for it, `{text}` for what is said.
        text: Prompt of a sample that is text.
        without_token: What is said holds no token of the medium, and an instruction alone ends in a blank.
        frames: Frames of a clip that it looks at: all that the task gives, or the middle one, as a picture.
        min_pixels: Least area of a picture; `None` where it is the profile's.
        max_pixels: Greatest area of a picture; `None` where it is the profile's.
    """

    medium: str = "{text}"
    text: str = "{text}"
    without_token: bool = False
    frames: Literal["all", "middle"] = "all"
    min_pixels: int | None = None
    max_pixels: int | None = None

    def prompt(self, content: Content, role: Role, token: str) -> str:
        """The prompt of a sample.

        Args:
            content: The sample.
            role: Query or candidate.
            token: The placeholder of its medium, "" if it has none.
        """
        if not token:
            # Two tasks have, with compat="v2.0", the token of a picture that is not there.
            said = content.prompt.replace(f"{IMAGE_TOKEN}\n", "") if self.without_token else content.prompt
            return self.text.format(text=said)
        if not self.without_token:
            said = content.prompt.replace(VIDEO_TOKEN, token)
            return self.medium.format(token=token, text=said)
        said = re.sub(f"(?:{re.escape(IMAGE_TOKEN)}|{re.escape(VIDEO_TOKEN)}) ?", "", content.prompt)
        # `process_input_text` (src/model/processor.py, 650-673) joins instruction and text by a blank, also
        # where it is given no text: candidates have theirs in the instruction.
        if role == "document" or not content.text:
            end = len(said) - said.endswith("\n")
            said = f"{said[:end]} {said[end:]}"
        return self.medium.format(token=token, text=said)
