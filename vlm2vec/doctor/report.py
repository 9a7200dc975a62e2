"""`examine`: all that `vlm2vec doctor` finds, and what of it is a problem."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from vlm2vec._version import __version__
from vlm2vec.doctor.packages import extras, packages

__all__ = ["Problem", "examine"]

_INSTALL_FONTS = "Install fonts that have them; on Debian and Ubuntu: apt-get install fonts-noto-cjk"


@dataclass(frozen=True)
class Problem:
    """What is wrong, and what to do.

    Attributes:
        what: In a sentence.
        fix: What mends it.
        is_serious: Whether something fails by it, and is not only missing.
    """

    what: str
    fix: str
    is_serious: bool = True


def examine() -> dict[str, Any]:
    """Look at this machine and environment, in some seconds; nothing is loaded from a network.

    Returns:
        What `json` can write: versions, devices, what can be read, where downloads are kept, and under
        "problems" what is wrong or missing, each with what to do.

    Example:
        >>> found = examine()
        >>> found["devices"][0]["device"] in ("cpu", "cuda:0", "mps")
        True
    """
    found: dict[str, Any] = {
        "vlm2vec": __version__,
        "python": platform.python_version(),
        "system": platform.platform(),
        "packages": packages(),
        "extras": extras(),
    }
    problems = list(_of_packages(found["packages"]))
    for look in (_devices, _files, _hub):
        try:
            found |= look()
        except (ImportError, OSError) as error:  # a package is missing, or its libraries cannot be loaded
            fix = "Install what is named anew, in an environment of its own."
            problems.append(Problem(f"a package cannot be loaded: {error}", fix))
    problems += [
        *_of_devices(found.get("devices", [])),
        *_of_pdfs(found.get("pdfs", {})),
        *_of_media(found),
    ]
    found["problems"] = [asdict(problem) for problem in problems]
    return found


def _devices() -> dict[str, Any]:
    from vlm2vec.doctor.devices import devices

    return {"devices": devices()}


def _files() -> dict[str, Any]:
    from vlm2vec.doctor.files import images, pdfs, videos

    return {"images": images(), "videos": videos(), "pdfs": pdfs()}


def _hub() -> dict[str, Any]:
    """Where weights are kept, with `~` for the user's folder, and whether they may be fetched."""
    from huggingface_hub import constants

    cache = Path(constants.HF_HUB_CACHE)
    shown, free = str(cache), None
    with suppress(RuntimeError, ValueError):  # a user without a folder of his own, or it is elsewhere
        shown = f"~{os.sep}{cache.relative_to(Path.home())}"
    for folder in (cache, *cache.parents):
        with suppress(OSError):  # it is made with the first download, or is not for this user
            free = round(shutil.disk_usage(folder).free / 2**30, 1)
            break
    return {"hub": {"cache": shown, "free_gib": free, "offline": bool(constants.HF_HUB_OFFLINE)}}


def _of_packages(found: dict[str, dict[str, Any]]) -> Iterator[Problem]:
    for name, package in found.items():
        if not package["fits"]:
            there = f"is {package['version']}" if package["version"] else "is not installed"
            what = f"{name} {there}, and {package['wanted'] or 'any version'} is wanted"
            yield Problem(what, f'{Path(sys.executable).name} -m pip install "{name}{package["wanted"]}"')


def _of_devices(found: Sequence[dict[str, Any]]) -> Iterator[Problem]:
    for device in found:
        if "error" in device:
            yield Problem(
                f"{device['device']} cannot be used: {device['error']}",
                "See in nvidia-smi whether its driver works and who takes its memory, or hide it: "
                "CUDA_VISIBLE_DEVICES=-1.",
            )


def _of_pdfs(found: dict[str, Any]) -> Iterator[Problem]:
    if "error" in found:
        yield Problem(f"PDFs cannot be drawn: {found['error']}", "Install pypdfium2 anew.")
    if "no_readers" in found:
        yield Problem(
            f"PDFs are read in the program's own process: {found['no_readers']}",
            "Limits of time and memory do not hold for them there: read only PDFs that you trust.",
            is_serious=False,
        )
    if lacking := [script for script, is_drawn in found.get("fonts", {}).items() if not is_drawn]:
        scripts = ", ".join([*lacking[:-2], " and ".join(lacking[-2:])])
        what = f"{scripts} text of PDFs that name a font and do not contain it is not drawn"
        yield Problem(what, _INSTALL_FONTS, is_serious=False)


def _of_media(found: dict[str, Any]) -> Iterator[Problem]:
    for what, package, there in (
        ("pictures", "Pillow", found.get("images", {})),
        ("clips", "PyAV", found.get("videos", {}).get("codecs", {})),
    ):
        if missing := [name for name, is_there in there.items() if not is_there]:
            fix = f"Install {package} from its wheel on PyPI, which has them."
            yield Problem(f"{what} in {', '.join(missing)} are not read", fix, is_serious=False)
