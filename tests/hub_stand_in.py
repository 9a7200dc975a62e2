"""A stand-in for the hub's HTTP API: it lists repositories, gives their files, creates one, and takes pushes.

Files are pushed inside the commit ("regular" mode), so there is no LFS.
"""

from __future__ import annotations

import base64
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

PUSHED = "0123456789abcdef0123456789abcdef01234567"
"""The commit of what is pushed."""


@dataclass
class HubStandIn:
    """Repositories by name, each with its commits, oldest first, and the files of each by name.

    Attributes:
        repositories: What there is, models and data sets alike.
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
        commit = _digest(f"{repo} {len(commits)}".encode())
        commits[commit] = dict(files)
        return commit

    def add(self, repo: str, files: Mapping[str, bytes]) -> str:
        """A new commit, of these files and those that there were."""
        return self.put(repo, {**self.files(repo), **files})

    def files(self, repo: str) -> dict[str, bytes]:
        """The files of the newest commit."""
        return next(reversed(self.repositories.get(repo, {}).values()), {})

    @contextmanager
    def serving(self) -> Iterator[HubStandIn]:
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
    served: HubStandIn

    def log_message(self, *_: Any) -> None:
        """Quiet."""

    def do_POST(self) -> None:
        path = urlparse(self.path).path
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if path == "/api/repos/create":
            wanted = json.loads(body)
            name = f"{wanted.get('organization') or 'somebody'}/{wanted['name']}"
            self.served.repositories.setdefault(name, {})
            self._json({"url": f"{self.served.url}/{name}", "name": name, "id": name})
        elif path == "/api/validate-yaml":
            self._json({"errors": [], "warnings": []})
        elif "/preupload/" in path:
            files = json.loads(body)["files"]
            modes = [{"path": file["path"], "uploadMode": "regular", "shouldIgnore": False} for file in files]
            self._json({"files": modes})
        elif "/commit/" in path:
            name = path.removeprefix("/api/models/").partition("/commit/")[0]
            entries = [json.loads(line) for line in body.decode().splitlines()]
            pushed = {
                entry["value"]["path"]: base64.b64decode(entry["value"]["content"])
                for entry in entries
                if entry["key"] == "file"
            }
            self.served.repositories[name][PUSHED] = {**self.served.files(name), **pushed}
            self._json({"commitUrl": f"{self.served.url}/{name}/commit/{PUSHED}", "commitOid": PUSHED})
        else:
            self._json({"error": f"unknown {path}"}, 404)

    def do_GET(self) -> None:
        path = unquote(urlparse(self.path).path)
        if path == "/api/whoami-v2":
            self._json({"name": "somebody", "type": "user", "auth": {"accessToken": {"role": "write"}}})
            return
        match = re.fullmatch(
            r"(?:/api)?(?:/datasets|/models)?/([^/]+/[^/]+)(?:/(revision|tree|resolve)/([^/]+)/?(.*))?", path
        )
        repo, kind, revision, name = match.groups() if match else ("", "", "", "")
        commits = self.served.repositories.get(repo)
        if commits is None:
            self._error("RepoNotFound")
            return
        newest = next(reversed(commits), PUSHED)
        found = (
            [newest] if revision in (None, "main") else [one for one in commits if one.startswith(revision)]
        )
        if not found:
            self._error("RevisionNotFound")
        elif kind == "resolve":
            self._file(repo, found[0], name)
        else:
            listed = [
                {"rfilename": name, "path": name, "type": "file", "size": len(content),
                 "oid": _digest(content), "blobId": _digest(content)}
                for name, content in commits.get(found[0], {}).items()
            ]  # fmt: skip
            info = {"id": repo, "modelId": repo, "sha": found[0], "siblings": listed, "tags": []}
            self._json(listed if kind == "tree" else info)

    do_HEAD = do_GET  # noqa: N815  # http.server's own name

    def _file(self, repo: str, commit: str, name: str) -> None:
        content = self.served.repositories[repo].get(commit, {}).get(name)
        if repo in self.served.gated:
            self._error("GatedRepo", 403)
            return
        if content is None:
            self._error("EntryNotFound", commit=commit)
            return
        self.send_response(200)
        self.send_header("ETag", f'"{_digest(content)}"')
        self.send_header("X-Repo-Commit", commit)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command == "GET":
            self.served.fetched.append(f"{repo}/{name}")
            step = 2**16 if self.served.pause else max(len(content), 1)
            for start in range(0, len(content), step):
                try:
                    self.wfile.write(content[start : start + step])
                except (BrokenPipeError, ConnectionResetError):
                    return
                time.sleep(self.served.pause)

    def _error(self, code: str, status: int = 404, *, commit: str = "") -> None:
        headers = {
            "X-Error-Code": code,
            "X-Error-Message": code,
            **({"X-Repo-Commit": commit} if commit else {}),
        }
        self._json({"error": code}, status, headers)

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
