"""Settings that cannot be are refused before anything is loaded, and the key is in no text."""

from __future__ import annotations

from typing import Any

import pytest

from vlm2vec.errors import InputError
from vlm2vec.serve.settings import ServeSettings, is_loopback


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"host": ""}, "host"),
        ({"host": "a b"}, "host"),
        ({"host": None}, "host"),
        ({"port": -1}, "port"),
        ({"port": 65536}, "port"),
        ({"port": "8000"}, "port"),
        ({"api_key": ""}, "API key"),
        ({"api_key": "two words"}, "API key"),
        ({"api_key": "schlüssel"}, "API key"),
        ({"auth": "no"}, "auth"),
        ({"allow_urls": 1}, "allow_urls"),
        ({"allowed_hosts": "search.example.com"}, "allowed_hosts"),
        ({"allowed_hosts": ("https://search.example.com",)}, "allowed host"),
        ({"cors_origins": ("search.example.com",)}, "origin"),
        ({"cors_origins": ("https://search.example.com/",)}, "origin"),
        ({"max_request_bytes": 0}, "max_request_bytes"),
        ({"max_inputs": 2.5}, "max_inputs"),
        ({"max_waiting": True}, "max_waiting"),
        ({"body_seconds": 0}, "body_seconds"),
        ({"request_seconds": float("inf")}, "request_seconds"),
        ({"request_seconds": float("nan")}, "request_seconds"),
        ({"stop_seconds": -1}, "stop_seconds"),
        ({"gather_seconds": "1"}, "gather_seconds"),
    ],
)
def test_a_setting_that_cannot_be_is_named(settings: dict[str, Any], word: str) -> None:
    with pytest.raises(InputError, match=word):
        ServeSettings(**settings)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "search.example.com"])  # noqa: S104
def test_other_machines_are_let_in_with_a_key_or_by_word_alone(host: str) -> None:
    with pytest.raises(InputError, match="--api-key"):
        ServeSettings(host=host)
    assert ServeSettings(host=host, api_key="k").host == host
    assert ServeSettings(host=host, auth=False).api_key is None


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.10", "::1", "[::1]", "localhost", "LOCALHOST"])
def test_this_machine_needs_no_key(host: str) -> None:
    assert is_loopback(host)
    assert ServeSettings(host=host).api_key is None


def test_the_key_is_in_no_text_of_the_settings_or_of_their_errors() -> None:
    assert "secret-word" not in repr(ServeSettings(api_key="secret-word"))
    with pytest.raises(InputError) as caught:
        ServeSettings(api_key="secret word")
    assert "secret" not in str(caught.value)
