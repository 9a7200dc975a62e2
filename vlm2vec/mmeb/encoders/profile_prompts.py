"""What a sample becomes where the profile of the model writes the prompt, as data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from vlm2vec.mmeb.encoders.protocol import Role
from vlm2vec.mmeb.samples import Content

__all__ = ["ProfilePrompts"]


@dataclass(frozen=True)
class ProfilePrompts:
    """Which of a sample's words a model is given; its profile says where they stand.

    Attributes:
        instructions: Whose instructions it is given: those of queries and candidates ("both"), of queries
            alone, or none.
        instruction_end: Written between an instruction and a text.
        frames: Frames of a clip that it looks at: all that the task gives, the middle one, as a picture, or
            at most so many of those that are saved, spread evenly.
    """

    instructions: Literal["both", "query", "none"] = "both"
    instruction_end: str = ""
    frames: Literal["all", "middle"] | int = "all"

    def words(self, content: Content, role: Role) -> dict[str, str]:
        """Text and instruction of a sample, as `encode` takes them.

        Example:
            >>> ProfilePrompts("query").words(Content("", "a page", "Find it:"), "document")
            {'text': 'a page', 'instruction': ''}
        """
        given = self.instructions in ("both", role)
        instruction = content.instruction if given else ""
        if instruction and content.text:
            instruction += self.instruction_end
        return {**({"text": content.text} if content.text else {}), "instruction": instruction}
