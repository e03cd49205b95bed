"""A Google Drive on this machine, for the unmodified clients.

A proxy takes their CONNECT requests for any host and joins them to a server that speaks TLS with a certificate made for
the occasion; HTTPS_PROXY and REQUESTS_CA_BUNDLE are all a client needs to know.
"""

import re
import socket
import ssl
import subprocess
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

HOSTS = ("drive.google.com", "drive.usercontent.google.com", "docs.google.com", "accounts.google.com", "mirror.example")
QUOTA_PAGE = """<html><head><title>Google Drive - Quota exceeded</title></head><body>
<p class="uc-error-caption">Sorry, you can't view or download this file at this time.</p>
<p class="uc-error-subcaption">Too many users have viewed or downloaded this file recently. Please try later.</p>
</body></html>"""
CONFIRM_PAGE = """<html><body><p>Google Drive can't scan this file for viruses.</p>
<form id="download-form" action="https://drive.usercontent.google.com/download" method="get">\
<input type="hidden" name="id" value="{id}"><input type="hidden" name="export" value="download">\
<input type="hidden" name="confirm" value="t"><input type="hidden" name="uuid" value="1-2-3"></form></body></html>"""


@dataclass
class FakeFile:
    """How Drive behaves for one id: `kind` is direct, confirm, quota, signin, status or html."""

    kind: str = "direct"
    body: bytes = b""
    status: int = 200
    cuts: int = 0  # how many of the first answers end in the middle
    name: str = "file.zip"
    ranges: bool = True


@dataclass
class FakeDrive:
    """Use as a context manager; `environment` is for the client, `requests` lists (host, path, range)."""

    folder: Path
    files: dict[str, FakeFile] = field(default_factory=dict)
    folders: dict[str, dict[str, str]] = field(default_factory=dict)  # folder id -> {file name: file id}
    requests: list[tuple[str, str, str | None]] = field(default_factory=list)

    def __enter__(self) -> "FakeDrive":
        certificate, key = self.folder / "cert.pem", self.folder / "key.pem"
        names = ",".join(f"DNS:{host}" for host in HOSTS)
        subprocess.run(
            [
                *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=fake"),
                *("-keyout", key, "-out", certificate, "-addext", f"subjectAltName={names}"),
            ],
            check=True,
            capture_output=True,
        )
        self._server = QuietServer(("127.0.0.1", 0), _handler(self))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self._proxy = socket.create_server(("127.0.0.1", 0))
        for target in (self._server.serve_forever, self._accept):
            threading.Thread(target=target, daemon=True).start()
        self.environment = {
            "HTTPS_PROXY": f"http://127.0.0.1:{self._proxy.getsockname()[1]}",
            "REQUESTS_CA_BUNDLE": str(certificate),
        }
        return self

    def __exit__(self, *error: object) -> None:
        self._proxy.close()
        self._server.shutdown()
        self._server.server_close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._proxy.accept()
            except OSError:
                return
            threading.Thread(target=self._join, args=(client,), daemon=True).start()

    def _join(self, client: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            head += client.recv(4096)
        server = socket.create_connection(self._server.server_address)
        client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        threading.Thread(target=_pipe, args=(server, client), daemon=True).start()
        _pipe(client, server)


class QuietServer(ThreadingHTTPServer):
    """A client that goes away in the middle is part of the game."""

    def handle_error(self, *arguments: object) -> None:
        """Say nothing."""


def _pipe(source: socket.socket, sink: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            sink.sendall(data)
    except OSError:
        pass
    finally:
        for end in (source, sink):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue


def _handler(drive: FakeDrive) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *arguments: object) -> None:
            """Say nothing."""

        def do_GET(self) -> None:
            host, url = self.headers["Host"].split(":")[0], urlsplit(self.path)
            wanted = parse_qs(url.query).get("id", [url.path.strip("/")])[0]
            drive.requests.append((host, self.path, self.headers["Range"]))
            if host == "accounts.google.com":
                return self._page(200, "<html><title>Sign in - Google Accounts</title></html>")
            if url.path == "/embeddedfolderview":
                return self._folder(wanted)
            file = drive.files.get(wanted, FakeFile("status", status=404))
            if file.kind == "quota":
                return self._page(file.status, QUOTA_PAGE)
            if file.kind in ("status", "html"):
                return self._page(file.status, f"<!DOCTYPE html><html><title>Error {file.status}</title></html>")
            if file.kind == "signin":
                self.send_response(302)
                self.send_header("Location", "https://accounts.google.com/ServiceLogin?continue=drive")
                return self.end_headers()
            if file.kind == "confirm" and host == "drive.google.com":
                return self._page(200, CONFIRM_PAGE.format(id=wanted))
            return self._send(file)

        def _page(self, status: int, text: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())

        def _folder(self, folder: str) -> None:
            if folder not in drive.folders:
                return self._page(404, "<html><title>Error 404</title></html>")
            links = "".join(
                f'<a href="https://drive.google.com/file/d/{file}/view">{name}</a>'
                for name, file in drive.folders[folder].items()
            )
            return self._page(200, f"<html><title>the folder</title><body>{links}</body></html>")

        def _send(self, file: FakeFile) -> None:
            start = re.fullmatch(r"bytes=(\d+)-", self.headers["Range"] or "")
            start = int(start[1]) if start and file.ranges else 0
            if start and start >= len(file.body):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(file.body)}")
                self.send_header("Content-Length", "0")
                return self.end_headers()
            body = file.body[start:]
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(file.body) - 1}/{len(file.body)}")
            self.send_header("Content-Type", "application/octet-stream")
            self.send_header("Content-Disposition", f'attachment; filename="{file.name}"')
            self.send_header("Content-Length", str(len(body)))
            self.send_header("ETag", '"one"')
            self.end_headers()
            if file.cuts:
                file.cuts -= 1
                body = body[: len(body) // 2]
            self.wfile.write(body)

    return Handler
