"""A stand-in for the hub's data sets: what its client asks to list a repository and to fetch files."""

from __future__ import annotations

import hashlib
import json
import re
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlparse


@dataclass
class DatasetHub:
    """Repositories by name, each with its commits, oldest first, and the files of each by name.

    Attributes:
        repositories: What there is.
        gated: Repositories whose files are given to nobody.
        fetched: "REPO/FILE" of each file that was sent, whole or in part, in order.
        pause: Seconds between pieces of a file.
        url: Where it listens.
    """

    repositories: dict[str, dict[str, dict[str, bytes]]] = field(default_factory=dict)
    gated: set[str] = field(default_factory=set)
    fetched: list[str] = field(default_factory=list)
    pause: float = 0.0
    url: str = ""

    def put(self, repo: str, files: Mapping[str, bytes]) -> str:
        """A new commit, of these files and no others; returns its hash."""
        commits = self.repositories.setdefault(repo, {})
        commit = hashlib.sha1(f"{repo} {len(commits)}".encode()).hexdigest()  # noqa: S324 - as git does
        commits[commit] = dict(files)
        return commit

    def add(self, repo: str, files: Mapping[str, bytes]) -> str:
        """A new commit, of these files and those that there were."""
        before = list(self.repositories.get(repo, {}).values())
        return self.put(repo, {**(before[-1] if before else {}), **files})

    @contextmanager
    def serving(self) -> Iterator[DatasetHub]:
        hub = self

        class Handler(_Handler):
            served = hub

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        self.url = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield self
        finally:
            server.shutdown()
            server.server_close()


class _Handler(BaseHTTPRequestHandler):
    served: DatasetHub

    def log_message(self, *_: Any) -> None:
        """Quiet."""

    def do_GET(self) -> None:
        path = unquote(urlparse(self.path).path)
        match = re.fullmatch(
            r"(?:/api)?/datasets/([^/]+/[^/]+)(?:/(revision|tree|resolve)/([^/]+)/?(.*))?", path
        )
        repo, kind, revision, name = match.groups() if match else ("", "", "", "")
        commits = self.served.repositories.get(repo)
        if commits is None:
            self._error("RepoNotFound")
            return
        newest = list(commits)[-1]
        commit = newest if revision in (None, "main") else next(
            (one for one in commits if one.startswith(revision)), None
        )  # fmt: skip
        if commit is None:
            self._error("RevisionNotFound")
        elif kind == "resolve":
            self._file(repo, commit, name)
        else:
            files = commits[commit].items()
            listed = [
                {"rfilename": name, "path": name, "type": "file", "size": len(content),
                 "oid": _digest(content), "blobId": _digest(content)}
                for name, content in files
            ]  # fmt: skip
            self._json(listed if kind == "tree" else {"id": repo, "sha": commit, "siblings": listed})

    do_HEAD = do_GET  # noqa: N815  # http.server's own name

    def _file(self, repo: str, commit: str, name: str) -> None:
        content = self.served.repositories[repo][commit].get(name)
        if repo in self.served.gated:
            self._error("GatedRepo", 403)
            return
        if content is None:
            self._error("EntryNotFound")
            return
        self.send_response(200)
        self.send_header("ETag", f'"{_digest(content)}"')
        self.send_header("X-Repo-Commit", commit)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command == "GET":
            self.served.fetched.append(f"{repo}/{name}")
            step = 2**16 if self.served.pause else len(content)
            for place in range(0, len(content), max(step, 1)):
                try:
                    self.wfile.write(content[place : place + step])
                except (BrokenPipeError, ConnectionResetError):
                    return
                time.sleep(self.served.pause)

    def _error(self, code: str, status: int = 404) -> None:
        self._json({"error": code}, status, {"X-Error-Code": code, "X-Error-Message": code})

    def _json(self, content: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        for key, value in {"Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def _digest(content: bytes) -> str:
    return hashlib.sha1(content).hexdigest()  # noqa: S324 - as git does
