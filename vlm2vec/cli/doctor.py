"""`vlm2vec doctor`: what is installed, what a model would run on, and which files can be read."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from vlm2vec.cli.report import err, out

EPILOG = "[bold]Example:[/bold] vlm2vec doctor --json > report.json"


def doctor(
    as_json: Annotated[
        bool, typer.Option("--json", help="Print all that was found as JSON, as for a report of a bug.")
    ] = False,
) -> None:
    """Look at this machine: packages, devices and what they compute with, fonts, codecs.

    Nothing is fetched.

    Exit codes: 0 all that is needed works, 1 something does not, 2 wrong usage.
    """
    if not as_json:
        err.print("Looking at this machine ...")
    from vlm2vec.doctor import examine

    found = examine()
    if as_json:
        out.print(json.dumps(found, indent=2), soft_wrap=True, markup=False)
    else:
        _print(found)
    raise typer.Exit(any(problem["is_serious"] for problem in found["problems"]))


def _print(found: Mapping[str, Any]) -> None:
    lines = [*_versions(found), *_devices(found), *_files(found)]
    if out.is_terminal:
        table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
        table.add_column(no_wrap=True, style="bold")
        table.add_column(overflow="fold")
        for name, text in lines:
            table.add_row(name, Text(text))
        out.print(table)
    else:
        for name, text in lines:
            out.print(Text(f"{name:10} {text}"), soft_wrap=True)
    if not found["problems"]:
        out.print("All is well.", style="green")
    for problem in found["problems"]:
        style = "red" if problem["is_serious"] else "yellow"
        out.print(Text(f"{problem['what']}.", style=style), soft_wrap=True)
        out.print(Text(f"  {problem['fix']}"), soft_wrap=True)


def _versions(found: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "vlm2vec", f"{found['vlm2vec']}, Python {found['python']}, {found['system']}"
    yield "packages", ", ".join(f"{name} {each['version']}" for name, each in found["packages"].items())
    yield "extras", _shown({name: not missing for name, missing in found["extras"].items()})


def _devices(found: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for each in found.get("devices", []):
        why = f", taken by default: {each['default']}" if "default" in each else ""
        if "error" in each:
            yield each["device"], f"cannot be used{why}"
            continue
        yield each["device"], f"{each['name']}{why}"
        if "cores" in each:
            about = f"{_count(each['cores'], 'core')}, {_count(each['threads'], 'thread')}, "
        else:
            about = f"capability {each['capability']}, " if "capability" in each else ""
        yield "", about + _memory(each)
        large = each["dtype_of_large_models"]
        beyond = "" if large == each["dtype"] else f"; {large} from a billion parameters on"
        yield "", f"weights in {each['dtype']}{beyond}; {each['max_tokens_per_batch']:,} tokens a batch"
        yield "", f"attention: {each['attention']}"
        yield "", f"matrix products: {each['products']}"
        if "fused_kernels" in each:
            yield "", f"fused kernels: {each['fused_kernels']}"


def _files(found: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if "images" in found:
        yield "pictures", _shown(found["images"])
        yield "clips", f"FFmpeg {found['videos']['ffmpeg']}: {_shown(found['videos']['codecs'])}"
        pdf = found["pdfs"]
        where = f"processes of {pdf['reader_memory_gib']:g} GiB at most" if pdf["readers"] else "this process"
        yield "PDFs", f"PDFium {pdf['pdfium']}, read in {where}; fonts: {_shown(pdf.get('fonts', {}))}"
    if "hub" in found:
        hub = found["hub"]
        offline = ", offline" if hub["offline"] else ""
        free = "" if hub["free_gib"] is None else f", {hub['free_gib']:,} GiB free"
        yield "downloads", f"{hub['cache']}{free}{offline}"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'s' * (number != 1)}"


def _memory(device: Mapping[str, Any]) -> str:
    if device["memory_gib"] is None:
        return "memory unknown"
    free = "" if device["free_gib"] is None else f", {device['free_gib']:,} free"
    return f"{device['memory_gib']:,} GiB of memory{free}"


def _shown(there: Mapping[str, bool]) -> str:
    """What is there, and what is not."""
    lacking = [name for name, is_there in there.items() if not is_there]
    text = ", ".join(name for name, is_there in there.items() if is_there) or "none"
    return f"{text}; not {', '.join(lacking)}" if lacking else text
