"""`described`: how a `VLM2Vec` is run in the benchmark, in words."""

from __future__ import annotations

from vlm2vec import profiles
from vlm2vec.backbones.registry import LAYOUTS
from vlm2vec.backbones.stock.layout import StockLayout
from vlm2vec.mmeb.encoders.families import FAMILIES, Family
from vlm2vec.mmeb.encoders.original_prompts import OriginalPrompts
from vlm2vec.profiles import Profile

__all__ = ["described"]

_CHECKED = {
    "original": "vectors were compared with the original code, on a tiny model",
    "stock": "vectors were compared with plain transformers, on a tiny model, and not with the original code",
    "no": "vectors were compared with nothing",
}


def described(profile: Profile, family: Family, frames: str | int, *, published: bool) -> dict[str, str]:
    """Profile, prompts, frames, pixels, and what vectors were compared with.

    Args:
        profile: Of the model, as it is run.
        family: What its prompts and tasks are.
        frames: Of a clip.
        published: Whether it is run as published scores were made.

    Example:
        >>> said = described(profiles.get("ume-r1"), Family(), "all", published=False)
        >>> said["prompts"], said["frames"]
        ('of the profile; how published scores were made is not known', 'all that a task gives')
        >>> said["pixels"], said["checked"]
        ('768 to 2,359,296 of a picture', 'vectors were compared with nothing')
    """
    known = profile.name in profiles.names()
    said = {
        "profile": profile.name,
        "prompts": _prompts(profile, family, published=published),
        "frames": _FRAMES.get(str(frames), f"at most {frames} of a clip, spread evenly"),
        "pixels": _pixels(profile),
        "checked": _CHECKED[profiles.checked(profile.name)] if known else "not known: a profile of its own",
    }
    if published and family.gaps:
        said["otherwise"] = "; ".join(family.gaps)
    return said


_FRAMES = {"all": "all that a task gives", "middle": "the middle one of a clip, as a picture"}


def _prompts(profile: Profile, family: Family, *, published: bool) -> str:
    if published:
        form = "to the character" if isinstance(family.prompts, OriginalPrompts) else "written by the profile"
        return f"of the published scores, {form} ({family.source})"
    if profile.name in FAMILIES and FAMILIES[profile.name].source:
        return "of the profile, and not those of published scores"
    if any(one.profile.name == profile.name for one in profiles.models()):
        return "of the profile; how published scores were made is not known"
    return "of the profile"


def _pixels(profile: Profile) -> str:
    rules, layout = profile.pixels, LAYOUTS.get(profile.network)
    if rules.fixed_size is not None:
        height, width = rules.fixed_size
        return f"{height:,} x {width:,} of a picture"
    if isinstance(layout, StockLayout) and layout.tiles is not None:
        most = f", at most {rules.crops}" if layout.tiles == "hd" else ""
        return f"a picture as it is, in tiles{most}"
    said = f"{rules.min_pixels:,} to {rules.max_pixels:,} of a picture"
    if rules.frames is None:
        return said
    total = rules.frames.total_pixels
    of_clip = "" if total is None else f", about {total:,} of a clip"
    return f"{said}, {rules.frames.min_pixels:,} to {rules.frames.max_pixels:,} of a frame{of_clip}"
