#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Requests that are wrong: each gets its documented status and a message, and the engine that answered it goes on. One
table for both engines; where dockerd answers otherwise, the second table says so, with the reason."""
import json

import engine
from engine import SOCKET, Answer, Case, build, call, send_raw

BUSYBOX = {"Image": "busybox"}
ID_TOO_LONG = "0123456789abcdef" * 4 + "0"


def create(host=None, name="", **config):
    body = {**BUSYBOX, "Labels": {engine.LABEL: "1"}, **config}
    if host is not None:
        body["HostConfig"] = host
    return build("POST", f"/containers/create{name}", body)


def create_raw(body, *headers):
    return build("POST", "/containers/create", body, headers)


def get(path, *headers):
    return build("GET", path, headers=headers)


def post(path):
    return build("POST", path)


def filters(value, path="/containers/json"):
    text = value if isinstance(value, str) else json.dumps(value)
    return get(f"{path}?filters=" + "".join(f"%{byte:02x}" for byte in text.encode()))


# name, request, status. "running", "ended" and "fresh" are containers in that state.
JSON = [
    ("empty body", build("POST", "/containers/create", headers=("Content-Type: application/json",)), 400),
    ("truncated", create_raw(b"{"), 400),
    ("truncated string", create_raw(b'{"Image": "busy'), 400),
    ("null", create_raw(b"null"), 400),
    ("an array", create_raw(b"[]"), 400),
    ("a string", create_raw(b'"busybox"'), 400),
    ("two values", create_raw(b'{"Image": "busybox"} {}'), 400),
    ("single quotes", create_raw(b"{'Image': 'busybox'}"), 400),
    ("UTF-16", create_raw('{"Image": "busybox"}'.encode("utf-16")), 400),
    ("100,000 arrays deep", create_raw(b'{"Image": "busybox", "X": ' + b"[" * 100000), 400),
    ("100,000 objects deep", create_raw(b'{"a":' * 100000 + b"1" + b"}" * 100000), 400),
    ("duplicate keys", create_raw(b'{"Image": "busybox", "Image": "busybox"}'), 400),
    ("not UTF-8", create_raw(b'{"Image": "busybox", "Cmd": ["\xff\xfe"]}'), 400),
    ("zero byte", create_raw(b'{"Image": "busybox", "Cmd": ["a\\u0000b"]}'), 400),
    ("text/plain", create_raw(b'{"Image": "busybox"}', "Content-Type: text/plain"), 400),
    ("17 MB", create_raw(b'{"Image": "' + b"x" * 17_000_000 + b'"}'), 413),
    ("17 MB in chunks", create_raw(b"1036640\r\n" + b" " * 0x1036640 + b"\r\n0\r\n\r\n", "Transfer-Encoding: chunked"), 413),
]
FIELDS = [
    ("Image: number", create(Image=5), 400),
    ("Env: object", create(Env={"A": "b"}), 400),
    ("Env: numbers", create(Env=[1]), 400),
    ("Env without a name", create(Env=["=x"]), 400),
    ("Env empty", create(Env=[""]), 400),
    ("Cmd: number", create(Cmd=5), 400),
    ("Cmd: numbers", create(Cmd=[1]), 400),
    ("Entrypoint: object", create(Entrypoint={}), 400),
    ("Labels: array", create(Labels=[]), 400),
    ("Labels: numbers", create(Labels={"a": 1}), 400),
    ("Tty: string", create(Tty="yes"), 400),
    ("StopTimeout: string", create(StopTimeout="x"), 400),
    ("StopTimeout: fraction", create(StopTimeout=1.5), 400),
    ("StopTimeout negative", create(StopTimeout=-2), 201),
    ("StopSignal unknown", create(StopSignal="NOSUCH"), 400),
    ("StopSignal too large", create(StopSignal="65"), 400),
    ("StopSignal of the C library", create(StopSignal="33"), 400),
    ("StopSignal negative", create(StopSignal="-9"), 400),
    *((f"StopSignal {signal}", create(StopSignal=signal), status)
      for signal, status in (("CLD", 201), ("io", 201), ("SIGIOT", 201), ("RTMAX", 201), ("SIGRTMAX-14", 201), ("RTMIN+15", 201),
                             ("RTMAX-15", 400), ("RTMAX+1", 400), ("RTMIN-1", 400), ("RTMAX-x", 400))),
    ("ExposedPorts: array", create(ExposedPorts=["80/tcp"]), 400),
    ("ExposedPorts: no port", create(ExposedPorts={"abc": {}}), 201),
    ("User: number", create(User=0), 400),
    ("WorkingDir relative", create(WorkingDir="tmp"), 400),
    ("Healthcheck: array", create(Healthcheck=[]), 400),
    ("Volumes: array", create(Volumes=["/x"]), 400),
    ("HostConfig: array", create([]), 400),
    ("HostConfig: string", create("x"), 400),
    ("Memory: string", create({"Memory": "1g"}), 400),
    ("Memory too large", create_raw(b'{"Image": "busybox", "HostConfig": {"Memory": 99999999999999999999}}'), 400),
    ("Memory too small", create({"Memory": 4096}), 400),
    ("Memory negative", create({"Memory": -5}), 400),
    ("MemorySwap without Memory", create({"MemorySwap": 10000000}), 400),
    ("NanoCpus and CpuQuota", create({"NanoCpus": 1000000000, "CpuQuota": 1000, "CpuPeriod": 1000}), 400),
    ("Binds: string", create({"Binds": "/a:/b"}), 400),
    ("Binds: relative target", create({"Binds": ["/tmp:tmp"]}), 400),
    ("Binds: four parts", create({"Binds": ["/a:/b:ro:x"]}), 400),
    ("Binds: bad mode", create({"Binds": ["/a:/b:nosuch"]}), 400),
    ("Binds: onto the root", create({"Binds": ["/tmp:/"]}), 400),
    ("RestartPolicy: string", create({"RestartPolicy": "always"}), 400),
    ("RestartPolicy unknown", create({"RestartPolicy": {"Name": "sometimes"}}), 400),
    ("RestartPolicy negative", create({"RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": -1}}), 400),
    ("RestartPolicy: retries of always", create({"RestartPolicy": {"Name": "always", "MaximumRetryCount": 3}}), 400),
    ("RestartPolicy with AutoRemove", create({"RestartPolicy": {"Name": "always"}, "AutoRemove": True}), 400),
    ("LogConfig: array", create({"LogConfig": []}), 400),
    ("LogConfig unknown", create({"LogConfig": {"Type": "nosuch"}}), 400),
    ("PortBindings: array", create({"PortBindings": []}), 400),
    ("PortBindings: bad port", create({"PortBindings": {"80/tcp": [{"HostPort": "x"}]}}), 400),
    ("PortBindings: port too large", create({"PortBindings": {"80/tcp": [{"HostPort": "65536"}]}}), 400),
    ("PortBindings: range backwards", create({"PortBindings": {"80/tcp": [{"HostPort": "90-80"}]}}), 400),
    ("PortBindings: no container port", create({"PortBindings": {"x/tcp": [{"HostPort": "80"}]}}), 400),
    ("PortBindings: container port too large", create({"PortBindings": {"65536/tcp": []}}), 400),
    ("PortBindings: number", create({"PortBindings": {"80/tcp": [{"HostPort": 80}]}}), 400),
    ("PortBindings: object", create({"PortBindings": {"80/tcp": {"HostPort": "80"}}}), 400),
    ("PortBindings: string", create({"PortBindings": {"80/tcp": ["80"]}}), 400),
    ("Ulimits: object", create({"Ulimits": {}}), 400),
    ("Ulimits unknown", create({"Ulimits": [{"Name": "nosuch", "Soft": 1, "Hard": 1}]}), 201),
    ("Devices: numbers", create({"Devices": [1]}), 400),
    ("Mounts: object", create({"Mounts": {}}), 400),
    ("Mounts: strings", create({"Mounts": ["x"]}), 400),
    ("Mounts: unknown type", create({"Mounts": [{"Type": "nosuch", "Target": "/x"}]}), 400),
    ("Mounts: relative source", create({"Mounts": [{"Type": "bind", "Source": "x", "Target": "/x"}]}), 400),
    ("Mounts: no source", create({"Mounts": [{"Type": "bind", "Source": "/nosuch", "Target": "/x"}]}), 400),
    ("Mounts: no target", create({"Mounts": [{"Type": "bind", "Source": "/tmp"}]}), 400),
    ("Mounts: twice the same", create({"Mounts": [{"Type": "tmpfs", "Target": "/x"}, {"Type": "tmpfs", "Target": "/x"}]}), 400),
    ("CapAdd unknown", create({"CapAdd": ["NOSUCH"]}), 400),
    ("CapDrop: numbers", create({"CapDrop": [1]}), 400),
    ("IpcMode unknown", create({"IpcMode": "nosuch"}), 400),
    ("PidMode unknown", create({"PidMode": "nosuch"}), 400),
    ("UTSMode unknown", create({"UTSMode": "nosuch"}), 400),
    ("UTSMode of the host, with a name", create({"UTSMode": "host"}, Hostname="x"), 400),
    ("NetworkMode of another, with a name", create({"NetworkMode": "container:api-test-running"}, Hostname="x"), 400),
    ("NetworkMode of another, with a port", create({"NetworkMode": "container:api-test-running", "PortBindings":
                                                    {"80/tcp": [{"HostPort": "80"}]}}), 400),
    ("NetworkMode of the host, with links", create({"NetworkMode": "host", "Links": ["api-test-running:x"]}), 400),
    ("UsernsMode unknown", create({"UsernsMode": "nosuch"}), 400),
    ("CgroupnsMode unknown", create({"CgroupnsMode": "nosuch"}), 400),
    ("Runtime unknown", create({"Runtime": "nosuch"}), 400),
    ("Isolation unknown", create({"Isolation": "hyperv"}), 400),
    ("SecurityOpt unknown", create({"SecurityOpt": ["nosuch"]}), 400),
    ("ShmSize negative", create({"ShmSize": -1}), 400),
    ("OomScoreAdj too large", create({"OomScoreAdj": 2000}), 400),
    ("Tmpfs: array", create({"Tmpfs": ["/x"]}), 400),
    ("Tmpfs: bad option", create({"Tmpfs": {"/x": "nosuch=1"}}), 400),
    ("Tmpfs: relative", create({"Tmpfs": {"x": ""}}), 400),
    ("ExtraHosts: no address", create({"ExtraHosts": ["host"]}), 400),
    ("Dns: no address", create({"Dns": ["nosuch"]}), 201),
    ("ConsoleSize: object", create({"ConsoleSize": {}}), 400),
    ("Sysctls: numbers", create({"Sysctls": {"net.ipv4.ip_forward": 1}}), 400),
    ("joining nothing", create({"NetworkMode": "container:nosuch"}), 201),
]
NAMES = [
    *((f"name {name}", create(name=f"?name={name}"), 400)
      for name in ("a", "%20", ".x", "-x", "a/b", "../x", "a%0ab", "a%00b", "%c3%a4b", "bad%zz", "//x")),
    ("name in use", create(name="?name=api-test-running"), 409),
    ("name in use, with a slash", create(name="?name=/api-test-running"), 409),
    ("no image named", create(Image=""), 400),
    ("image unknown", create(Image="nosuch"), 404),
    ("image with blanks", create(Image="busy box"), 400),
    ("image in capitals", create(Image="BUSYBOX"), 400),
    ("image traversal", create(Image="../../etc/passwd"), 400),
    ("image with a bad tag", create(Image="busybox:-x"), 400),
    ("image with a bad digest", create(Image="busybox@sha256:12"), 400),
    ("image by an ID too long", create(Image=ID_TOO_LONG), 404),
    *((f"container {name}", get(f"/containers/{name}/json"), 404)
      for name in ("nosuch", ID_TOO_LONG, "sha256:12", "%2e%2e", "..%2f..%2fetc%2fpasswd", "%20", "x" * 4000)),
    ("container with a zero byte", get("/containers/a%00b/json"), 400),
    ("container with a bad escape", get("/containers/a%zz/json"), 400),
    ("image json unknown", get("/images/nosuch/json"), 404),
    ("image json bad", get("/images/a:b:c/json"), 400),
    ("image json in capitals", get("/images/UPPER/json"), 400),
    ("image history unknown", get("/images/nosuch/history"), 404),
    ("image removal unknown", build("DELETE", "/images/nosuch"), 404),
    ("image removal in capitals", build("DELETE", "/images/UPPER"), 400),
    ("image tag in capitals", post("/images/busybox/tag?repo=UPPER"), 400),
    ("image tag bad", post("/images/busybox/tag?repo=x&tag=-y"), 400),
    ("image tag as digest", post("/images/busybox/tag?repo=x@sha256:" + "0" * 64), 400),
    ("image tag nothing", post("/images/busybox/tag"), 400),
    ("image tag unknown", post("/images/nosuch/tag?repo=x&tag=y"), 404),
    *((f"{what} unknown", post(f"/containers/nosuch/{what}"), 404)
      for what in ("start", "stop", "restart", "kill", "rename?name=api-test-x2", "resize?h=1&w=1", "wait", "attach")),
    ("removal unknown", build("DELETE", "/containers/nosuch"), 404),
    ("logs unknown", get("/containers/nosuch/logs?stdout=1"), 404),
]
QUERIES = [
    ("limit", get("/containers/json?limit=x"), 400),
    ("limit too large", get("/containers/json?limit=99999999999999999999"), 400),
    ("filters: two times", filters({"until": ["1h", "2h"]}, "/containers/prune").replace(b"GET", b"POST"), 400),
    *((f"filters of prune of {what}: no time", filters({"until": ["x"]}, f"/{what}/prune").replace(b"GET", b"POST"), 400)
      for what in ("containers", "networks", "images", "build")),
    ("filters of images: no time", filters({"until": ["x"]}, "/images/json"), 400),
    *((f"filters: {key} {value}", filters({key: [value]}), 400)
      for key in ("publish", "expose") for value in ("", "x", "80x", "-1", "65536", "80-", "90-80", "/tcp")),
    *((f"filters: {key} {value}", filters({key: [value]}), 200) for key in ("publish", "expose") for value in ("80/nosuch", "80-90", "0")),
    ("filters not JSON", filters("{"), 400),
    ("filters: array", filters([]), 400),
    ("filters: number", filters({"status": 1}), 400),
    ("filters: string", filters({"status": "x"}), 400),
    ("filters unknown", filters({"nosuch": ["x"]}), 400),
    ("filters: bad status", filters({"status": ["nosuch"]}), 400),
    ("filters: bad exit code", filters({"exited": ["x"]}), 400),
    ("filters: bad health", filters({"health": ["nosuch"]}), 400),
    ("filters: before unknown", filters({"before": ["nosuch"]}), 404),
    ("filters of images unknown", filters({"nosuch": ["x"]}, "/images/json"), 400),
    ("filters of images: bad dangling", filters({"dangling": ["x"]}, "/images/json"), 400),
    ("filters of images: before unknown", filters({"before": ["nosuch"]}, "/images/json"), 404),
    ("logs without a stream", get("/containers/api-test-ended/logs"), 400),
    ("logs since", get("/containers/api-test-ended/logs?stdout=1&since=x"), 400),
    ("logs until", get("/containers/api-test-ended/logs?stdout=1&until=x"), 400),
    ("logs since too large", get("/containers/api-test-ended/logs?stdout=1&since=99999999999999999999"), 400),
    ("logs since with a blank", get("/containers/api-test-ended/logs?stdout=1&since=%201"), 400),
    ("logs since the end of time", get("/containers/api-test-ended/logs?stdout=1&since=9223372036854775807"), 200),
    ("logs since before the epoch", get("/containers/api-test-ended/logs?stdout=1&since=-1"), 200),
    ("events since", get("/events?since=x&until=1"), 400),
    ("events until", get("/events?since=1&until=1e3"), 400),
    ("events until too large", get("/events?since=1&until=99999999999999999999"), 400),
    ("events until earlier than since", get("/events?since=5&until=2"), 400),
    ("events since a number with a sign", get("/events?since=%2b1&until=2"), 200),
    ("events since before the epoch", get("/events?since=-2&until=1"), 200),
    ("logs tail", get("/containers/api-test-ended/logs?stdout=1&tail=x"), 200),
    ("stop t", post("/containers/api-test-running/stop?t=x"), 400),
    ("restart t", post("/containers/api-test-running/restart?t=x"), 400),
    ("stop signal", post("/containers/api-test-running/stop?signal=NOSUCH"), 400),
    *((f"kill signal {signal}", post(f"/containers/api-test-running/kill?signal={signal}"), 400)
      for signal in ("NOSUCH", "99999", "-1", "SIG", "9x", "32", "33", "65", "RTMAX-15", "RTMIN-1")),
    *((f"kill signal {signal}", post(f"/containers/api-test-running/kill?signal={signal}"), 204)
      for signal in ("64", "34", "CLD", "IO", "SIGIOT", "RTMAX", "rtmax-14", "SIGRTMIN%2b15")),
    ("kill signal of an ended one", post("/containers/api-test-ended/kill?signal=32"), 400),
    ("stop signal of an ended one", post("/containers/api-test-ended/stop?signal=NOSUCH"), 304),
    ("update: swap without memory", build("POST", "/containers/api-test-running/update", {"MemorySwap": 1 << 32}), 400),
    ("kill of an ended one", post("/containers/api-test-ended/kill"), 409),
    ("start of a running one", post("/containers/api-test-running/start"), 304),
    ("stop of an ended one", post("/containers/api-test-ended/stop"), 304),
    ("removal of a running one", build("DELETE", "/containers/api-test-running"), 409),
    ("wait condition", post("/containers/api-test-ended/wait?condition=nosuch"), 400),
    ("resize h", post("/containers/api-test-running/resize?h=x&w=1"), 400),
    ("resize nothing", post("/containers/api-test-running/resize"), 400),
    ("resize of an ended one", post("/containers/api-test-ended/resize?h=1&w=1"), 409),
    ("rename nothing", post("/containers/api-test-ended/rename"), 400),
    ("rename bad", post("/containers/api-test-ended/rename?name=a/b"), 400),
    ("rename to its own", post("/containers/api-test-ended/rename?name=api-test-ended"), 400),
    ("rename to one in use", post("/containers/api-test-ended/rename?name=api-test-running"), 409),
    ("attach keys", post("/containers/api-test-running/attach?stream=1&stdout=1&detachKeys=nosuch"), 400),
    ("prune filter", filters({"nosuch": ["x"]}, "/containers/prune").replace(b"GET", b"POST"), 400),
    ("version too new", get("/v1.99/containers/json"), 400),
    ("version too old", get("/v1.10/containers/json"), 400),
    ("version no number", get("/v1.x/containers/json"), 404),
    ("version alone", get("/v1.45"), 404),
    ("route unknown", get("/nosuch"), 404),
    ("method wrong", build("PATCH", "/containers/json"), 404),
]
HTTP = [
    ("header of 2 MB", get("/_ping", "X: " + "x" * 2_000_000), 431),
    ("20,000 headers", get("/_ping", *(f"X{i}: {'y' * 80}" for i in range(20000))), 431),
    ("target of 100 kB", get("/" + "x" * 100_000), 414),
    ("chunk size no number", create_raw(b"zz\r\n{}\r\n0\r\n\r\n", "Transfer-Encoding: chunked"), 400),
    ("chunk size too large", create_raw(b"fffffffffffffffff\r\n{}\r\n", "Transfer-Encoding: chunked"), 400),
    ("chunk without an end", create_raw(b"2\r\n{}XX0\r\n\r\n", "Transfer-Encoding: chunked"), 400),
    ("encoding unknown", create_raw(b"{}", "Transfer-Encoding: nosuch"), 501),
    ("length no number", create_raw(b"{}", "Content-Length: x"), 400),
    ("length negative", create_raw(b"{}", "Content-Length: -2"), 400),
    ("length signed", create_raw(b"{}", "Content-Length: +2"), 400),
    ("length too large", create_raw(b"{}", "Content-Length: 99999999999999999999999"), 400),
    ("two lengths", create_raw(b"{}", "Content-Length: 2", "Content-Length: 3"), 400),
    ("length and chunks", create_raw(b"0\r\n\r\n", "Content-Length: 5", "Transfer-Encoding: chunked"), 400),
    ("method unknown", build("BREW", "/_ping"), 400),
    ("method in small letters", build("get", "/_ping"), 400),
    ("HTTP/0.9", b"GET /_ping\r\n\r\n", 400),
    ("HTTP/2 preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    ("HTTP/3.0", build("GET", "/_ping", version="HTTP/3.0"), 505),
    ("HTTP/x", build("GET", "/_ping", version="HTTP/x"), 400),
    ("no protocol", build("GET", "/_ping", version="nosuch"), 400),
    ("no host", b"GET /_ping HTTP/1.1\r\nConnection: close\r\n\r\n", 400),
    ("two hosts", get("/_ping", "Host: a", "Host: b"), 400),
    ("blank before a colon", get("/_ping", "X : y"), 400),
    ("header without a colon", get("/_ping", "nosuch"), 400),
    ("zero byte in a header", get("/_ping", "X: a\0b"), 400),
    ("zero byte in the target", get("/_ping\0"), 400),
    ("relative target", get("_ping"), 400),
    ("TLS", bytes.fromhex("16030100c8010000c40303") + b"\xab" * 192 + b"\r\n\r\n", 400),
    ("binary", bytes(range(256)) * 8, 400),
    ("expectation unknown", create_raw(b"{}", "Expect: nosuch"), 417),
]
TABLE = [(f"{group}: {name}", raw, status) for group, rows in
         (("json", JSON), ("field", FIELDS), ("name", NAMES), ("query", QUERIES), ("http", HTTP)) for name, raw, status in rows]

# What dockerd 26.1 answers instead, and why Berth does not; None: dockerd is not asked.
GUESSED = "refused rather than guessed at: dockerd takes the last one, or puts U+FFFD or a string cut short in its place"
CLIENT = "a mistake of the client's is not the server's failure"
EARLIER = "found at the creation, not at the start"
PATHS = "no redirect to a cleaned path: clients of a unix socket do not follow it"
PARSER = "the request line is refused before it is routed"
BOUNDED = "what one client can make the daemon hold is bounded"
DIFFERENCES = {
    "json: duplicate keys": (201, GUESSED),
    "json: not UTF-8": (201, GUESSED),
    "json: zero byte": (201, GUESSED),
    "json: 17 MB": (None, "dockerd, which has no limit, needs 5 s for it"),
    "json: 17 MB in chunks": (400, BOUNDED),
    "field: Binds: relative target": (500, CLIENT),
    "field: Binds: four parts": (500, CLIENT),
    "field: Binds: bad mode": (500, CLIENT),
    "field: Binds: onto the root": (500, CLIENT),
    "field: LogConfig unknown": (None, "dockerd looks for a plugin of that name for 15 s, then answers the same"),
    "field: UsernsMode unknown": (201, EARLIER),
    "field: StopSignal too large": (201, EARLIER),
    "field: StopSignal of the C library": (201, EARLIER),
    "field: StopSignal negative": (201, EARLIER),
    "field: Isolation unknown": (500, CLIENT),
    "field: SecurityOpt unknown": (500, CLIENT),
    "field: Tmpfs: bad option": (201, EARLIER),
    "name: container %2e%2e": (301, PATHS),
    "name: container ..%2f..%2fetc%2fpasswd": (301, PATHS),
    "name: container with a zero byte": (404, "dockerd looks for the name without it"),
    "name: image tag nothing": (200, "a tag without a repository means nothing; dockerd answers 200 with an empty body"),
    "query: limit": (500, CLIENT),
    "query: limit too large": (500, CLIENT),
    "query: logs since": (500, CLIENT),
    "query: logs until": (500, CLIENT),
    "query: logs since too large": (500, CLIENT),
    "query: logs since with a blank": (500, CLIENT),
    "query: events since": (500, CLIENT),
    "query: events until": (500, CLIENT),
    "query: events until too large": (500, CLIENT),
    "query: filters of prune of images: no time": (500, CLIENT),
    "query: filters of images: no time": (500, CLIENT),
    **{f"query: filters: {key} {value}": (500, CLIENT) for key in ("publish", "expose")
       for value in ("", "x", "80x", "-1", "65536", "80-", "90-80", "/tcp")},
    "query: update: swap without memory": (500, CLIENT),
    "query: stop t": (500, CLIENT),
    "query: restart t": (500, CLIENT),
    "query: stop signal": (500, CLIENT),
    "http: target of 100 kB": (404, BOUNDED),
    "http: method unknown": (404, PARSER),
    "http: method in small letters": (404, PARSER),
    "http: HTTP/2 preface": (301, PARSER),
}



def answer_of(raw, server=SOCKET):
    answer = Answer(send_raw(server, raw))
    if answer.status == 201 and b'"Id"' in answer.body:
        call("DELETE", f"/containers/{answer.json()['Id']}?force=1", server=server)
    return answer


def make_containers(server=SOCKET):
    engine.load_busybox(server)
    engine.clean_up(server)
    engine.start("sleep", "600", name="running", server=server)
    engine.run("true", name="ended", server=server)
    engine.create("true", name="fresh", server=server)


class Errors(Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        make_containers()
        cls.addClassCleanup(engine.clean_up)

    def setUp(self):
        """The containers stay for all tests."""

    def test_table(self):
        for name, raw, status in TABLE:
            with self.subTest(name):
                if engine.ENGINE != "berth":
                    status, reason = DIFFERENCES.get(name, (status, "the same"))
                    self.assertTrue(reason)
                    if status is None:
                        continue
                answer = answer_of(raw)
                self.assertEqual(answer.status, status, answer.raw[:600])
                if answer.status >= 400 and engine.ENGINE == "berth":
                    answer.message()
        self.assertEqual(call("GET", "/_ping").body, b"OK")

    def test_no_row_without_use(self):
        """A difference names a row, and is one."""
        statuses = {name: status for name, _, status in TABLE}
        self.assertEqual(len(statuses), len(TABLE), "names are unique")
        self.assertEqual([name for name, (other, _) in DIFFERENCES.items() if statuses.get(name, other) == other], [])

    def test_pipelined(self):
        raw = build("GET", "/_ping", headers=("Connection: keep-alive",)) * 300
        answers = send_raw(SOCKET, raw + build("GET", "/nosuch") + build("GET", "/_ping"))
        self.assertEqual(answers.count(b"HTTP/1.1 200 OK"), 300)
        self.assertEqual(answers.count(b"HTTP/1.1 404"), 1)
        self.assertNotIn(b"HTTP/1.1 200", answers.partition(b"HTTP/1.1 404")[2], "nothing after Connection: close")

    def test_pipelined_then_malformed(self):
        answers = send_raw(SOCKET, build("GET", "/_ping", headers=("Connection: keep-alive",)) + b"\0nonsense\r\n\r\n")
        self.assertLess(answers.index(b"HTTP/1.1 200"), answers.index(b"HTTP/1.1 400"))

    def test_continue(self):
        body = b'{"Image": "nosuch"}'
        raw = build("POST", "/containers/create", body, ("Expect: 100-continue",))
        answers = send_raw(SOCKET, [raw[:-len(body)], 0.3, body])
        self.assertTrue(answers.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 404"), answers)

    def test_byte_by_byte(self):
        raw = build("POST", "/containers/create", b'{"Image": "nosuch"}')
        pieces = [piece for byte in raw for piece in (bytes((byte,)), 0.001)]
        self.assertEqual(Answer(send_raw(SOCKET, pieces)).status, 404)

    def test_half_closed_is_answered(self):
        self.assertEqual(Answer(send_raw(SOCKET, build("GET", "/_ping"), half_close=True)).status, 200)


if __name__ == "__main__":
    engine.main()
