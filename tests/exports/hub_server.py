"""A hub of models and data sets on the loopback interface: what uploads and downloads ask of it."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import unquote, urlparse

COMMIT = "c0ffee" * 6 + "c0ff"
LARGE = (".safetensors", ".parquet")  # kept apart, behind a redirect


@dataclass
class Fault:
    """What answers the first `times` requests of a repository whose path holds `on`."""

    on: str
    answer: Callable[[Handler, bytes], None]
    times: int = 10**9


class Hub(ThreadingHTTPServer):
    """Repositories by name (data sets': `datasets/` before it), each with its files and commit.

    `asked` are all requests, `tokens` what came with them; `faults` by the repository's name.
    """

    daemon_threads = True  # a stalled answer must not hold the tests

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, dict[str, bytes]] = {}
        self.commits: dict[str, str] = {}
        self.faults: dict[str, Fault] = {}
        self.asked: list[str] = []
        self.tokens: set[str | None] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, *_: Any) -> None: ...  # a client that hung up

    def commit_of(self, name: str) -> str:
        return self.commits.get(name, COMMIT)


class Handler(BaseHTTPRequestHandler):
    server: Hub

    def log_message(self, *_: Any) -> None: ...

    def answer(self, body: Any, status: int = 200, sent: int | None = None, **headers: str) -> None:
        """All of a body, or its first `sent` bytes though all were announced."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data[:sent])

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
        elif "paths-info" in parts:
            name, _ = self.repository(parts)
            asked = json.loads(body)["paths"]
            self.answer([row for row in rows_of(self.server.files[name]) if row["path"] in asked])
        else:
            self.answer({}, 404)

    def repository(self, parts: list[str]) -> tuple[str, list[str]]:
        """Its name, and what stands behind it in the path."""
        for prefix in (["api", "models"], ["api"], ["cdn"]):
            if parts[: len(prefix)] == prefix:
                parts = parts[len(prefix) :]
                break
        length = 3 if parts[0] == "datasets" else 2
        return "/".join(parts[:length]), parts[length:]

    def do_GET(self) -> None:
        parts = self.note()
        if parts == [""]:
            self.answer(b"")
            return
        name, rest = self.repository(parts)
        files, commit = self.server.files.get(name), self.server.commit_of(name)
        revision, path = "".join(rest[1:2]), "/".join(rest[2:])
        if files is None:
            self.answer({"error": "not found"}, 404, X_Error_Code="RepoNotFound")
            return
        fault = self.server.faults.get(name)
        if fault is not None and fault.on in self.path and fault.times > 0:
            fault.times -= 1
            fault.answer(self, files.get(path, b""))
        elif revision not in ("", "main", commit):
            self.answer({"error": "not found"}, 404, X_Error_Code="RevisionNotFound")
        elif "tree" in rest:
            recursive = "recursive=true" in self.path.lower()
            below = [row for row in rows_of(files) if is_below(row["path"], path, recursive)]
            found = below or not path
            self.answer(below, *(() if found else (404,)), X_Error_Code="EntryNotFound")
        elif parts[0] == "api":
            siblings = [{"rfilename": path} for path in files]
            self.answer({"id": name, "sha": commit, "siblings": siblings})
        elif path in files:
            self.answer_file(parts, files[path], commit)
        else:
            self.answer({}, 404, X_Error_Code="EntryNotFound", X_Repo_Commit=commit)

    do_HEAD = do_GET

    def answer_file(self, parts: list[str], data: bytes, commit: str, extra: int = 0) -> None:
        """A file, or where it lies; `extra`: bytes that it is said to have more than it has."""
        large = parts[-1].endswith(LARGE)
        headers = {"ETag": f'"{hash_of(parts[-1], data)}"', "X_Repo_Commit": commit}
        start = self.headers.get("Range", "bytes=0-").removeprefix("bytes=").split("-")[0]
        if large and parts[0] != "cdn":
            linked = {"X_Linked_Size": str(len(data) + extra), "X_Linked_Etag": headers["ETag"]}
            # By another name of this host: the hub's own store lies on other hosts, too.
            there = f"http://localhost:{self.server.server_port}/cdn/{'/'.join(parts)}"
            self.answer(b"", 302, Location=there, **linked, **headers)
        elif int(start):
            span = f"bytes {start}-{len(data) - 1}/{len(data)}"
            self.answer(data[int(start) :], 206, Content_Range=span, **headers)
        else:
            self.answer(data, **headers)


def is_below(path: str, folder: str, recursive: bool) -> bool:
    parents = [str(each) for each in PurePosixPath(path).parents]
    return (folder or ".") in (parents if recursive else parents[:1])


def rows_of(files: dict[str, bytes]) -> list[dict[str, Any]]:
    """What a listing says of the files, and of the folders that they lie in."""
    folders = {str(each) for path in files for each in PurePosixPath(path).parents} - {"."}
    rows: list[dict[str, Any]] = [
        {"type": "directory", "path": path, "size": 0, "oid": git_hash(b"")} for path in folders
    ]
    for path, data in files.items():
        row = {"type": "file", "path": path, "size": len(data), "oid": git_hash(data)}
        if path.endswith(LARGE):
            row["lfs"] = {"oid": hash_of(path, data), "size": len(data), "pointerSize": 130}
        rows.append(row)
    return rows


def hash_of(path: str, data: bytes) -> str:
    return hashlib.sha256(data).hexdigest() if path.endswith(LARGE) else git_hash(data)


def git_hash(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
