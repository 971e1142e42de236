"""A hub of models on the loopback interface: what an upload and a download ask of it."""

from __future__ import annotations

import base64
import hashlib
import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlparse

COMMIT = "c0ffee" * 6 + "c0ff"


class Hub(ThreadingHTTPServer):
    """Repositories by name, each with its files; `asked` are all requests, `tokens` what came."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, dict[str, bytes]] = {}
        self.asked: list[str] = []
        self.tokens: set[str | None] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Hub

    def log_message(self, *_: Any) -> None: ...

    def answer(self, body: Any, status: int = 200, **headers: str) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def note(self) -> list[str]:
        path = unquote(urlparse(self.path).path)
        self.server.asked.append(f"{self.command} {path}")
        self.server.tokens.add(self.headers.get("Authorization"))
        return path.strip("/").split("/")

    def do_POST(self) -> None:
        parts = self.note()
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if parts == ["api", "repos", "create"]:
            asked = json.loads(body)
            if asked["organization"] != "me":
                self.answer({"error": "no right to write"}, 403)
                return
            name = f"{asked['organization']}/{asked['name']}"
            self.server.files.setdefault(name, {})
            self.answer({"url": f"{self.server.url}/{name}", "id": name})
        elif parts == ["api", "validate-yaml"]:
            self.answer({"errors": [], "warnings": []})
        elif "preupload" in parts:
            paths = [each["path"] for each in json.loads(body)["files"]]
            files = [{"path": p, "uploadMode": "regular", "shouldIgnore": False} for p in paths]
            self.answer({"files": files})
        elif "commit" in parts:
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    content = base64.b64decode(line["value"]["content"])
                    self.server.files["/".join(parts[2:4])][line["value"]["path"]] = content
            url = f"{self.server.url}/{'/'.join(parts[2:4])}/commit/{COMMIT}"
            self.answer({"success": True, "commitOid": COMMIT, "commitUrl": url})
        else:
            self.answer({}, 404)

    def do_GET(self) -> None:
        parts = self.note()
        if parts == [""]:
            self.answer(b"")
            return
        name = "/".join(parts[2:4] if parts[0] == "api" else parts[:2])
        files = self.server.files.get(name)
        if files is None:
            self.answer({"error": "not found"}, 404, X_Error_Code="RepoNotFound")
        elif "tree" in parts:
            rows = [
                {"type": "file", "path": p, "size": len(data), "oid": git_hash(data)}
                for p, data in files.items()
            ]
            self.answer(rows)
        elif parts[0] == "api":
            siblings = [{"rfilename": path} for path in files]
            self.answer({"id": name, "sha": COMMIT, "siblings": siblings})
        elif (path := "/".join(parts[4:])) in files:
            headers = {"ETag": f'"{git_hash(files[path])}"', "X_Repo_Commit": COMMIT}
            self.answer(files[path], **headers)
        else:
            self.answer({"error": "not found"}, 404, X_Error_Code="EntryNotFound")

    do_HEAD = do_GET


def git_hash(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
