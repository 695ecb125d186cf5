# SPDX-License-Identifier: LGPL-2.1-or-later
"""A client of the engine's API over a unix socket: whole answers, raw bytes, hijacked and multiplexed streams, and images
made here. $ENGINE_SOCKET says whose socket, $ENGINE who answers there; nothing else in the suite knows."""
import contextlib
import hashlib
import io
import json
import os
import socket
import struct
import tarfile
import time
import unittest
import urllib.parse

SOCKET = os.environ.get("ENGINE_SOCKET", "/run/berth.sock")
ENGINE = os.environ.get("ENGINE", "berth")
BUSYBOX = os.environ.get("BUSYBOX_TAR", "/root/busybox.tar")
LABEL = "berth.api.test"
PREFIX = "api-test-"
JSON_TYPE = "application/json"
RAW_STREAM = "application/vnd.docker.raw-stream"
MULTIPLEXED_STREAM = "application/vnd.docker.multiplexed-stream"


class Answer:
    """One HTTP answer. The status is 0 where the server closed the connection without one."""

    def __init__(self, data):
        head, _, self.body = data.partition(b"\r\n\r\n")
        lines = head.split(b"\r\n")
        words = lines[0].split(b" ", 2)
        self.raw = data
        self.head = head.decode("latin-1")
        self.headers = {name.strip().lower(): value.strip() for name, _, value in
                        (line.decode("latin-1").partition(":") for line in lines[1:])}
        self.status = int(words[1]) if words[0].startswith(b"HTTP/1.") and len(words) > 1 and words[1].isdigit() else 0
        if self.headers.get("transfer-encoding", "").lower() == "chunked":
            self.body = unchunk(self.body)

    def json(self):
        return json.loads(self.body)

    def lines(self):
        """The values of a stream of JSON."""
        text, values, decoder = self.body.decode(), [], json.JSONDecoder()
        while text := text.lstrip():
            value, end = decoder.raw_decode(text)
            values.append(value)
            text = text[end:]
        return values

    def message(self):
        """An error's text, which has to be JSON of the documented shape."""
        value = self.json()
        assert isinstance(value, dict) and isinstance(value.get("message"), str) and value["message"], value
        return value["message"]


def unchunk(data):
    plain = b""
    while data:
        size, _, data = data.partition(b"\r\n")
        length = int(size.split(b";")[0], 16)
        if length == 0:
            break
        plain += data[:length]
        data = data[length + 2:]
    return plain


def send_raw(path, raw, seconds=30, half_close=False):
    """Sends bytes, or pieces with pauses between them, and reads until the server closes."""
    pieces = [raw] if isinstance(raw, bytes) else raw
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(seconds)
        connection.connect(path)
        try:
            for piece in pieces:
                if isinstance(piece, float):
                    time.sleep(piece)
                else:
                    connection.sendall(piece)
            if half_close:
                connection.shutdown(socket.SHUT_WR)
        except (BrokenPipeError, ConnectionResetError):
            pass  # refused early: the answer is there to read
        received = b""
        try:
            while data := connection.recv(65536):
                received += data
        except ConnectionResetError:
            pass
        return received


def build(method, path, body=b"", headers=(), version="HTTP/1.1"):
    """A request of one exchange, with what HEADERS does not say itself."""
    if not isinstance(body, bytes):
        body = json.dumps(body).encode()
    names = [header.split(":")[0].lower() for header in headers]
    lines = [f"{method} {path} {version}", *headers]
    if "host" not in names:
        lines.append("Host: d")
    if "connection" not in names:
        lines.append("Connection: close")
    if body and "content-type" not in names:
        lines.append("Content-Type: application/json")
    if "content-length" not in names and "transfer-encoding" not in names and (body or method == "POST"):
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def target(path, query):
    """Lists and objects are sent as the JSON that the API wants in a query; True is 1."""
    pairs = [(name, json.dumps(value) if isinstance(value, (dict, list)) else int(value) if isinstance(value, bool) else value)
             for name, value in query.items() if value is not None]
    return path + ("?" + urllib.parse.urlencode(pairs) if pairs else "")


def call(method, path, body=b"", headers=(), server=None, **query):
    return Answer(send_raw(server or SOCKET, build(method, target(path, query), body, headers)))


def succeed(method, path, body=b"", status=None, server=None, **query):
    """A call that has to work, with its answer's JSON where it has some."""
    answer = call(method, path, body, server=server, **query)
    if answer.status != (status or answer.status) or not 200 <= answer.status < 300:
        raise AssertionError(f"{server or SOCKET} {method} {target(path, query)}: {answer.status} {answer.body[:500]!r}")
    return answer.json() if answer.body and answer.headers.get("content-type", "").startswith(JSON_TYPE) else None


def wait_until(condition, seconds=15, what="the condition", pause=0.05):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"after {seconds} s: not {what}")
        time.sleep(pause)


def open_answer(request, server=None, seconds=20):
    """Sends a request and reads the head of its answer: the socket, the answer, and what has come behind it."""
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(seconds)
    connection.connect(server or SOCKET)
    connection.sendall(request)
    received = b""
    while b"\r\n\r\n" not in received:
        data = connection.recv(65536)
        if not data:
            break
        received += data
    head, _, rest = received.partition(b"\r\n\r\n")
    return connection, Answer(head + b"\r\n\r\n"), rest


class Stream:
    """A connection whose answer goes on: a hijacked one, or a stream of chunks that is read as it comes."""

    def __init__(self, method, path, body=b"", upgrade=False, server=None, seconds=20, **query):
        headers = ("Connection: Upgrade", "Upgrade: tcp") if upgrade else ("Connection: keep-alive",)
        self.socket, self.answer, self.buffer = open_answer(build(method, target(path, query), body, headers), server, seconds)
        self.chunked = self.answer.headers.get("transfer-encoding", "").lower() == "chunked"
        self.length = self.answer.headers.get("content-length")

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def end_input(self):
        self.socket.shutdown(socket.SHUT_WR)

    def _fill(self):
        data = self.socket.recv(65536)
        self.buffer += data
        return bool(data)

    def _take(self, size):
        while len(self.buffer) < size:
            if not self._fill():
                raise EOFError
        data, self.buffer = self.buffer[:size], self.buffer[size:]
        return data

    def _line(self):
        while b"\r\n" not in self.buffer:
            if not self._fill():
                raise EOFError
        line, _, self.buffer = self.buffer.partition(b"\r\n")
        return line

    def read_some(self):
        """What comes next of the body; b"" at its end."""
        if self.chunked:
            try:
                length = int(self._line(), 16)
                data = self._take(length)
                self._line()
            except EOFError:
                return b""
            return data
        if not self.buffer:
            self._fill()
        data, self.buffer = self.buffer, b""
        return data

    def read_all(self):
        data = b""
        if not self.chunked and self.length is not None:
            return self._take(int(self.length))
        while piece := self.read_some():
            data += piece
        return data

    def expect(self, text):
        """Reads until TEXT has come, and gives all up to its end."""
        data = b""
        while text not in data:
            piece = self.read_some()
            if not piece:
                raise AssertionError(f"ended without {text!r}: {data!r}")
            data += piece
        return data


def frames(data):
    """The frames of a multiplexed stream: pairs of stream number and bytes. Everything has to be whole."""
    result = []
    while data:
        assert len(data) >= 8 and data[1:4] == b"\0\0\0" and data[0] in (0, 1, 2, 3), data[:40]
        size = struct.unpack(">I", data[4:8])[0]
        assert len(data) >= 8 + size, (size, len(data))
        result.append((data[0], data[8:8 + size]))
        data = data[8 + size:]
    return result


def streams(data):
    """Standard output and standard error of a multiplexed stream."""
    parts = frames(data)
    return tuple(b"".join(text for number, text in parts if number == wanted) for wanted in (1, 2))


# --- Images made here: docker-archive, one layer a dictionary of names and contents ----------------------------------

def layer_tar(files):
    """FILES: name to content; a text is where a symbolic link leads."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.mtime = 1700000000
            if isinstance(content, str):
                entry.type, entry.linkname = tarfile.SYMTYPE, content
            else:
                entry.size = len(content)
            tar.addfile(entry, None if isinstance(content, str) else io.BytesIO(content))
    return buffer.getvalue()


def image_archive(tags, layers, config=None, **members):
    """An archive as docker save writes it, and the ID the image will have."""
    tars = [layer_tar(files) for files in layers]
    image = {"architecture": "amd64", "os": "linux", "created": "2024-05-06T07:08:09.123456789Z", "config": config or {},
             "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(tar).hexdigest() for tar in tars]},
             "history": [{"created": "2024-05-06T07:08:09Z", "created_by": f"step {i}"} for i in range(len(tars))], **members}
    image_text = json.dumps(image).encode()
    digest = hashlib.sha256(image_text).hexdigest()
    names = [f"{hashlib.sha256(tar).hexdigest()}/layer.tar" for tar in tars]
    manifest = [{"Config": f"{digest}.json", "RepoTags": tags, "Layers": names}]
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in [(f"{digest}.json", image_text), *zip(names, tars), ("manifest.json", json.dumps(manifest).encode())]:
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue(), "sha256:" + digest


def load(archive, server=None):
    return Answer(send_raw(server or SOCKET, build("POST", "/images/load?quiet=1", archive, ("Content-Type: application/x-tar",))))


def load_busybox(server=None):
    """Once for all tests; it stays."""
    if call("GET", "/images/busybox/json", server=server).status != 200:
        with open(BUSYBOX, "rb") as archive:
            assert load(archive.read(), server).status == 200
    return succeed("GET", "/images/busybox/json", server=server)["Id"]


# --- Containers of the tests -------------------------------------------------------------------------------------------

def create(*command, name=None, server=None, host=None, **config):
    """Without a network, unless asked for one: that is not what most tests are about. Gives the ID."""
    body = {"Image": "busybox", "Cmd": list(command) or ["true"], "Labels": {}, **config,
            "HostConfig": {"NetworkMode": "none", **(host or {})}}
    body["Labels"] = {LABEL: "1", **body["Labels"]}
    return succeed("POST", "/containers/create", body, 201, server, name=name and PREFIX + name)["Id"]


def start(*command, **options):
    identifier = create(*command, **options)
    succeed("POST", f"/containers/{identifier}/start", status=204, server=options.get("server"))
    return identifier


def finish(identifier, server=None):
    return succeed("POST", f"/containers/{identifier}/wait", status=200, server=server)["StatusCode"]


def run(*command, **options):
    """Runs a container to its end and gives its ID."""
    identifier = start(*command, **options)
    finish(identifier, options.get("server"))
    return identifier


def inspect(identifier, server=None, **query):
    return succeed("GET", f"/containers/{identifier}/json", server=server, **query)


def ours(server=None):
    return succeed("GET", "/containers/json", server=server, all=True, filters={"label": [LABEL]})


def clean_up(server=None):
    for container in ours(server):
        call("DELETE", f"/containers/{container['Id']}", server=server, force=True, v=True)
    for image in succeed("GET", "/images/json", server=server):
        for tag in image.get("RepoTags") or []:
            if tag.startswith(PREFIX):
                call("DELETE", f"/images/{tag}", server=server, force=True)


class Case(unittest.TestCase):
    """A test of one engine. What it makes carries the prefix, or the label, and goes at its end."""

    maxDiff = None

    @classmethod
    def setUpClass(cls):
        cls.busybox = load_busybox()
        clean_up()

    def setUp(self):
        self.addCleanup(clean_up)

    def refuse(self, status, method, path, body=b"", text="", **query):
        """A call that has to be refused, with TEXT in its message. Gives the message."""
        answer = call(method, path, body, **query)
        self.assertEqual(answer.status, status, f"{method} {target(path, query)}: {answer.body[:500]!r}")
        message = answer.message()
        self.assertIn(text, message)
        return message

    def skip_if_missing(self, answer):
        """Berth says of what it has not got that this version does not support it; dockerd never does."""
        if b"not supported by this version of berth" in answer.body:
            self.skipTest(answer.body.decode().strip())

    @contextlib.contextmanager
    def running(self, *command, **options):
        identifier = start(*(command or ("sleep", "600")), **options)
        try:
            yield identifier
        finally:
            call("DELETE", f"/containers/{identifier}", force=True)


def differs(berth, dockerd, reason):
    """What a test expects where the two may differ; the reason has to be said."""
    assert reason
    return berth if ENGINE == "berth" else dockerd


def main():
    unittest.main(module="__main__", verbosity=1)
