"""A hub of models and data sets on the loopback interface: what uploads and downloads ask of it."""

from __future__ import annotations

import base64
import json
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import SHUT_RDWR, socket
from threading import Lock, Thread
from typing import Any
from urllib.parse import unquote, urlparse

from benchmarks.toy.hub_faults import Fault
from benchmarks.toy.hub_listing import LARGE, Files, hash_of, is_below, rows_of

COMMIT = "c0ffee" * 6 + "c0ff"


class Hub(ThreadingHTTPServer):
    """Repositories by name (data sets': `datasets/` before it), each with its files and commit.

    `others` are the files of other commits by repository and commit. `asked` are all requests,
    `tokens` what came with them; `faults` by the repository's name, that of the hub's own page
    being empty. Serves from `start` to `stop`, and again at the same place.
    """

    daemon_threads = True  # a stalled answer must not hold the caller
    request_queue_size = 50

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, Files] = {}
        self.commits: dict[str, str] = {}
        self.others: dict[tuple[str, str], Files] = {}
        self.faults: dict[str, Fault] = {}
        self.asked: list[str] = []
        self.tokens: set[str | None] = set()
        self._connections: set[socket] = set()
        self._thread: Thread | None = None
        self._switch = Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def __enter__(self) -> Hub:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        with self._switch:
            if self._thread is not None:
                return
            if self.socket.fileno() < 0:
                self.socket = socket(self.address_family, self.socket_type)
                self.server_bind()
                self.server_activate()
            options = {"poll_interval": 0.05}
            self._thread = Thread(target=self.serve_forever, kwargs=options, daemon=True)
            self._thread.start()

    def stop(self, cut: bool = False) -> None:
        """Refuse connections from now on; `cut`: those that there are end, too."""
        with self._switch:
            if self._thread is not None:
                self.shutdown()
                self._thread.join()
                self._thread = None
            self.server_close()
        for connection in list(self._connections) if cut else ():
            with suppress(OSError):
                connection.shutdown(SHUT_RDWR)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, *_: Any) -> None: ...  # a client that hung up

    def commit_of(self, name: str) -> str:
        return self.commits.get(name, COMMIT)


class Handler(BaseHTTPRequestHandler):
    """Answers a request by `respond`, as the attributes say that a fault may have changed.

    `parts` are the path's, `files` and `commit` the repository's; of a body the `share` is sent,
    and of a file it is said that it has `extra` bytes more than it has.
    """

    server: Hub
    parts: list[str]
    paths: set[str]  # that a listing is asked for
    files: Files | None
    commit: str
    share = 1.0
    extra = 0

    def log_message(self, *_: Any) -> None: ...

    def answer(self, body: Any, status: int = 200, **headers: str) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        extra = self.extra if status < 300 and "/resolve/" in self.path else 0
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(data) + extra))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data[: int(len(data) * self.share)])

    def note(self) -> None:
        path = unquote(urlparse(self.path).path)
        self.server.asked.append(f"{self.command} {path}")
        self.server.tokens.add(self.headers.get("Authorization"))
        self.parts = path.strip("/").split("/")

    def do_POST(self) -> None:
        self.note()
        parts = self.parts
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
            self.paths = set(json.loads(body)["paths"])
            self.answer_or_fail()
        else:
            self.answer({}, 404)

    def repository(self) -> tuple[str, list[str]]:
        """Its name, and what stands behind it in the path."""
        parts = self.parts
        for prefix in (["api", "models"], ["api"], ["cdn"]):
            if parts[: len(prefix)] == prefix:
                parts = parts[len(prefix) :]
                break
        length = 3 if parts[0] == "datasets" else 2
        return "/".join(parts[:length]), parts[length:]

    def do_GET(self) -> None:
        self.note()
        self.answer_or_fail()

    do_HEAD = do_GET

    def answer_or_fail(self) -> None:
        name, rest = self.repository()
        self.files, self.commit = self.server.files.get(name), self.server.commit_of(name)
        self.see("".join(rest[1:2]))
        fault = self.server.faults.get(name)
        if fault is not None and fault.strikes(f"{self.command} /{'/'.join(self.parts)}"):
            fault.answer(self)
        else:
            self.respond()

    def see(self, commit: str) -> None:
        """Answer of another commit, if it is one that the repository has."""
        name, _ = self.repository()
        if (name, commit) in self.server.others:
            self.files, self.commit = self.server.others[name, commit], commit

    def respond(self) -> None:
        name, rest = self.repository()
        revision, path = "".join(rest[1:2]), "/".join(rest[2:])
        known = ("", "main", self.commit, self.server.commit_of(name))
        if self.parts == [""]:
            self.answer(b"")
        elif self.files is None:
            self.answer({"error": "not found"}, 404, X_Error_Code="RepoNotFound")
        elif revision not in known:
            self.answer({"error": "not found"}, 404, X_Error_Code="RevisionNotFound")
        elif "paths-info" in rest:
            rows = rows_of(self.files, self.extra)
            self.answer([row for row in rows if row["path"] in self.paths])
        elif "tree" in rest:
            recursive = "recursive=true" in self.path.lower()
            rows = rows_of(self.files, self.extra)
            below = [row for row in rows if is_below(row["path"], path, recursive)]
            found = below or not path
            self.answer(below, *(() if found else (404,)), X_Error_Code="EntryNotFound")
        elif self.parts[0] == "api":
            siblings = [{"rfilename": path} for path in self.files]
            self.answer({"id": name, "sha": self.commit, "siblings": siblings})
        elif path in self.files:
            self.answer_file(self.files[path])
        else:
            self.answer({}, 404, X_Error_Code="EntryNotFound", X_Repo_Commit=self.commit)

    def answer_file(self, data: bytes) -> None:
        """A file, or where it lies."""
        name, (action, _, *path) = self.repository()
        etag = f'"{hash_of(path[-1], data)}"'
        headers: dict[str, Any] = {"ETag": etag, "X_Repo_Commit": self.commit}
        start = self.headers.get("Range", "bytes=0-").removeprefix("bytes=").split("-")[0]
        if path[-1].endswith(LARGE) and self.parts[0] != "cdn":
            linked = {"X_Linked_Size": str(len(data) + self.extra), "X_Linked_Etag": etag}
            # By another name of this host: the hub's own store lies on other hosts, too.
            store = f"http://localhost:{self.server.server_port}/cdn"
            there = "/".join([store, name, action, self.commit, *path])
            self.answer(b"", 302, Location=there, **linked, **headers)
        elif int(start):
            span = f"bytes {start}-{len(data) - 1}/{len(data)}"
            self.answer(data[int(start) :], 206, Content_Range=span, **headers)
        else:
            self.answer(data, **headers)
