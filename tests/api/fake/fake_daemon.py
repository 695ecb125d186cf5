# SPDX-License-Identifier: LGPL-2.1-or-later
"""A pretended engine on a unix socket, for tests of clients. It knows a few containers and images, runs nothing, and
keeps every request it got (but pings). What an attached container does depends on its command:

    echo WORD...     writes WORD... and ends with 0         both            writes "out" and "err"
    exit N           ends with N                            cat             writes what it reads
    big N            writes N bytes                         signal          waits for a kill, tells which
    tty              tells its window's size                nostart         cannot be started (404 text of the kernel)
    drop             the daemon's wait breaks first         gone            the same, and the container is gone
"""
import base64
import http.server
import io
import json
import os
import pathlib
import re
import socketserver
import struct
import tarfile
import threading
import time
import urllib.parse

DATA = json.loads(pathlib.Path(__file__).with_name("fake-data.json").read_text())
IMAGE_KNOWN = ("busybox", "busybox:latest")


class Container:
    def __init__(self, ident, name, body):
        self.id, self.name, self.body = ident, name, body
        self.stream = None
        self.output = self.errors = True
        self.resized = []
        self.killed = threading.Event()
        self.signal = None
        self.status = None
        self.ended = threading.Event()
        self.waits = 0
        self.detach_keys = b"\x10\x11"

    def frame(self, kind, data):
        if not self.stream or (kind == 2 and not self.errors) or (kind == 1 and not self.output):
            return
        if not self.body.get("Tty"):
            data = struct.pack(">BxxxI", kind, len(data)) + data
        self.stream.sendall(data)

    def run(self):
        command = self.body.get("Cmd") or ["exit", "0"]
        try:
            self.status = getattr(self, "do_" + command[0])(*command[1:]) or 0
        except OSError:
            self.status = 1
        if self.stream:
            try:
                self.stream.shutdown(2)
            except OSError:
                pass
        self.ended.set()

    def do_echo(self, *words):
        self.frame(1, (" ".join(words) + "\n").encode())

    def do_both(self):
        self.frame(1, b"out\n")
        self.frame(2, b"err\n")

    def do_exit(self, number):
        return int(number)

    def do_big(self, number):
        left = int(number)
        while left > 0:
            piece = min(left, 30000)
            self.frame(1, b"x" * piece)
            left -= piece

    def do_cat(self):
        while data := self.stream.recv(65536):
            if self.body.get("Tty") and self.detach_keys in data:
                self.stream.shutdown(2)
                self.stream = None
                threading.Event().wait()
            self.frame(1, data)

    def do_signal(self):
        self.frame(1, b"ready\n")
        self.killed.wait(10)
        self.frame(1, f"{self.signal}\n".encode())
        return 143

    def do_tty(self):
        deadline = time.time() + 5
        while not self.resized and time.time() < deadline:
            time.sleep(0.01)
        self.frame(1, f"{self.resized[-1:]}\r\n".encode())

    def do_drop(self):
        time.sleep(0.3)
        self.frame(1, b"still here\n")
        return 7

    do_gone = do_drop


class Engine:
    def __init__(self):
        self.containers = {}
        self.execs = {}
        self.requests = []
        self.pulled = set()
        self.lock = threading.Lock()

    def find(self, name):
        for container in self.containers.values():
            if name in (container.id, container.name) or container.id.startswith(name):
                return container
        return None


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments):
        pass

    def address_string(self):
        return "unix"

    def answer(self, status, value=None, content_type="application/json"):
        data = b"" if value is None else value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Api-Version", "1.51")
        self.send_header("Ostype", "linux")
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def refuse(self, status, message):
        self.answer(status, {"message": message})

    def read_body(self):
        if self.headers.get("Transfer-Encoding") == "chunked":
            pieces = []
            while size := int(self.rfile.readline(), 16):
                pieces.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(pieces)
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def handle_one(self):
        engine = self.server.engine
        url = urllib.parse.urlsplit(self.path)
        path = re.sub(r"^/v[0-9.]+", "", url.path)
        query = dict(urllib.parse.parse_qsl(url.query, keep_blank_values=True))
        pairs = urllib.parse.parse_qsl(url.query, keep_blank_values=True)
        body = self.read_body()
        if path == "/_ping":
            return self.answer(200, b"OK", "text/plain")
        if self.headers.get("Content-Type", "").startswith("application/json") and body:
            parsed = json.loads(body)
        else:
            parsed = {"bytes": len(body)} if body else None
        if auth := self.headers.get("X-Registry-Auth"):
            pairs.append(("X-Registry-Auth", base64.urlsafe_b64decode(auth).decode()))
        engine.requests.append([self.command, urllib.parse.unquote(path), sorted(pairs), parsed])
        for method, pattern, action in ROUTES:
            match = re.fullmatch(pattern, path)
            if method == self.command and match:
                return action(self, query, parsed, *map(urllib.parse.unquote, match.groups()))
        return self.refuse(404, "page not found")

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = handle_one

    # --- fixed answers ---
    def known(self, kind, name):
        return DATA[kind].get(name)

    def get_fixed(self, query, body, name):
        self.answer(200, DATA[name])

    def get_inspect(self, query, body, kind, name):
        container = self.server.engine.find(name) if kind == "containers" else None
        if container:
            return self.answer(200, {"Id": container.id, "Name": "/" + container.name, "State": {
                "Running": container.status is None, "Status": "running"}, "Config": container.body,
                "HostConfig": container.body.get("HostConfig", {})})
        if value := DATA["inspect"].get(f"{kind}/{name}"):
            return self.answer(200, value)
        words = {"containers": "No such container: ", "images": "No such image: ", "networks": "network "}
        suffix = " not found" if kind == "networks" else ""
        return self.refuse(404, words.get(kind, "get ") + name + suffix)

    def get_object(self, query, body, kind, name):
        self.get_inspect(query, body, kind, name)

    def get_logs(self, query, body, name):
        if name == "nosuch":
            return self.refuse(404, "No such container: nosuch")
        text = "2024-01-02T03:04:05.000000000Z " if query.get("timestamps") else ""
        data = b"".join(struct.pack(">BxxxI", kind, len(line)) + line for kind, line in (
            (1, (text + "line one\n").encode()), (2, (text + "line two\n").encode())))
        return self.answer(200, data, "application/vnd.docker.multiplexed-stream")

    # --- containers ---
    def create(self, query, body):
        engine = self.server.engine
        if body["Image"] not in IMAGE_KNOWN and body["Image"] not in engine.pulled:
            image = body["Image"] if ":" in body["Image"] else body["Image"] + ":latest"
            return self.refuse(404, f"No such image: {image}")
        name = query.get("name", "")
        if name == "taken":
            return self.refuse(409, "Conflict. The container name \"/taken\" is already in use.")
        ident = f"{len(engine.containers) + 1:064x}"
        engine.containers[ident] = Container(ident, name, body)
        return self.answer(201, {"Id": ident, "Warnings": DATA["warnings"] if name == "warned" else []})

    def attach(self, query, body, name):
        container = self.server.engine.find(name)
        if not container:
            return self.refuse(404, "No such container: " + name)
        container.output, container.errors = "stdout" in query, "stderr" in query
        container.stream = self.connection
        self.connection.sendall(b"HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker.raw-stream\r\n"
                                b"Connection: Upgrade\r\nUpgrade: tcp\r\n\r\n")
        container.ended.wait()
        self.close_connection = True
        return None

    def start(self, query, body, name):
        container = self.server.engine.find(name)
        if not container:
            return self.refuse(404, "No such container: " + name)
        if (container.body.get("Cmd") or [""])[0] in ("nostart", "noexec"):
            why = {"nostart": 'exec: "nostart": executable file not found in $PATH: unknown',
                   "noexec": 'exec: "/etc/passwd": permission denied: unknown'}[container.body["Cmd"][0]]
            container.status = 127
            if container.stream:
                container.stream.shutdown(2)
            container.ended.set()
            return self.refuse(400, "failed to create task for container: failed to create shim task: OCI runtime "
                                    "create failed: runc create failed: unable to start container process: " + why)
        threading.Thread(target=container.run, daemon=True).start()
        return self.answer(204)

    def wait(self, query, body, name):
        container = self.server.engine.find(name)
        if not container:
            status = DATA["statuses"].get(name)
            return self.answer(200, {"StatusCode": status}) if status is not None else self.refuse(
                404, "No such container: " + name)
        command = (container.body.get("Cmd") or [""])[0]
        container.waits += 1
        if command == "gone" and container.waits > 1:
            return self.refuse(404, "No such container: " + name)
        self.connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                                b"Transfer-Encoding: chunked\r\n\r\n")
        if command in ("drop", "gone") and container.waits == 1:
            time.sleep(0.1)
            self.close_connection = True
            return None
        container.ended.wait()
        data = json.dumps({"StatusCode": container.status}).encode()
        self.connection.sendall(b"%x\r\n%s\r\n0\r\n\r\n" % (len(data), data))
        return None

    def kill(self, query, body, name):
        container = self.server.engine.find(name)
        if container:
            container.signal = query.get("signal")
            container.killed.set()
            return self.answer(204)
        return self.simple(query, body, name)

    def resize(self, query, body, name):
        if container := self.server.engine.find(name):
            container.resized.append([int(query["h"]), int(query["w"])])
        self.answer(200)

    def simple(self, query, body, name, *rest):
        if name == "nosuch" or name.startswith("nosuch"):
            return self.refuse(404, "No such container: " + name)
        if name == "stuck":
            return self.refuse(409, "cannot do that to a running container")
        return self.answer(204)

    def prune(self, query, body):
        self.answer(200, DATA["prune"])

    # --- images ---
    def image_create(self, query, body):
        if query.get("fromSrc"):
            return self.answer(200, b'{"status":"sha256:' + b"ab" * 32 + b'"}\n')
        name = query["fromImage"]
        if "pullable" in name:
            self.server.engine.pulled.add("pullable")
            lines = [{"status": "Pulling from library/pullable", "id": "latest"},
                     {"status": "Pulling fs layer", "progressDetail": {}, "id": "0123456789ab"},
                     {"status": "Downloading", "progressDetail": {"current": 5, "total": 10}, "id": "0123456789ab"},
                     {"status": "Pull complete", "progressDetail": {}, "id": "0123456789ab"},
                     {"status": "Status: Downloaded newer image for pullable:latest"}]
            return self.answer(200, b"".join(json.dumps(line).encode() + b"\r\n" for line in lines))
        if "broken" in name:
            return self.answer(200, b'{"errorDetail":{"message":"disk is full"},"error":"disk is full"}\n')
        return self.refuse(501, "pull is not supported yet")

    def load(self, query, body):
        lines = [{"status": "Loading layer", "progressDetail": {"current": 1, "total": 2}, "id": "0123456789ab"},
                 {"stream": "Loaded image: busybox:latest\n"}]
        self.answer(200, b"".join(json.dumps(line).encode() + b"\r\n" for line in lines))

    def tag(self, query, body, name):
        self.answer(201) if name != "nosuch" else self.refuse(404, "No such image: nosuch:latest")

    def remove_image(self, query, body, name):
        if name.startswith("nosuch"):
            return self.refuse(404, f"No such image: {name}:latest")
        return self.answer(200, [{"Untagged": name + ":latest"}, {"Deleted": "sha256:" + "cd" * 32}])


    # --- registries ---
    def auth(self, query, body):
        if body.get("password") == "wrong":
            return self.refuse(401, "Get \"https://reg.example.com/v2/\": unauthorized: incorrect username or password")
        if body.get("username") == "token":
            return self.answer(200, {"Status": "Login Succeeded", "IdentityToken": "tttt"})
        return self.answer(200, {"Status": "Login Succeeded", "IdentityToken": ""})

    def search(self, query, body):
        self.answer(200, DATA["search"])

    def push(self, query, body, name):
        if "broken" in name:
            return self.answer(200, b'{"errorDetail":{"message":"denied"},"error":"denied"}\n')
        lines = [{"status": f"The push refers to repository [docker.io/library/{name}]"},
                 {"status": "Preparing", "progressDetail": {}, "id": "0123456789ab"},
                 {"status": "Pushing", "progressDetail": {"current": 5, "total": 10}, "id": "0123456789ab"},
                 {"status": "Pushed", "progressDetail": {}, "id": "0123456789ab"},
                 {"status": "latest: digest: sha256:" + "ab" * 32 + " size: 528"},
                 {"progressDetail": {}, "aux": {"Tag": "latest", "Digest": "sha256:" + "ab" * 32, "Size": 528}}]
        return self.answer(200, b"".join(json.dumps(line).encode() + b"\r\n" for line in lines))

    def commit(self, query, body):
        if query["container"] == "nosuch":
            return self.refuse(404, "No such container: nosuch")
        return self.answer(201, {"Id": "sha256:" + "ab" * 32})

    def archive_of(self, query, body, *names):
        if names and names[0] == "nosuch":
            return self.refuse(404, "No such container: nosuch")
        return self.answer(200, b"archive " * 1000, "application/x-tar")

    def prune_of(self, query, body, kind):
        self.answer(200, DATA["prunes"][kind])

    # --- looking at and changing containers ---
    def known_container(self, name):
        if name.startswith("nosuch"):
            self.refuse(404, "No such container: " + name)
            return False
        return True

    def top(self, query, body, name):
        if self.known_container(name):
            self.answer(200, {"Titles": ["PID", "USER", "COMMAND"], "Processes": [
                ["1", "root", "sleep 1000"], ["23", "nobody-with-a-long-name", "sh -c x"]]})

    def changes(self, query, body, name):
        if self.known_container(name):
            self.answer(200, [{"Path": "/a", "Kind": 0}, {"Path": "/a/b", "Kind": 1}, {"Path": "/x y", "Kind": 2}])

    def update(self, query, body, name):
        if self.known_container(name):
            self.answer(200, {"Warnings": ["a warning"] if name == "warned" else []})

    def stats(self, query, body, name):
        if self.known_container(name):
            self.answer(200, DATA["stats"] | {"name": "/" + name})

    def events(self, query, body):
        self.answer(200, b"".join(json.dumps(event).encode() + b"\n" for event in DATA["events"]))

    def exec_create(self, query, body, name):
        if self.known_container(name):
            ident = f"exec{len(self.server.engine.execs)}"
            self.server.engine.execs[ident] = body
            self.answer(201, {"Id": ident})

    def exec_start(self, query, body, name):
        if self.headers.get("Upgrade") != "tcp":
            return self.answer(200)
        container = Container(name, name, self.server.engine.execs[name])
        container.stream = self.connection
        self.server.engine.containers[name] = container
        self.connection.sendall(b"HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker.raw-stream\r\n"
                                b"Connection: Upgrade\r\nUpgrade: tcp\r\n\r\n")
        container.run()
        self.close_connection = True
        return None

    def exec_inspect(self, query, body, name):
        container = self.server.engine.containers.get(name)
        self.answer(200, {"ID": name, "Running": False, "ExitCode": container.status if container else 0})

    # --- archives ---
    def path_stat(self, path):
        kinds = {"/dir": (1 << 31 | 0o755, ""), "/file": (0o644, ""), "/link": (1 << 27 | 0o777, "dir"),
                 "/": (1 << 31 | 0o755, ""), "/dev/null": (1 << 26 | 1 << 21 | 0o666, ""), "/empty": (1 << 31 | 0o755, "")}
        clean = os.path.normpath("/" + path.lstrip("/"))
        if clean not in kinds:
            return None
        mode, target = kinds[clean]
        return {"name": os.path.basename(clean) or "/", "size": 4, "mode": mode, "mtime": "2024-01-02T03:04:05Z",
                "linkTarget": target}

    def archive(self, query, body, name):
        if not self.known_container(name):
            return None
        path = query["path"]
        stat = self.path_stat(path)
        if self.command == "PUT":
            return self.answer(200)
        if not stat:
            return self.refuse(404, f"Could not find the file {path} in container {name}")
        data = b"" if self.command == "HEAD" else make_archive(path, stat)
        self.send_response(200)
        self.send_header("X-Docker-Container-Path-Stat", base64.b64encode(json.dumps(stat).encode()).decode())
        self.send_header("Content-Type", "application/x-tar")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
        return None

    # --- networks and volumes ---
    def network_create(self, query, body):
        if body["Name"] == "taken":
            return self.refuse(409, "network with name taken already exists")
        return self.answer(201, {"Id": "ef" * 32, "Warning": ""})

    def volume_create(self, query, body):
        self.answer(201, {"Name": body.get("Name") or "ab" * 32, "Driver": "local", "Mountpoint": "/x", "Scope": "local"})

    def change_network(self, query, body, name, *verb):
        if name.startswith("nosuch"):
            return self.refuse(404, f"network {name} not found")
        return self.answer(200)

    def remove_volume(self, query, body, name):
        if name.startswith("nosuch"):
            return self.refuse(404, f"get {name}: no such volume")
        return self.answer(204)


def make_archive(path, stat):
    """What an engine sends for PATH: the last part of it, with all that is below."""
    base = "." if os.path.basename(path) == "." else os.path.basename(os.path.normpath("/" + path.lstrip("/"))) or "/"
    result = io.BytesIO()
    with tarfile.open(fileobj=result, mode="w", format=tarfile.PAX_FORMAT) as archive:
        def add(name, kind, data=b"", **more):
            info = tarfile.TarInfo(name)
            info.type, info.size, info.mtime = kind, len(data), 1700000000
            info.mode = 0o755 if kind == tarfile.DIRTYPE else 0o640
            for key, value in more.items():
                setattr(info, key, value)
            archive.addfile(info, io.BytesIO(data))

        if not stat["mode"] & 1 << 31:
            add(base, tarfile.SYMTYPE if stat["linkTarget"] else tarfile.REGTYPE,
                b"" if stat["linkTarget"] else b"data", linkname=stat["linkTarget"])
        else:
            add(base, tarfile.DIRTYPE)
            if stat["name"] != "empty":
                add(base + "/one", tarfile.REGTYPE, b"first")
                add(base + "/sub", tarfile.DIRTYPE)
                add(base + "/sub/" + "long" * 60, tarfile.REGTYPE, b"x" * 3000)
                add(base + "/sub/again", tarfile.LNKTYPE, linkname=base + "/one")
                add(base + "/link", tarfile.SYMTYPE, linkname="sub/nowhere")
    return result.getvalue()


NAME = r"([^/]+(?:/[^/]+)*?)"
ROUTES = [
    ("GET", r"/(version|info)", Handler.get_fixed),
    ("GET", r"/containers/json", lambda self, q, b: self.get_fixed(q, b, "containers")),
    ("GET", r"/images/json", lambda self, q, b: self.get_fixed(q, b, "images")),
    ("GET", f"/(containers|images)/{NAME}/json", Handler.get_inspect),
    ("GET", f"/containers/{NAME}/logs", Handler.get_logs),
    ("GET", f"/(networks|volumes)/{NAME}", Handler.get_object),
    ("POST", r"/containers/create", Handler.create),
    ("POST", r"/containers/prune", Handler.prune),
    ("POST", f"/containers/{NAME}/attach", Handler.attach),
    ("POST", f"/containers/{NAME}/start", Handler.start),
    ("POST", f"/containers/{NAME}/wait", Handler.wait),
    ("POST", f"/containers/{NAME}/kill", Handler.kill),
    ("POST", f"/containers/{NAME}/resize", Handler.resize),
    ("POST", f"/containers/{NAME}/(stop|restart|rename)", Handler.simple),
    ("DELETE", f"/containers/{NAME}", Handler.simple),
    ("POST", r"/images/create", Handler.image_create),
    ("POST", r"/images/load", Handler.load),
    ("POST", f"/images/{NAME}/tag", Handler.tag),
    ("DELETE", f"/images/{NAME}", Handler.remove_image),
    ("POST", r"/auth", Handler.auth),
    ("GET", r"/images/search", Handler.search),
    ("POST", f"/images/{NAME}/push", Handler.push),
    ("GET", f"/images/{NAME}/history", lambda self, q, b, name: self.simple(q, b, name) if name == "nosuch" else
     self.get_fixed(q, b, "history")),
    ("GET", r"/images/get", Handler.archive_of),
    ("GET", f"/containers/{NAME}/export", Handler.archive_of),
    ("POST", r"/commit", Handler.commit),
    ("POST", r"/(images|networks|volumes|build)/prune", Handler.prune_of),
    ("GET", r"/system/df", lambda self, q, b: self.get_fixed(q, b, "df")),
    ("GET", r"/events", Handler.events),
    ("GET", f"/containers/{NAME}/top", Handler.top),
    ("GET", f"/containers/{NAME}/changes", Handler.changes),
    ("GET", f"/containers/{NAME}/stats", Handler.stats),
    ("POST", f"/containers/{NAME}/update", Handler.update),
    ("POST", f"/containers/{NAME}/(pause|unpause)", Handler.simple),
    ("POST", f"/containers/{NAME}/exec", Handler.exec_create),
    ("POST", f"/exec/{NAME}/start", Handler.exec_start),
    ("POST", f"/exec/{NAME}/resize", Handler.resize),
    ("GET", f"/exec/{NAME}/json", Handler.exec_inspect),
    ("GET", f"/containers/{NAME}/archive", Handler.archive),
    ("HEAD", f"/containers/{NAME}/archive", Handler.archive),
    ("PUT", f"/containers/{NAME}/archive", Handler.archive),
    ("GET", r"/(networks|volumes)", Handler.get_fixed),
    ("POST", r"/networks/create", Handler.network_create),
    ("POST", r"/volumes/create", Handler.volume_create),
    ("POST", f"/networks/{NAME}/(connect|disconnect)", Handler.change_network),
    ("DELETE", f"/networks/{NAME}", Handler.change_network),
    ("DELETE", f"/volumes/{NAME}", Handler.remove_volume),
]


class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, path):
        if os.path.exists(path):
            os.unlink(path)
        super().__init__(path, Handler)
        self.engine = Engine()

    def handle_error(self, request, client_address):
        pass

    def reset(self):
        self.engine = Engine()


def serve(path):
    """Starts a fake daemon on a thread of its own."""
    server = Server(path)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    return server


if __name__ == "__main__":
    import sys
    Server(sys.argv[1]).serve_forever()
