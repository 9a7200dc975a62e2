"""Whether there is a repository of a name on the hub, found out before anything else is done with it."""

from __future__ import annotations

import os

from huggingface_hub import HfApi, try_to_load_from_cache
from huggingface_hub.constants import HF_HUB_OFFLINE
from huggingface_hub.errors import (
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
)
from huggingface_hub.utils import httpx  # type: ignore[attr-defined]  # or what has taken its place there

from vlm2vec import profiles
from vlm2vec.checkpoints.folder import CONFIGS
from vlm2vec.errors import CheckpointError

__all__ = ["check_repository", "not_there"]

_TIMEOUT = 10.0  # seconds
_TOO_MANY_REQUESTS = 429
_NO_ANSWER = (LocalEntryNotFoundError, OfflineModeIsEnabled, httpx.ConnectError)


def check_repository(
    name: str,
    *,
    revision: str | None = None,
    token: bool | str | None = None,
    cache_folder: str | None = None,
    local_files_only: bool | None = None,
) -> None:
    """Raise where a repository is neither in the cache nor on the hub, or the hub cannot be reached.

    The loaders ask for one file after the other, each several times with pauses between: without a network,
    that is half a minute before anybody hears of a misspelt name. This asks once, and not for a repository
    that is in the cache.

    Args:
        name: OWNER/NAME.
        revision: As for `huggingface_hub`.
        token: As for `huggingface_hub`.
        cache_folder: Where downloads are kept; by default as sentence-transformers has it.
        local_files_only: Whether the hub is not to be asked.

    Raises:
        CheckpointError: There is no such repository, or nobody can tell.
    """
    cache_folder = cache_folder or os.getenv("SENTENCE_TRANSFORMERS_HOME")
    try:
        files = (*CONFIGS, "modules.json")
        cached = [try_to_load_from_cache(name, file, cache_folder, revision) for file in files]
        if any(isinstance(path, str) for path in cached):
            return
        if local_files_only or HF_HUB_OFFLINE:
            raise LocalEntryNotFoundError(
                "it is not in the cache, and HF_HUB_OFFLINE or local_files_only is set"
            )
        HfApi().model_info(name, revision=revision, token=token, timeout=_TIMEOUT)
    except (HFValidationError, *_NO_ANSWER) as error:
        raise not_there(name, error) from error
    except HfHubHTTPError as error:
        status = error.response.status_code
        if status < 500 and status != _TOO_MANY_REQUESTS:  # where it is only busy, the loaders try again
            raise not_there(name, error) from error
    except httpx.TransportError:
        pass


def not_there(name: str, error: Exception) -> CheckpointError:
    """The error for a name that is no folder, and that the hub gave nothing for."""
    reason = str(error).strip().partition("\n")[0].rstrip(".")
    like = profiles.repository_like(name)
    meant = f'Did you mean "{like}"? ' if like not in (None, name) else ""
    what, first = "the hub gave none", "the name, the network"
    if isinstance(error, _NO_ANSWER):
        what, first = "the hub cannot be reached", "the network, the name"
    return CheckpointError(
        f"there is no folder of this name, and {what} ({type(error).__name__}: {reason})",
        fix=f"{meant}Check {first} and, for a private repository, the token.",
        source=name,
    )
