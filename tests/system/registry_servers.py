# SPDX-License-Identifier: LGPL-2.1-or-later
"""Registries for the tests, and what may stand in front of one: Debian's docker-registry; a relay that cuts connections;
a front that counts, slows, refuses and forges; a token issuer; a forward proxy."""
import base64
import gzip
import hashlib
import http.client
import http.server
import io
import json
import os
import random
import select
import shutil
import socket
import socketserver
import subprocess
import tarfile
import tempfile
import threading
import time
import urllib.parse

import hosted
from hosted import run

# An address of the host's own that is not of the loopback, which is trusted and never proxied.
ADDRESS = "10.99.0.1"
MANIFEST_DOCKER = "application/vnd.docker.distribution.manifest.v2+json"
MANIFEST_OCI = "application/vnd.oci.image.manifest.v1+json"
INDEX_OCI = "application/vnd.oci.image.index.v1+json"


def prepare_address():
    if ADDRESS not in run("ip", "-4", "addr", "show", "dev", "lo"):
        run("ip", "addr", "add", f"{ADDRESS}/32", "dev", "lo")


def make_certificates(directory):
    """An authority, and a server's and a client's certificate of it."""
    def sign(name, extra):
        run("openssl", "req", "-newkey", "rsa:2048", "-nodes", "-keyout", f"{directory}/{name}.key", "-out",
            f"{directory}/{name}.csr", "-subj", f"/CN={name}")
        with open(f"{directory}/{name}.ext", "w", encoding="ascii") as file:
            file.write(extra)
        run("openssl", "x509", "-req", "-in", f"{directory}/{name}.csr", "-CA", f"{directory}/ca.crt", "-CAkey",
            f"{directory}/ca.key", "-CAcreateserial", "-out", f"{directory}/{name}.crt", "-days", "30", "-extfile",
            f"{directory}/{name}.ext")
    run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", f"{directory}/ca.key", "-out",
        f"{directory}/ca.crt", "-days", "30", "-subj", "/CN=test authority")
    sign("server", f"subjectAltName=IP:{ADDRESS},IP:127.0.0.1\n")
    sign("client", "extendedKeyUsage=clientAuth\n")


def password_file(path):
    code = 'print "user:", crypt("secret", q($2y$05$abcdefghijklmnopqrstuu)), "\\n"'
    with open(path, "w", encoding="ascii") as file:
        file.write(run("perl", "-e", code))


class Registry:
    """Debian's docker-registry on an address."""

    def __init__(self, port, address="127.0.0.1", data=None, tls=None, client_authority=None, password=None, token=None):
        self.name = f"{address}:{port}"
        self.directory = tempfile.mkdtemp(prefix="registry-", dir="/var/lib")
        config = ["version: 0.1",
                  f"storage: {{filesystem: {{rootdirectory: {data or self.directory}}}, delete: {{enabled: true}}}}",
                  "log: {level: error, accesslog: {disabled: true}}",
                  f"http:\n  addr: \"{self.name}\""]
        if tls:
            config.append(f"  tls:\n    certificate: {tls}/server.crt\n    key: {tls}/server.key")
            if client_authority:
                config.append(f"    clientcas: [{client_authority}]")
        if password:
            config.append(f"auth: {{htpasswd: {{realm: test, path: {password}}}}}")
        if token:
            config.append(f"auth: {{token: {{realm: \"{token.realm}\", service: test-registry, issuer: test-issuer, "
                          f"rootcertbundle: {token.certificate}}}}}")
        with open(f"{self.directory}/config.yml", "w", encoding="ascii") as file:
            file.write("\n".join(config) + "\n")
        self.data = data or self.directory
        self.process = subprocess.Popen(("docker-registry", "serve", f"{self.directory}/config.yml"),
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        hosted.wait_until(lambda: self.answers(address, port), 20, f"a registry at {self.name}", 0.05)

    @staticmethod
    def answers(address, port):
        try:
            socket.create_connection((address, port), 1).close()
            return True
        except OSError:
            return False

    def stop(self):
        self.process.kill()
        self.process.wait()
        shutil.rmtree(self.directory, ignore_errors=True)


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 64

    def handle_error(self, request, client_address):
        pass  # a client that went away is what many tests are about


def serve(address, port, handler, **members):
    server = Server((address, port), handler)
    for name, value in members.items():
        setattr(server, name, value)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    return server


def stop(server):
    server.shutdown()
    server.server_close()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def body(self):
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        data = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            data += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return data

    def answer(self, status, body=b"", kind="application/json", **headers):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Type", kind)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def __getattr__(self, name):
        if name.startswith("do_"):
            return self.handle_method
        raise AttributeError(name)


class Front(Handler):
    """Passes requests on to server.upstream, and notes them in server.seen. server.hook(handler) may answer instead (and
    returns True); server.rate slows the bodies of blobs down to so many bytes a second; server.forge changes them."""

    def handle_method(self):
        server = self.server
        server.seen.append((self.command, self.path))
        data = self.body()
        if server.hook and server.hook(self):
            return
        host, port = server.upstream.split(":")
        upstream = http.client.HTTPConnection(host, int(port), timeout=60)
        headers = {name: value for name, value in self.headers.items()
                   if name.lower() not in ("connection", "transfer-encoding", "content-length", "accept")}
        if self.headers.get_all("Accept"):
            headers["Accept"] = ", ".join(self.headers.get_all("Accept"))
        upstream.request(self.command, self.path, data if self.command in ("POST", "PUT", "PATCH") else None, headers)
        reply = upstream.getresponse()
        content = reply.read()
        blob = self.command == "GET" and "/blobs/" in self.path and len(content) > 10000
        if blob and server.forge:
            content = server.forge(content)
        self.send_response(reply.status)
        for name, value in reply.getheaders():
            if name.lower() not in ("connection", "transfer-encoding", "content-length", "date"):
                self.send_header(name, value)
        self.send_header("Content-Length", reply.getheader("Content-Length") if self.command == "HEAD" else str(len(content)))
        self.end_headers()
        if self.command == "HEAD":
            return
        step = max(server.rate // 20, 1) if blob and server.rate else len(content) or 1
        for at in range(0, len(content), step):
            self.wfile.write(content[at:at + step])
            if blob and server.rate:
                time.sleep(0.05)


def front(port, upstream, address="127.0.0.1", hook=None, rate=0, forge=None):
    return serve(address, port, Front, upstream=upstream, hook=hook, rate=rate, forge=forge, seen=[])


class Cutter(socketserver.BaseRequestHandler):
    """Relays one connection and cuts it off after as many bytes (upwards, downwards) as server.cuts.pop() says (None: never)."""

    def handle(self):
        with self.server.lock:
            limits = self.server.cuts.pop() if self.server.cuts else (None, None)
        host, port = self.server.upstream.split(":")
        with socket.create_connection((host, int(port)), 10) as upstream:
            left = dict(zip((self.request, upstream), limits))
            while True:
                readable = select.select([self.request, upstream], [], [], 30)[0]
                if not readable:
                    return
                for source in readable:
                    data = source.recv(65536)
                    if not data:
                        return
                    limit = left[source]
                    if limit is not None:
                        left[source] = limit - len(data)
                    (upstream if source is self.request else self.request).sendall(data[:limit])
                    if limit is not None and limit <= len(data):
                        self.server.cut += 1
                        return


class CutterServer(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True

    def handle_error(self, request, client_address):
        pass


def cutter(port, upstream):
    server = CutterServer(("127.0.0.1", port), Cutter)
    server.upstream, server.cuts, server.cut, server.lock = upstream, [], 0, threading.Lock()
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    return server


class Forward(Handler):
    """A proxy: absolute targets, and tunnels."""

    def handle_method(self):
        self.server.seen.append((self.command, self.path))
        if self.command == "CONNECT":
            self.tunnel()
            return
        parts = urllib.parse.urlsplit(self.path)
        connection = http.client.HTTPConnection(parts.netloc, timeout=30)
        headers = {name: value for name, value in self.headers.items() if name.lower() not in ("proxy-connection", "accept")}
        headers["Accept"] = ", ".join(self.headers.get_all("Accept") or ["*/*"])
        connection.request(self.command, urllib.parse.urlunsplit(("", "", *parts[2:])), self.body(), headers)
        reply = connection.getresponse()
        content = reply.read()
        self.send_response(reply.status)
        for name, value in reply.getheaders():
            if name.lower() not in ("connection", "transfer-encoding", "content-length"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def tunnel(self):
        host, port = self.path.split(":")
        with socket.create_connection((host, int(port)), 10) as upstream:
            self.send_response(200)
            self.end_headers()
            self.wfile.flush()
            while True:
                for source in select.select([self.connection, upstream], [], [])[0]:
                    data = source.recv(65536)
                    if not data:
                        self.close_connection = True
                        return
                    (upstream if source is self.connection else self.connection).sendall(data)


def forward_proxy(port, address=ADDRESS):
    return serve(address, port, Forward, seen=[])


class Issuer:
    """Gives tokens for what is asked to whoever has the password or the refresh token. ALLOW(user, scope) decides."""

    def __init__(self, port, directory, allow=None):
        self.realm = f"http://127.0.0.1:{port}/token"
        self.key, self.certificate = f"{directory}/server.key", f"{directory}/ca.crt"
        self.chain = f"{directory}/server.crt"
        self.refresh, self.lifetime = "refresh-token-of-user", 300
        self.allow = allow or (lambda user, scope: True)
        self.requests = []
        outer = self

        class Endpoint(Handler):
            def handle_method(self):
                outer.issue(self)

        self.server = serve("127.0.0.1", port, Endpoint)

    def user_of(self, handler, query):
        if query.get("grant_type") == ["refresh_token"]:
            return "user" if query.get("refresh_token") == [self.refresh] else None
        header = handler.headers.get("Authorization", "")
        if not header.startswith("Basic "):
            return ""
        return "user" if base64.b64decode(header[6:]) == b"user:secret" else None

    def issue(self, handler):
        form = handler.body().decode()
        query = urllib.parse.parse_qs(form or urllib.parse.urlsplit(handler.path).query)
        self.requests.append((handler.command, query))
        user = self.user_of(handler, query)
        if user is None:
            handler.answer(401, b'{"details":"incorrect username or password"}')
            return
        scopes = " ".join(query.get("scope", [])).split()
        access = []
        for scope in scopes:
            kind, name, actions = scope.split(":")
            if self.allow(user, scope):
                access.append({"type": kind, "name": name, "actions": actions.split(",")})
        token = self.sign({"iss": "test-issuer", "aud": "test-registry", "sub": user, "jti": os.urandom(8).hex(),
                           "nbf": int(time.time()) - 60, "iat": int(time.time()), "exp": int(time.time()) + 3600,
                           "access": access})
        answer = {"token": token, "expires_in": self.lifetime}
        if query.get("offline_token") == ["true"]:
            answer["refresh_token"] = self.refresh
        handler.answer(200, json.dumps(answer).encode())

    def sign(self, claims):
        def encode(data):
            return base64.urlsafe_b64encode(data).rstrip(b"=")
        der = run("openssl", "x509", "-in", self.chain, "-outform", "DER", text=False)
        header = {"typ": "JWT", "alg": "RS256", "x5c": [base64.b64encode(der).decode()]}
        signed = encode(json.dumps(header).encode()) + b"." + encode(json.dumps(claims).encode())
        return (signed + b"." + encode(run("openssl", "dgst", "-sha256", "-sign", self.key, data=signed, text=False))).decode()

    def stop(self):
        stop(self.server)


def manifest(registry, repository, reference):
    """A manifest's bytes and type."""
    host, port = registry.split(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=20)
    kinds = (MANIFEST_DOCKER, MANIFEST_OCI, "application/vnd.docker.distribution.manifest.list.v2+json", INDEX_OCI)
    connection.request("GET", f"/v2/{repository}/manifests/{reference}", headers={"Accept": ", ".join(kinds)})
    reply = connection.getresponse()
    data = reply.read()
    connection.close()
    if reply.status != 200:
        raise AssertionError(f"manifest {repository}:{reference}: {reply.status} {data!r}")
    return data, reply.getheader("Content-Type")


def put(registry, path, data, kind):
    host, port = registry.split(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=20)
    connection.request("PUT", path, data, {"Content-Type": kind})
    reply = connection.getresponse()
    reply.read()
    connection.close()
    return reply.status


def put_blob(registry, repository, data):
    digest = "sha256:" + hashlib.sha256(data).hexdigest()
    host, port = registry.split(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=20)
    connection.request("POST", f"/v2/{repository}/blobs/uploads/", b"")
    reply = connection.getresponse()
    reply.read()
    location = urllib.parse.urlsplit(reply.getheader("Location"))
    connection.request("PUT", f"{location.path}?{location.query}&digest={digest}", data,
                       {"Content-Type": "application/octet-stream"})
    reply = connection.getresponse()
    reply.read()
    connection.close()
    if reply.status != 201:
        raise AssertionError(f"blob: {reply.status}")
    return digest


def make_layer(seed, size=0, name=None):
    """A layer's tar: a text and, with a size, a file of bytes that no compression makes smaller."""
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w") as archive:
        for path, content in ((name or f"text-{seed}", f"layer {seed}\n".encode()),
                              (f"noise-{seed}", random.Random(seed).randbytes(size))):
            entry = tarfile.TarInfo(path)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return output.getvalue()


def zstd_frame(data):
    """Zstandard's format (RFC 8878) without its compression: one segment of raw blocks."""
    blocks = [data[at:at + 65536] for at in range(0, len(data), 65536)]
    frame = b"\x28\xb5\x2f\xfd\xa0" + len(data).to_bytes(4, "little")
    for number, block in enumerate(blocks, 1):
        frame += (len(block) << 3 | (number == len(blocks))).to_bytes(3, "little") + block
    return frame


def make_image(registry, repository, tag, layers, compression="gzip", oci=False, **config):
    """Writes an image into a registry; its ID (the configuration's digest), and the manifest's bytes."""
    compress = {"gzip": lambda data: gzip.compress(data, mtime=0), "none": lambda data: data,
                "zstd": zstd_frame}[compression]
    document = {"architecture": "amd64", "os": "linux", "config": {}, **config,
                "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(data).hexdigest() for data in layers]}}
    suffix = {"gzip": "+gzip", "none": "", "zstd": "+zstd"}[compression]
    kind = f"application/vnd.oci.image.layer.v1.tar{suffix}" if oci else "application/vnd.docker.image.rootfs.diff.tar.gzip"
    blobs = [compress(data) for data in layers]
    text = json.dumps(document).encode()
    manifest_kind = MANIFEST_OCI if oci else MANIFEST_DOCKER
    value = {"schemaVersion": 2, "mediaType": manifest_kind,
             "config": {"mediaType": "application/vnd.oci.image.config.v1+json" if oci
                        else "application/vnd.docker.container.image.v1+json",
                        "size": len(text), "digest": put_blob(registry, repository, text)},
             "layers": [{"mediaType": kind, "size": len(blob), "digest": put_blob(registry, repository, blob)} for blob in blobs]}
    data = json.dumps(value, indent=2).encode()
    status = put(registry, f"/v2/{repository}/manifests/{tag}", data, manifest_kind)
    if status != 201:
        raise AssertionError(f"manifest: {status}")
    return value["config"]["digest"], data
