# SPDX-License-Identifier: LGPL-2.1-or-later
"""Registries for the system tests: docker-registry on ports of the host's loopback, and a front before one of them that
behaves like other registries do, or badly, and notes what it was asked."""
import ctypes
import json
import os
import random
import re
import shutil
import socket
import subprocess
import threading
import time
import urllib.parse
import urllib.request

from hosted import run, wait_until

PLAIN, LOCKED, FRONT = 5000, 5001, 5002
USER, PASSWORD = "joe", "secret"


def htpasswd():
    library = ctypes.CDLL("libcrypt.so.1")
    library.crypt.restype = ctypes.c_char_p
    return f"{USER}:{library.crypt(PASSWORD.encode(), b'$2y$05$abcdefghijklmnopqrstuu').decode()}\n"


class Registry:
    """One docker-registry."""

    def __init__(self, port, locked=False):
        self.port = port
        self.unit = f"registry-{port}.service"
        self.root = f"/var/lib/registry-{port}"
        config = {"version": 0.1, "http": {"addr": f"127.0.0.1:{port}"},
                  "storage": {"filesystem": {"rootdirectory": self.root}, "delete": {"enabled": True}}}
        if locked:
            with open(f"/root/htpasswd-{port}", "w") as out:
                out.write(htpasswd())
            config["auth"] = {"htpasswd": {"realm": "test", "path": f"/root/htpasswd-{port}"}}
        self.config = f"/root/registry-{port}.yml"
        with open(self.config, "w") as out:
            json.dump(config, out)  # JSON is YAML

    def start(self):
        self.stop()
        shutil.rmtree(self.root, ignore_errors=True)
        run("systemd-run", "--quiet", "--collect", f"--unit={self.unit}", "docker-registry", "serve", self.config)
        wait_until(self.answers, 20, "an answer of the registry's", 0.1)

    def stop(self):
        run("systemctl", "stop", self.unit, status=None)

    def answers(self):
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
            return True
        except OSError:
            return False

    def get(self, path, accept="application/json"):
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", headers={"Accept": accept})
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.read(), answer.headers

    def manifest(self, name, tag):
        """The manifest's parsed form, its digest and its media type."""
        types = ("application/vnd.docker.distribution.manifest.v2+json", "application/vnd.oci.image.manifest.v1+json")
        data, headers = self.get(f"/v2/{name}/manifests/{tag}", ", ".join(types))
        return json.loads(data), headers["Docker-Content-Digest"], headers["Content-Type"]

    def blob(self, name, digest):
        return self.get(f"/v2/{name}/blobs/{digest}", "*/*")[0]


class Exchange:
    """What passed through the front."""

    def __init__(self, method, path, headers):
        self.method, self.path, self.headers = method, path, headers
        self.sent, self.status = 0, 0

    def __repr__(self):
        return f"{self.method} {self.path} {self.sent} {self.status}"


def read_head(source):
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        line = source.readline()
        # A client may try TLS first.
        if not line or (not head and b"HTTP/1." not in line):
            return None, {}
        head += line
    lines = head.decode("latin-1").split("\r\n")
    return lines[0], {name.strip().lower(): value.strip() for name, _, value in (x.partition(":") for x in lines[1:] if x)}


def body_pieces(source, headers):
    """(what is sent on, how many bytes of the body that are)"""
    if "chunked" in headers.get("transfer-encoding", ""):
        while True:
            line = source.readline()
            size = int(line.split(b";")[0], 16)
            data = source.read(size + 2)
            yield line + data, size
            if size == 0:
                return
    left = int(headers.get("content-length", 0))
    while left > 0:
        data = source.read1(min(left, 65536))
        if not data:
            return
        left -= len(data)
        yield data, len(data)


class Front:
    """RULE gets each exchange before it is passed on, and may return what happens to it: {"status", "headers", "body"}
    to answer at once, {"cut": bytes of the body}, {"pause": seconds a piece}, {"lose": True} for an answer that gets lost,
    {"change": function of the answer's headers}. EXCHANGES are those since reset()."""

    def __init__(self, port=FRONT, backend=PLAIN):
        self.backend = backend
        self.exchanges, self.rule = [], None
        self.lock = threading.Lock()
        self.listener = socket.create_server(("127.0.0.1", port))
        threading.Thread(target=self.accept, daemon=True).start()

    def reset(self, rule=None):
        with self.lock:
            self.exchanges, self.rule = [], rule

    def seen(self, method, pattern=""):
        with self.lock:
            return [e for e in self.exchanges if e.method == method and re.search(pattern, e.path)]

    def accept(self):
        while True:
            connection, _ = self.listener.accept()
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        with connection, connection.makefile("rb") as source:
            try:
                while self.one(connection, source):
                    pass
            except (OSError, ValueError):
                pass

    def one(self, connection, source):
        line, headers = read_head(source)
        if not line:
            return False
        method, path, _ = line.split(" ", 2)
        exchange = Exchange(method, path, headers)
        with self.lock:
            self.exchanges.append(exchange)
            rule = self.rule
        what = (rule(exchange) if rule else None) or {}
        if "status" in what:
            return self.answer_self(connection, source, exchange, what)
        return self.forward(connection, source, exchange, what)

    def answer_self(self, connection, source, exchange, what):
        exchange.status = what["status"]
        if not what.get("early"):
            for _, size in body_pieces(source, exchange.headers):
                exchange.sent += size
        body = json.dumps(what.get("body", {"errors": []})).encode()
        lines = [f"HTTP/1.1 {what['status']} Whatever", f"Content-Length: {len(body)}", "Content-Type: application/json"]
        lines += [f"{name}: {value}" for name, value in what.get("headers", {}).items()]
        connection.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + (b"" if exchange.method == "HEAD" else body))
        return not what.get("early")

    def forward(self, connection, source, exchange, what):
        with socket.create_connection(("127.0.0.1", self.backend)) as backend, backend.makefile("rb") as answers:
            head = [f"{exchange.method} {exchange.path} HTTP/1.1"]
            head += [f"{name}: {value}" for name, value in exchange.headers.items() if name not in ("connection", "authorization")]
            backend.sendall("\r\n".join([*head, "Connection: close", "", ""]).encode("latin-1"))
            for piece, size in body_pieces(source, exchange.headers):
                if "cut" in what and exchange.sent + size > what["cut"]:
                    keep = max(0, what["cut"] - exchange.sent)
                    if "chunked" not in exchange.headers.get("transfer-encoding", ""):
                        backend.sendall(piece[:keep])
                    exchange.sent += keep
                    backend.shutdown(socket.SHUT_WR)
                    time.sleep(0.2)
                    return False
                backend.sendall(piece)
                exchange.sent += size
                time.sleep(what.get("pause", 0))
            line, headers = read_head(answers)
            if not line:
                return False
            exchange.status = int(line.split(" ")[1])
            body = b"" if exchange.method == "HEAD" else answers.read()
        if what.get("lose"):
            return False
        what.get("change", lambda _: None)(headers)
        if exchange.method != "HEAD" and exchange.status != 204:
            headers.pop("transfer-encoding", None)
            headers["content-length"] = len(body)
        headers.pop("connection", None)
        text = "\r\n".join([line, *(f"{name}: {value}" for name, value in headers.items()), "", ""])
        connection.sendall(text.encode("latin-1") + body)
        return True


class Tokens:
    """Bearer tokens, as a rule of a front's: asked for at the front's /token, each good for USES requests."""

    def __init__(self, inner=None, uses=1000, refuse=()):
        self.inner, self.uses, self.refuse = inner, uses, refuse
        self.scopes, self.left = [], {}

    def __call__(self, exchange):
        url = urllib.parse.urlsplit(exchange.path)
        if url.path == "/token":
            scopes = urllib.parse.parse_qs(url.query).get("scope", [])
            self.scopes.append(scopes)
            if any(refused in scope for scope in scopes for refused in self.refuse):
                return {"status": 403, "body": {"errors": [{"code": "DENIED", "message": "not yours"}]}}
            token = f"t{random.getrandbits(64)}"
            self.left[token] = self.uses
            return {"status": 200, "body": {"token": token, "expires_in": 300}}
        token = exchange.headers.get("authorization", "").removeprefix("Bearer ")
        if self.left.get(token, 0) <= 0:
            challenge = f'Bearer realm="http://localhost:{FRONT}/token",service="test"'
            return {"status": 401, "headers": {"WWW-Authenticate": challenge},
                    "body": {"errors": [{"code": "UNAUTHORIZED", "message": "authentication required"}]}}
        self.left[token] -= 1
        return self.inner(exchange) if self.inner else None
