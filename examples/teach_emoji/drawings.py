"""Emoji as training rows: drawings of several vendors, and Unicode's names and keywords for them.

npm brings the packages when they are first needed, into a folder of yours; this repository has none of them.
`PACKAGES` says whose they are; whoever shows the drawings names their authors.
"""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import PIL.Image

__all__ = ["HELD_OUT", "PACKAGES", "TRAINED", "Concept", "draw", "on_paper", "read_concepts"]

PACKAGES = {
    "noto": "@iconify-json/noto@1.2.9",  # Google; Apache-2.0
    "twemoji": "@iconify-json/twemoji@1.2.5",  # Twitter, Inc and other contributors; CC-BY-4.0
    "fluent": "@iconify-json/fluent-emoji-flat@1.2.6",  # Microsoft Corporation; MIT
    "fluent-lines": "@iconify-json/fluent-emoji-high-contrast@1.2.6",  # the same, in black and white
    "openmoji": "@iconify-json/openmoji@1.2.29",  # HfG Schwäbisch Gmünd and others; CC-BY-SA-4.0
    "names": "cldr-annotations-full@48.2.0",  # Unicode, Inc; Unicode-3.0
}
TRAINED = ("noto", "twemoji", "fluent", "fluent-lines")
HELD_OUT = "openmoji"
SIDE = 84  # pixels: nine tokens of the embedded model

_SKIN_TONES = {"1f3fb", "1f3fc", "1f3fd", "1f3fe", "1f3ff"}
_JOINER, _AS_PICTURE = "200d", "fe0f"


@dataclass(frozen=True)
class Concept:
    """One emoji.

    Attributes:
        characters: Itself.
        name: What Unicode calls it, such as "red heart".
        keywords: More words for it, Unicode's too.
        kind: Its category, such as "Food & Drink".
        drawings: An SVG file's text by vendor.
    """

    characters: str
    name: str
    keywords: tuple[str, ...]
    kind: str
    drawings: dict[str, str]


def read_concepts(folder: Path) -> list[Concept]:
    """The emoji that all vendors have drawn: no skin tones, no sequences such as families, each name once.

    Args:
        folder: Where the packages are, or where npm puts them.
    """
    vendors = {vendor: _Vendor(_package(folder, vendor)) for vendor in (*TRAINED, HELD_OUT)}
    annotations = _json(_package(folder, "names") / "annotations" / "en" / "annotations.json")
    concepts: dict[str, Concept] = {}
    for characters, said in sorted(annotations["annotations"]["annotations"].items()):
        points = [f"{ord(character):x}" for character in characters]
        code = _code("-".join(points))
        if "tts" not in said or _JOINER in points or _SKIN_TONES & set(points):
            continue
        if all(code in vendor.names for vendor in vendors.values()):
            name = said["tts"][0]
            drawings = {key: vendor.drawing(code) for key, vendor in vendors.items()}
            kind = vendors["noto"].kind(code)
            concepts.setdefault(name, Concept(characters, name, tuple(said["default"]), kind, drawings))
    return list(concepts.values())


def draw(drawing: str, side: int = SIDE) -> PIL.Image.Image:
    """An SVG as a picture of `side` by `side` pixels, transparent around the drawing."""
    import resvg_py

    png = resvg_py.svg_to_bytes(svg_string=drawing, width=side, height=side, skip_system_fonts=True)
    return PIL.Image.open(io.BytesIO(png)).convert("RGBA")


def on_paper(picture: PIL.Image.Image, colour: Any = "white") -> PIL.Image.Image:
    """A transparent picture on paper of one colour."""
    paper = PIL.Image.new("RGBA", picture.size, colour)
    return PIL.Image.alpha_composite(paper, picture).convert("RGB")


class _Vendor:
    """A package of icons."""

    def __init__(self, package: Path) -> None:
        self.icons = _json(package / "icons.json")
        self.names = {_code(code): name for code, name in _json(package / "chars.json").items()}
        self.kinds = {
            name: kind
            for kind, names in _json(package / "metadata.json").get("categories", {}).items()
            for name in names
        }

    def kind(self, code: str) -> str:
        return str(self.kinds.get(self.names[code], "other"))

    def drawing(self, code: str) -> str:
        name = self.names[code]
        while name not in self.icons["icons"]:
            name = self.icons["aliases"][name]["parent"]
        icon = self.icons["icons"][name]
        width, height = (icon.get(side, self.icons.get(side, 16)) for side in ("width", "height"))
        box = f"{icon.get('left', 0)} {icon.get('top', 0)} {width} {height}"
        return f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{box}" color="black">{icon["body"]}</svg>'


def _code(points: str) -> str:
    """Code points without the one that asks for a picture in place of a character."""
    return "-".join(point for point in points.split("-") if point != _AS_PICTURE)


def _package(folder: Path, name: str) -> Path:
    """The folder of a package; npm, which checks what it got, brings it where it is missing."""
    unpacked = folder / name
    if not (unpacked / "package").is_dir():
        npm = shutil.which("npm")
        if npm is None:
            raise SystemExit(f"npm, which comes with Node.js, is needed to download {PACKAGES[name]}.")
        folder.mkdir(parents=True, exist_ok=True)
        print(f"downloading {PACKAGES[name]}")
        command = [npm, "pack", "--loglevel=error", PACKAGES[name]]
        packed = folder / subprocess.check_output(command, cwd=folder, text=True).strip()  # noqa: S603
        partial = folder / f"{name}.partial"
        shutil.rmtree(partial, ignore_errors=True)
        with tarfile.open(packed) as archive:
            archive.extractall(partial, filter="data")
        shutil.rmtree(unpacked, ignore_errors=True)
        partial.rename(unpacked)
        packed.unlink()
    return unpacked / "package"


def _json(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found
