"""A stand-in for the hub's HTTP API, enough to create a repository, upload a folder and download it again.

Run it as `python tests/hub_stand_in.py FOLDER PORT_FILE`: repositories are folders below FOLDER, and the port
it listens on is written to PORT_FILE. Files are sent inside the commit ("regular" mode), so there is no LFS.
"""

from __future__ import annotations

import base64
import hashlib
import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

REVISION = "0123456789abcdef0123456789abcdef01234567"


class Hub(BaseHTTPRequestHandler):
    root: Path

    def log_message(self, *_: Any) -> None:
        """Quiet."""

    def do_POST(self) -> None:
        path = urlparse(self.path).path
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if path == "/api/repos/create":
            wanted = json.loads(body)
            name = f"{wanted.get('organization') or 'somebody'}/{wanted['name']}"
            (self.root / name).mkdir(parents=True, exist_ok=True)
            self._json({"url": f"{self._base()}/{name}", "name": name, "id": name})
        elif path == "/api/validate-yaml":
            self._json({"errors": [], "warnings": []})
        elif "/preupload/" in path:
            files = json.loads(body)["files"]
            modes = [{"path": file["path"], "uploadMode": "regular", "shouldIgnore": False} for file in files]
            self._json({"files": modes})
        elif "/commit/" in path:
            repository = self.root / path.removeprefix("/api/models/").partition("/commit/")[0]
            for line in body.decode().splitlines():
                entry = json.loads(line)
                if entry["key"] == "file":
                    target = repository / entry["value"]["path"]
                    target.parent.mkdir(parents=True, exist_ok=True)
                    target.write_bytes(base64.b64decode(entry["value"]["content"]))
            name = repository.relative_to(self.root)
            self._json({"commitUrl": f"{self._base()}/{name}/commit/{REVISION}", "commitOid": REVISION})
        else:
            self._json({"error": f"unknown {path}"}, 404)

    def do_GET(self) -> None:
        path = unquote(urlparse(self.path).path)
        if path == "/api/whoami-v2":
            self._json({"name": "somebody", "type": "user", "auth": {"accessToken": {"role": "write"}}})
        elif path.startswith("/api/models/"):
            name, _, rest = path.removeprefix("/api/models/").partition("/tree/")
            repository = self.root / name.partition("/revision/")[0]
            if not repository.is_dir():
                self._json({"error": "Repository not found"}, 404, {"X-Error-Code": "RepoNotFound"})
                return
            files = sorted(file for file in repository.rglob("*") if file.is_file())
            if rest:
                self._json([
                    {"type": "file", "path": str(file.relative_to(repository)), "size": file.stat().st_size,
                     "oid": hashlib.sha1(file.read_bytes()).hexdigest()}  # noqa: S324
                    for file in files
                ])  # fmt: skip
                return
            siblings = [{"rfilename": str(file.relative_to(repository))} for file in files]
            identity = str(repository.relative_to(self.root))
            self._json(
                {"id": identity, "modelId": identity, "sha": REVISION, "siblings": siblings, "tags": []}
            )
        else:
            self._file(path)

    do_HEAD = do_GET  # noqa: N815  # http.server's own name

    def _file(self, path: str) -> None:
        name, _, rest = path.lstrip("/").partition("/resolve/")
        file = self.root / name / rest.partition("/")[2]
        if not file.is_file():
            code = "EntryNotFound" if (self.root / name).is_dir() else "RepoNotFound"
            self._json({"error": "not found"}, 404, {"X-Error-Code": code, "X-Repo-Commit": REVISION})
            return
        content = file.read_bytes()
        self.send_response(200)
        self.send_header("ETag", f'"{hashlib.sha1(content).hexdigest()}"')  # noqa: S324
        self.send_header("X-Repo-Commit", REVISION)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    def _json(self, content: Any, status: int = 200, headers: dict[str, str] | None = None) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        for key, value in {"Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _base(self) -> str:
        return f"http://{self.headers['Host']}"


def main() -> None:
    Hub.root = Path(sys.argv[1])
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    Path(sys.argv[2]).write_text(str(server.server_port))
    server.serve_forever()


if __name__ == "__main__":
    main()
