"""A package index on this machine with one wheel, whose network can be cut in mid-transfer."""

from __future__ import annotations

import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from zipfile import ZipFile

NAME, VERSION, MEMBER = "toyrows", "0.1", "toyrows/rows.jsonl"
WHEEL = f"{NAME}-{VERSION}-py3-none-any.whl"


class PackageIndex:
    """Serves a wheel that holds one table; `cut` makes it stop halfway through the file.

    Attributes:
        sha256: of the wheel.
        url: for pip's `--index-url`.
    """

    def __init__(self) -> None:
        self.cut = False
        self.url = ""

    def start(self, folder: Path, rows: bytes) -> None:
        """Write the wheel into `folder` and serve it until `stop`."""
        path = folder / WHEEL
        info = f"{NAME}-{VERSION}.dist-info"
        with ZipFile(path, "w") as archive:  # stored, so that it has a size worth cutting
            archive.writestr(MEMBER, rows)
            archive.writestr(f"{info}/METADATA", f"Name: {NAME}\nVersion: {VERSION}\n")
            archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
            archive.writestr(f"{info}/RECORD", "")
        wheel = path.read_bytes()
        self.sha256 = hashlib.sha256(wheel).hexdigest()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler(wheel))
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/simple"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _handler(self, wheel: bytes) -> type[BaseHTTPRequestHandler]:
        index = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                page = f'<a href="/{WHEEL}#sha256={index.sha256}">{WHEEL}</a>'.encode()
                is_wheel = self.path.endswith(".whl")
                body = wheel if is_wheel else page
                self.send_response(200)
                self.send_header("Content-Type", "application/zip" if is_wheel else "text/html")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body[: len(body) // 2] if index.cut else body)

            def log_message(self, format: str, *values: object) -> None:
                """Quiet."""

        return Handler
