#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Requests about images to Berth and to dockerd, one by one: names, tags, filters, removals, commits, imports, archives, sizes.
Status and answer have to be the same, but for IDs of what is new, times, and what DIFFERENCES gives a reason for:
$ENGINE_SOCKET is Berth's, $REFERENCE_SOCKET is dockerd's."""
import gzip
import hashlib
import io
import json
import lzma
import re
import tarfile
import unittest

import engine
from compare_shapes import BERTH, REFERENCE
from engine import PREFIX, Answer, build, image_archive, layer_tar, load, run, send_raw, target

VERSION = "/v1.45"
# Pattern of the case, reason. A row that no longer differs fails the test.
DIFFERENCES = [
    (r"^(inspect|history|tag|remove) (a//b|/a|a/|\.)$", "Go's router leads to a path without these"),
    (r"^distribution a//b$", "Go's router leads to a path without these"),
    (r"^(inspect|history|tag|remove) a%0Ab$", "Go's router finds no name with a line break"),
    (r"^remove %20$", "in other words"),
    (r'^(images|prune) .*"until": \["(x|-5|)"\]', "500, and 400 since version 27"),
    (r'^(images|prune) .*"until": \["2022-01-01T00:00:00Z", "2023-01-01"\]', "dockerd takes one of them, at random, or answers 500"),
    (r'^images .*"reference": \["\["\]', "500, and 400 since version 27"),
    (r"^search .*'limit': '-1'", "dockerd answers with nothing"),
    (r"^search .*'(UPPER|a//b)'", "how a host is not found"),
    (r"^pull \{('fromSrc': '')?\}$", "in the words of the parser of URLs"),
    (r"^distribution (0{64}|scratch)$", "refused as any other name of the kind"),
    (r"^push .*one \{'tag': 'nosuch'\}$", "dockerd speaks to the registry first"),
    (r"^save /images/(get\?names=|UPPER/get)$", "500, and 400 since version 27"),
    (r"^tag (|None) (None|1)$", "dockerd tags nothing and says nothing"),
    (r"^df$", "null for no names"),
    (r"^import of xz$", "dockerd needs a program for it"),
]

CONFIG = {"Env": ["A=b"], "Cmd": ["/a"], "Labels": {"x": "y", "api": "compare"}, "WorkingDir": "/w"}
SHARED = {"shared": b"12345"}
ONE = image_archive([PREFIX + "one:1", PREFIX + "one:2"], [SHARED, {"x": b"1"}], CONFIG)
TWO = image_archive([PREFIX + "two:latest"], [SHARED, {"y": b"22"}], {**CONFIG, "Labels": {"k": "v"}}, created="2021-01-01T00:00:00Z")
LOOSE = image_archive(None, [{"z": b"loose"}], CONFIG, created="2020-01-01T00:00:00Z")
EMPTY = image_archive([PREFIX + "empty:1"], [], CONFIG)
STEPS = image_archive([PREFIX + "steps:1"], [{"x": b"step"}, {"y": b"steps"}], CONFIG, history=[
    {"created": "2024-05-06T07:08:09Z", "created_by": "one", "comment": "first"},
    {"created": "2024-05-06T07:08:10Z", "created_by": "two", "empty_layer": True},
    {"created": "2024-05-06T07:08:11Z", "created_by": "three", "author": "me"}])
# Links take as many bytes as the path that they lead to, and what hides something takes none.
LINKS = image_archive([PREFIX + "links:1"], [{"x": b"one", "link": "seven77"}, {".wh.x": b"", "link": b"above"}], CONFIG)
ALL = (ONE, TWO, LOOSE, EMPTY, STEPS, LINKS)
ID = ONE[1]
HEX = ID[7:]
ZERO = "0" * 64
LONG = "n" * 128

NAMES = [
    PREFIX + "one:1", PREFIX + "one", PREFIX + "two", f"docker.io/library/{PREFIX}two", f"docker.io/{PREFIX}two",
    f"index.docker.io/library/{PREFIX}two", f"index.docker.io/{PREFIX}two:latest", f"library/{PREFIX}two", f"registry-1.docker.io/{PREFIX}two",
    f"localhost/{PREFIX}two", f"localhost:5000/{PREFIX}two:1", f"127.0.0.1:5000/{PREFIX}two", f"[::1]:5000/{PREFIX}two", "host.example:99999/x",
    HEX, ID, HEX[:12], HEX[:4], "sha256:" + HEX[:12], HEX.upper(), "sha256:" + HEX.upper(), ZERO, "sha256:" + ZERO, "sha256:", "sha256:12", "sha256:xyz",
    f"{PREFIX}one@sha256:{ZERO}", f"{PREFIX}one:1@sha256:{ZERO}", f"{PREFIX}one@sha256:abc", f"{PREFIX}one@md5:{'0' * 32}", f"{PREFIX}one@",
    f"{PREFIX}one@{ID}", f"{PREFIX}one:", ":1", "a:b:c", "UPPER", "a/UPPER", "UPPER/a", "Host.example/a", "a//b", "/a", "a/", "a/-b", "-a", "a-", "a..b",
    "a.b", "a___b", "a__b", "a--b", "a_-b", "a:-x", "a:.x", "a:x_.-", "a:" + LONG, "a:" + LONG + "n", "n" * 240, "n" * 255, "n" * 256,
    "a/" + "n" * 254, "host.example/" + "n" * 250, "%20", "a%20b", "a%0Ab", "%C3%A4", "1", "0", "ab", "abcdef", ".", "...", "a@b",
]
TARGETS = [
    ("new", "1"), ("new", None), ("new:1", None), ("new:1", "2"), ("", None), ("", "1"), (None, None), ("sha256", None), ("sha256", "1"),
    ("docker.io/sha256", None), (HEX, None), (ZERO, "1"), (f"new@sha256:{ZERO}", None), (f"new@sha256:{ZERO}", "1"), ("new", f"sha256:{ZERO}"),
    ("new", "-x"), ("new", "a b"), ("new", LONG), ("new", LONG + "n"), ("UPPER", None), ("a/b/c/d", "x"), ("localhost:5000/a", "x"),
    ("host.example", None), ("host.example/a:80", None), ("docker.io/library/new", "y"), ("index.docker.io/new", "y"), ("a//b", None),
    ("n" * 255, None), ("n" * 256, None),
]
FILTERS = [
    {"dangling": ["true"]}, {"dangling": ["false"]}, {"dangling": ["1"]}, {"dangling": ["True"]}, {"dangling": ["x"]}, {"dangling": []},
    {"dangling": ["true", "x"]}, {"before": [PREFIX + "two"]}, {"before": ["nosuch"]}, {"before": []},
    {"since": [PREFIX + "two"]}, {"since": ["nosuch:x"]}, {"since": [HEX[:12]]}, {"before": [PREFIX + "one:1", PREFIX + "two"]},
    {"before": [PREFIX + "one:1"], "since": [PREFIX + "two"]}, {"since": ["UPPER"]}, {"until": ["x"]}, {"until": ["2022-01-01"]},
    {"until": ["2022-01-01T00:00:00Z", "2023-01-01"]}, {"until": ["1h"]}, {"until": ["1600000000"]}, {"until": ["-5"]}, {"until": [""]},
    {"label": ["k"]}, {"label": ["k=v"]}, {"label": ["k=w"]}, {"label": ["x", "k"]}, {"label": ["x=y", "api"]}, {"label": [""]}, {"label": ["="]},
    {"label!": ["k"]}, {"reference": [PREFIX + "*"]}, {"reference": [PREFIX + "one"]}, {"reference": [PREFIX + "one:?"]}, {"reference": ["*/*"]},
    {"reference": ["docker.io/library/" + PREFIX + "one"]}, {"reference": ["*:1"]}, {"reference": ["["]}, {"reference": [""]},
    {"reference": [PREFIX + "one:1", PREFIX + "two"]}, {"reference": [PREFIX + "[a-o]*"]}, {"reference": [ID]}, {"reference": [HEX[:12]]},
    {"reference": [f"{PREFIX}one@{ID}"]}, {"nosuch": ["1"]}, {"name": ["1"]}, {"": ["1"]}, {"is-official": ["true"]},
    {"dangling": {"true": True}}, {"reference": {PREFIX + "two": True}}, {"dangling": {"true": False}}, {"dangling": "true"}, {"dangling": [True]},
]
CHANGES = [
    "CMD a b", 'CMD ["a","b"]', "CMD", "CMD []", 'CMD ["a"', "ENTRYPOINT x y", 'ENTRYPOINT ["x"]', "ENTRYPOINT []", "ENV A=1", "ENV A 1 2", "ENV A", "ENV",
    "ENV A=1 B=2", 'ENV A="x y"', "ENV =x", "EXPOSE 80", "EXPOSE 80/udp 90", "EXPOSE 80-82", "EXPOSE x", "EXPOSE 70000", "EXPOSE", "EXPOSE 1:2",
    "LABEL a=b", 'LABEL "a b"=c d=e', "LABEL a", "LABEL", "ONBUILD RUN x", "ONBUILD ONBUILD RUN x", "ONBUILD FROM x", "ONBUILD", "USER 5:6", "USER",
    "USER a b", "VOLUME /v", 'VOLUME ["/v","/w"]', "VOLUME", 'VOLUME [""]', "WORKDIR /x", "WORKDIR x", "WORKDIR", "STOPSIGNAL SIGINT", "STOPSIGNAL 9",
    "STOPSIGNAL SIGNO", "STOPSIGNAL", "HEALTHCHECK NONE", "HEALTHCHECK CMD true", "HEALTHCHECK --interval=5s --retries=3 CMD true",
    "HEALTHCHECK --interval=1ns CMD true", "HEALTHCHECK", "HEALTHCHECK FOO", "SHELL [\"a\"]", "SHELL a", "RUN x", "FROM x", "COPY a b", "ADD a b", "ARG A",
    "MAINTAINER me", "NOSUCH x", "", "# comment", "cmd a", "  CMD a", "CMD a\nENV B=1", "CMD a \\\n b", "ENV A=$B", "ENV A=${A}x",
]
PLATFORMS = ["linux", "linux/arm64", "linux/arm/v7", "arm64", "amd64", "windows", "windows/amd64", "linux/x86_64", "linux/aarch64", "junk", "a/b/c/d", "linux/",
             "/", "linux/amd64/", "LINUX/AMD64", "linux/arm", "darwin/arm64", "linux/a b"]
SEARCHES = [{"term": "x", "limit": "x"}, {"term": "x", "limit": "-1"}, {"term": "x", "limit": "101"}, {"term": "x", "limit": "1.5"},
            {"term": "x", "filters": {"nosuch": ["1"]}}, {"term": "x", "filters": {"stars": ["x"]}}, {"term": "x", "filters": {"is-official": ["x"]}},
            {"term": "x", "filters": {"is-automated": ["x"]}}, {"term": "x", "filters": "junk"}, {"term": "UPPER"}, {"term": "a//b"}]


def call(method, path, body=b"", headers=(), server=None, **query):
    return engine.call(method, VERSION + path, body, headers, server, **query)


def succeed(method, path, body=b"", server=None, **query):
    return engine.succeed(method, VERSION + path, body, server=server, **query)


class Side:
    """One engine, and the names that its new IDs get, in the order they are seen."""

    def __init__(self, server):
        self.server, self.known = server, {}

    def reset(self):
        for image in succeed("GET", "/images/json", server=self.server, all=True):
            if "busybox:latest" not in (image["RepoTags"] or []):
                call("DELETE", f"/images/{image['Id']}", server=self.server, force=True)
        for archive, _ in ALL:
            assert load(archive, self.server).status == 200

    def name(self, match):
        digits = match.group(0)
        for whole, label in self.known.items():
            if whole.startswith(digits):
                return label
        self.known[digits] = f"<{len(self.known)}>"
        return self.known[digits]

    def plain(self, answer, change):
        text, self.known = answer.body.decode(errors="replace"), {}
        try:
            text = json.dumps(change(json.loads(text)))
        except ValueError:
            pass
        fixed = {identifier[7:] for _, identifier in ALL} | {ZERO}
        text = re.sub(r"\b(?:[0-9a-f]{64}|[0-9a-f]{12})\b", lambda m: m.group(0) if any(f.startswith(m.group(0)) for f in fixed) else self.name(m), text)
        text = re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+(Z|[+-]\d\d:\d\d)", "<time>", text)
        try:
            return answer.status, json.loads(text)
        except ValueError:
            return answer.status, text


class Images(unittest.TestCase):
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        cls.sides = Side(BERTH), Side(REFERENCE)
        cls.unused = set(DIFFERENCES)
        for side in cls.sides:
            engine.load_busybox(side.server)
            cls.addClassCleanup(engine.clean_up, side.server)

    def setUp(self):
        for side in self.sides:
            engine.clean_up(side.server)
            side.reset()

    def compare(self, case, ask, change=lambda value: value):
        """ASK(server) gives an Answer."""
        with self.subTest(case):
            ours, theirs = (side.plain(ask(side.server), change) for side in self.sides)
            row = next((row for row in DIFFERENCES if re.search(row[0], case)), None)
            if ours != theirs and row:
                self.unused.discard(row)
                return
            self.assertEqual(ours, theirs)

    def request(self, case, method, path, body=b"", change=lambda value: value, headers=(), **query):
        self.compare(case, lambda server: call(method, path, body, headers, server, **query), change)

    def test_names(self):
        for name in NAMES:
            self.request(f"inspect {name}", "GET", f"/images/{name}/json", change=lambda value: value.get("message") or value["Id"])
            self.request(f"history {name}", "GET", f"/images/{name}/history",
                         change=lambda value: value["message"] if isinstance(value, dict) else len(value))
            self.request(f"tag {name}", "POST", f"/images/{name}/tag", repo=PREFIX + "tagged")
            if name not in (PREFIX + "one:1", PREFIX + "one", PREFIX + "two"):
                self.request(f"remove {name}", "DELETE", f"/images/{name}", noprune=True)
            for side in self.sides:
                side.reset()
        for name in NAMES:
            self.request(f"create {name}", "POST", "/containers/create", {"Image": name.replace("%20", " "), "Cmd": ["x"]},
                         change=lambda value: value.get("message", "created"))
        for side in self.sides:
            for container in succeed("GET", "/containers/json", server=side.server, all=True):
                call("DELETE", f"/containers/{container['Id']}", server=side.server)

    def test_targets(self):
        for repository, tag in TARGETS:
            self.request(f"tag {repository} {tag}", "POST", f"/images/{PREFIX}two/tag", repo=repository, tag=tag)
            self.request(f"tags after {repository} {tag}", "GET", f"/images/{PREFIX}two/json", change=lambda value: value["RepoTags"])

    def listed(self, value):
        if isinstance(value, dict):
            return value
        return sorted([[image["RepoTags"], image["RepoDigests"], image["Id"], image["Size"], image["SharedSize"], image["Containers"], image["Labels"], image["ParentId"],
                 image["Created"]] for image in value if "busybox:latest" not in (image["RepoTags"] or [])], key=lambda row: json.dumps(row, sort_keys=True))

    def test_filters(self):
        for filters in FILTERS:
            for everything in (False, True):
                self.request(f"images {json.dumps(filters)} {everything}", "GET", "/images/json", change=self.listed, filters=filters, all=everything)
        for text in ("junk", "{", "[]", '"x"', "5", "null", "{}", '{"a":5}'):
            self.request(f"images {text}", "GET", "/images/json", change=self.listed, filters=text)
        for query in ({"digests": True}, {"shared-size": True}, {"all": "x"}, {"shared-size": "no"}):
            self.request(f"images {query}", "GET", "/images/json", change=self.listed, **query)
        for filters in FILTERS:
            if "dangling" not in filters:
                filters = {**filters, "dangling": ["true"]}
            # Of two that are refused dockerd names one at random.
            if filters["dangling"] != ["false"] and filters["dangling"] != {"true": False} and not {"before", "since"} <= filters.keys():
                self.request(f"prune {json.dumps(filters)}", "POST", "/images/prune", filters=filters)

    def test_prune(self):
        for filters in ({"dangling": ["false"], "label": ["k"]}, {"dangling": ["false"], "label": ["api=compare"], "until": ["2023-01-01"]},
                        {"dangling": ["true"]}, {"dangling": ["false"], "label!": ["x", "org"], "label": ["k"]}):
            for side in self.sides:
                side.reset()
            self.request(f"prune {filters}", "POST", "/images/prune", filters=filters, change=lambda value: {
                **value, "ImagesDeleted": sorted(value["ImagesDeleted"] or [], key=str)} if "ImagesDeleted" in value else value)
            self.request(f"after prune {filters}", "GET", "/images/json", change=self.listed)

    def test_history(self):
        for name in ("one:1", "two", "empty:1", "steps:1"):
            self.request(f"history {name}", "GET", f"/images/{PREFIX}{name}/history", change=lambda value: [
                {**step, "Tags": sorted(step["Tags"] or [])} for step in value])

    def test_removals(self):
        for what in (f"{PREFIX}one:1", f"{PREFIX}one:2", HEX[:12], f"{PREFIX}one@sha256:{ZERO}", ID):
            for query in ({}, {"force": True}, {"noprune": True}, {"force": "x"}):
                for side in self.sides:
                    side.reset()
                self.request(f"remove {what} {query}", "DELETE", f"/images/{what}", **query)
                self.request(f"after remove {what} {query}", "GET", "/images/json", change=self.listed, all=True)

    def commit(self, side, container, repository, **query):
        return succeed("POST", "/commit", {}, server=side.server, container=container, repo=PREFIX + repository, **query)["Id"]

    def test_children(self):
        """A row of images, each made of the one before, and what may be removed of it."""
        parents = []
        for side in self.sides:
            first = run("sh", "-c", "echo 1 >/1", server=side.server)
            parent = self.commit(side, first, "parent")
            second = engine.create("x", server=side.server, Image=PREFIX + "parent")
            child = self.commit(side, second, "child")
            call("DELETE", f"/containers/{first}", server=side.server)
            call("DELETE", f"/containers/{second}", server=side.server)
            parents.append((parent, child))

        def by_id(method, which, **query):
            return lambda server: call(method, f"/images/{parents[server == REFERENCE][which]}" + ("/json" if method == "GET" else ""), server=server, **query)

        self.compare("the child", by_id("GET", 1), lambda value: (value["Parent"], len(value["RootFS"]["Layers"])))
        for query in ({}, {"force": True}):
            self.compare(f"remove the parent's ID {query}", by_id("DELETE", 0, **query))
        self.request("remove the parent's name", "DELETE", f"/images/{PREFIX}parent")
        self.request("images", "GET", "/images/json", change=lambda value: len(value))
        self.request("all images", "GET", "/images/json", change=lambda value: len(value), all=True)
        self.compare("remove the parent's ID again", by_id("DELETE", 0))
        self.compare("remove the child", by_id("DELETE", 1, noprune=True))
        self.compare("the parent is there", by_id("GET", 0), lambda value: value["RepoTags"])
        self.compare("remove the parent", by_id("DELETE", 0), lambda value: value if isinstance(value, dict) else len(value))

    def test_used(self):
        for side in self.sides:
            side.container = engine.create("x", server=side.server, Image=PREFIX + "one:1")
        for query in ({}, {"force": True}):
            for what in (f"{PREFIX}one:1", f"{PREFIX}one:2", HEX):
                self.request(f"remove used {what} {query}", "DELETE", f"/images/{what}", **query)
        self.request("inspect after", "GET", f"/images/{HEX}/json", change=lambda value: value.get("RepoTags", value))
        self.request("df", "GET", "/system/df", type="image", change=lambda value: self.listed(value["Images"]))
        for side in self.sides:
            call("DELETE", f"/containers/{side.container}", server=side.server)

    def changed(self, value):
        if "message" in value:
            return value
        return {key: value[key] for key in ("Config", "Author", "Comment", "Os", "Architecture", "Variant", "RootFS") if key in value}

    def test_commits(self):
        for side in self.sides:
            side.container = run("true", server=side.server)

        def commit(server, body=None, **query):
            side = self.sides[server == REFERENCE]
            answer = call("POST", "/commit", body or {}, server=server, container=side.container, repo=PREFIX + "committed", **query)
            if answer.status != 201:
                return answer
            return call("GET", f"/images/{PREFIX}committed/json", server=server)

        def change(value):
            value = self.changed(value)
            if "Config" in value:
                value["Config"].pop("Hostname", None)
                value["RootFS"]["Layers"] = len(value["RootFS"]["Layers"])
            return value

        for text in CHANGES:
            self.compare(f"commit {text!r}", lambda server: commit(server, changes=text), change)
        for query in ({"author": "me"}, {"comment": "said"}, {"author": "a", "comment": "c", "pause": "0"}, {"pause": "x"}, {"tag": "-x"}, {"tag": "a b"}):
            self.compare(f"commit {query}", lambda server: commit(server, **query), change)
        for body in ({"Env": ["C=d"], "Cmd": ["z"]}, {"Labels": {"q": "r"}, "ExposedPorts": {"1/tcp": {}}}, {"Image": "nosuch", "User": "7"},
                     {"WorkingDir": "/q", "Entrypoint": ["e"], "Volumes": {"/vol": {}}, "StopSignal": "SIGHUP"}):
            self.compare(f"commit {body}", lambda server: commit(server, body), change)
        self.request("commit of nothing", "POST", "/commit", {})
        self.request("commit of nosuch", "POST", "/commit", {}, container="nosuch")
        for repository in ("UPPER", f"new@sha256:{ZERO}", ZERO, "a//b"):
            self.compare(f"commit to {repository}", lambda server: call(
                "POST", "/commit", {}, server=server, container=self.sides[server == REFERENCE].container, repo=repository))

    def imported(self, server, body, **query):
        path = target(VERSION + "/images/create", {"fromSrc": "-", "repo": PREFIX + "imported", **query})
        answer = Answer(send_raw(server, build("POST", path, body, ("Content-Type: application/x-tar",))))
        if answer.status != 200 or b"error" in answer.body:
            return answer
        return call("GET", f"/images/{PREFIX}imported:{query.get('tag', 'latest')}/json", server=server)

    def test_imports(self):
        plain = layer_tar({"file": b"imported"})
        for text in CHANGES:
            self.compare(f"import {text!r}", lambda server: self.imported(server, plain, changes=text), self.changed)
        for platform in PLATFORMS:
            self.compare(f"import for {platform}", lambda server: self.imported(server, plain, platform=platform), self.changed)
        for query in ({"message": "said"}, {"tag": "1"}, {"tag": "-x"}, {"repo": "UPPER"}, {"repo": f"new@sha256:{ZERO}"}, {"repo": ZERO}):
            self.compare(f"import {query}", lambda server: self.imported(server, plain, **query), self.changed)
        for kind, data in (("gzip", gzip.compress(plain)), ("xz", lzma.compress(plain)), ("nothing", b"\0" * 1024)):
            self.compare(f"import of {kind}", lambda server: self.imported(server, data), self.changed)

    def saved(self, server, path):
        answer = call("GET", path, server=server)
        if answer.status != 200:
            return answer
        with tarfile.open(fileobj=io.BytesIO(answer.body)) as archive:
            manifest = json.load(archive.extractfile("manifest.json")) if "manifest.json" in archive.getnames() else []
            names = archive.getnames()
            repositories = json.load(archive.extractfile("repositories")) if "repositories" in names else None
            found = sorted([entry["Config"], sorted(entry["RepoTags"] or []),
                            [hashlib.sha256(archive.extractfile(name).read()).hexdigest() for name in entry["Layers"]]] for entry in manifest or [])
        answer.body = json.dumps([found, repositories, "index.json" in names, "oci-layout" in names]).encode()
        return answer

    def test_saves(self):
        for path in (f"/images/{PREFIX}one/get", f"/images/{PREFIX}one:1/get", f"/images/{HEX[:12]}/get", f"/images/{PREFIX}nosuch/get",
                     f"/images/get?names={PREFIX}one:1&names={PREFIX}two", f"/images/get?names={PREFIX}one:1&names={HEX}", "/images/get", "/images/get?names=",
                     f"/images/get?names={PREFIX}one:1&names=nosuch", f"/images/{PREFIX}two/get", f"/images/{LOOSE[1]}/get", f"/images/{PREFIX}steps:1/get",
                     "/images/UPPER/get", f"/images/{PREFIX}one@sha256:{ZERO}/get", f"/images/get?names={PREFIX}one&names={PREFIX}one:2"):
            self.compare(f"save {path}", lambda server: self.saved(server, path))

    def test_sizes(self):
        self.request("df", "GET", "/system/df", change=lambda value: self.listed(value["Images"]))
        for kind in ("image", "container", "volume", "build-cache", "nosuch", ""):
            self.request(f"df {kind}", "GET", "/system/df", type=kind, change=lambda value: sorted(
                key for key, member in value.items() if member) if "message" not in value else value)

    def test_refused_before_the_registry(self):
        for query in SEARCHES:
            self.request(f"search {query}", "GET", "/images/search", **query)
        for query in ({"fromImage": "UPPER"}, {"fromImage": "a", "tag": "-x"}, {"fromImage": "a", "tag": "a b"}, {"fromImage": "a@sha256:abc"},
                      {"fromImage": "a", "tag": "sha256:abc"}, {"fromImage": "scratch"}, {"fromImage": "a//b"}, {"fromImage": ZERO},
                      {"fromImage": "a", "tag": "1", "platform": "a/b/c/d"}, {"fromImage": "n" * 256}, {"fromSrc": ""}, {}):
            self.request(f"pull {query}", "POST", "/images/create", **query)
        for name in ("UPPER", ZERO, "a//b", "scratch", "a:-x"):
            self.request(f"distribution {name}", "GET", f"/distribution/{name}/json")
        for name, query in (("UPPER", {}), (f"{PREFIX}nosuch", {}), (f"{PREFIX}one", {"tag": "nosuch"}), (f"{PREFIX}one", {"tag": "-x"}), (HEX, {"tag": "1"})):
            self.request(f"push {name} {query}", "POST", f"/images/{name}/push", headers=("X-Registry-Auth: e30=",), **query)

    def test_zz_differences(self):
        """The last of all: a difference that is gone leaves the table."""
        self.assertEqual(self.unused, set())


if __name__ == "__main__":
    engine.main()
