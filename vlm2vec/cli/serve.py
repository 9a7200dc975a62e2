"""`vlm2vec serve`: vectors, and search where there is an index, over HTTP."""

from __future__ import annotations

from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vlm2vec.cli.limits import with_limits
from vlm2vec.cli.model import ProfileName, check_names, load, loading
from vlm2vec.errors import VLM2VecError
from vlm2vec.extra import how_to_install
from vlm2vec.media.limits import Limits
from vlm2vec.serve.settings import ServeSettings

if TYPE_CHECKING:
    from vlm2vec import Index

EPILOG = "[bold]Example:[/bold] vlm2vec serve --index ~/Pictures"

_NEEDED = ("fastapi", "uvicorn", "python_multipart", "prometheus_client")
_DEFAULT = ServeSettings()


class LogForm(StrEnum):
    """How a line of log is written."""

    TEXT = "text"
    JSON = "json"


@with_limits
def serve(
    model: Annotated[
        str | None,
        typer.Argument(
            help="Folder or hub id of a model.",
            show_default="that of the index, or the small one in the package",
        ),
    ] = None,
    *,
    index: Annotated[
        Path | None, typer.Option(help="An index, or the folder that it is of, to search and to show.")
    ] = None,
    host: Annotated[
        str, typer.Option(help="Address to listen on; any but this machine's own wants a key.")
    ] = _DEFAULT.host,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = _DEFAULT.port,
    api_key: Annotated[
        str | None,
        typer.Option(
            envvar="VLM2VEC_API_KEY",
            show_envvar=True,
            help="What clients send as Authorization: Bearer KEY. Others on this machine can see an option: "
            "the environment is the better place.",
            show_default="none is asked for",
        ),
    ] = None,
    no_auth: Annotated[bool, typer.Option("--no-auth", help="Let other machines in without a key.")] = False,
    allow_urls: Annotated[
        bool, typer.Option("--allow-urls", help="Fetch media from http(s) URLs of public hosts.")
    ] = False,
    allowed_host: Annotated[
        list[str] | None,
        typer.Option(help="Another name that it may be called by, as behind a proxy; several times."),
    ] = None,
    cors_origin: Annotated[
        list[str] | None,
        typer.Option(help="A site whose pages may call it, such as https://example.com; several times."),
    ] = None,
    max_request_mb: Annotated[
        int, typer.Option(min=1, help="Largest request, in MiB.")
    ] = _DEFAULT.max_request_bytes // 2**20,
    max_waiting: Annotated[
        int, typer.Option(min=1, help="Inputs that may wait; more are answered 429.")
    ] = _DEFAULT.max_waiting,
    log_format: Annotated[LogForm, typer.Option(help="Of the lines on standard error.")] = LogForm.TEXT,
    profile: ProfileName = None,
    limits: Limits,
) -> None:
    """Serve vectors over HTTP, and search with a page where an index is given.

    POST /v1/embeddings takes what OpenAI's clients send, pictures, clips and PDFs beside; /openapi.json
    describes it. SIGTERM or Ctrl-C finishes what was begun; a second one ends at once.

    Exit codes: 0 it was stopped, 1 an error, 2 wrong usage.
    """
    settings = ServeSettings(
        host=host,
        port=port,
        api_key=api_key,
        auth=not no_auth,
        allow_urls=allow_urls,
        allowed_hosts=tuple(allowed_host or ()),
        cors_origins=tuple(cors_origin or ()),
        max_request_bytes=max_request_mb * 2**20,
        max_waiting=max_waiting,
    )
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        raise VLM2VecError(
            f"serving needs {', '.join(missing)}, which is not installed",
            fix=how_to_install("serve"),
        )
    check_names(model, profile)
    found = None if index is None else _opened(index, model, profile, limits)
    from vlm2vec.serve.log import log_to_stderr, logger
    from vlm2vec.serve.run import bind, run, url_of

    with bind(settings) as opened:
        # Torch is imported behind this line, which takes seconds, as a model may take minutes.
        with log_to_stderr(log_format.value):
            named = model or ("the one in the package" if found is None else "that of the index")
            logger.info("loading ...", extra={"fields": {"model": named}})
        from vlm2vec.serve.app import create_app

        if found is None:
            loaded = load(model, profile, limits=limits)
        else:
            with loading():
                loaded = found.model
        # What is built at the first call is built before the first client waits for it.
        loaded.encode(["ready"], show_progress_bar=False)
        app = create_app(loaded, settings, found)
        with log_to_stderr(log_format.value):
            fields = {
                "url": url_of(opened),
                "model": app.state.serving.name,
                "index": "none" if found is None else str(found.store),
                "key": "none" if api_key is None else "asked for",
            }
            run(app, opened, lambda: logger.info("serving", extra={"fields": fields}))
            logger.info("stopped")


def _opened(place: Path, model: str | None, profile: str | None, limits: Limits) -> Index:
    from vlm2vec.index import Index
    from vlm2vec.index.place import find_store
    from vlm2vec.index.rows import require_lancedb

    if not place.is_dir():
        raise typer.BadParameter(f"There is no folder {place}.", param_hint="--index")
    store = find_store(place)
    if store is None:
        raise typer.BadParameter(
            f"There is no index of {place}. Make one: vlm2vec index {place}.", param_hint="--index"
        )
    require_lancedb()
    return Index(store, model, profile=profile, limits=limits)
