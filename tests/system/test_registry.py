#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Images from and to registries: what is pulled is whole or absent, what is pushed can be had again, and nothing is left of
what was cut off. The registry is Debian's docker-registry, the client docker. BERTH_CUTS is how many connections are cut
(BERTH_SEED chooses where)."""
import base64
import contextlib
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import tempfile
import threading
import time
import unittest

import hosted
import registry_servers as registries
from hosted import run
from registry_servers import ADDRESS

CUTS = int(os.environ.get("BERTH_CUTS", "30"))
SEED = int(os.environ.get("BERTH_SEED", "1"))
CONFIG = "/etc/berth/daemon.json"
STAGING = "/var/lib/berth/staging"
LAYERS = "/var/lib/berth/layer"
PLAIN = "127.0.0.1:5000"


def docker(*arguments, status=0, **options):
    return run("docker", "-H", "unix:///run/docker.sock", *arguments, status=status, **options)


def refusal(*arguments):
    """What the client prints of a command that fails."""
    result = subprocess.run(("docker", "-H", "unix:///run/docker.sock", *arguments), capture_output=True, timeout=120)
    if result.returncode == 0:
        raise AssertionError(f"{arguments} should have failed: {result.stdout!r}")
    return (result.stdout + result.stderr).decode()


def configure(**keys):
    """Starts the daemon anew with a configuration."""
    os.makedirs(os.path.dirname(CONFIG), exist_ok=True)
    with open(CONFIG, "w", encoding="ascii") as file:
        json.dump(keys, file)
    run("systemctl", "stop", "berth.service")


def image_id(name):
    return docker("inspect", "-f", "{{.Id}}", name).strip()


def remove_images():
    for line in set(docker("images", "-aq", "--no-trunc").split()):
        docker("rmi", "-f", line, status=None)


def messages(path, **headers):
    """The messages of a pull or push, asked for without a client."""
    answer = hosted.call("POST", path, headers=[f"{name.replace('_', '-')}: {value}" for name, value in headers.items()])
    return answer.status, [json.loads(line) for line in answer.body.decode().splitlines() if line.strip()]


def pull_messages(name, tag="latest", **headers):
    return messages(f"/v1.45/images/create?fromImage={name}&tag={tag}", **headers)


class RegistryTest(unittest.TestCase):
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        registries.prepare_address()
        cls.plain = registries.Registry(5000)
        cls.layers = [registries.make_layer(1, 100000), registries.make_layer(2, 3000000), registries.make_layer(3, 50)]
        cls.image, cls.bytes = registries.make_image(PLAIN, "three", "latest", cls.layers)
        cls.digest = "sha256:" + hashlib.sha256(cls.bytes).hexdigest()

    @classmethod
    def tearDownClass(cls):
        cls.plain.stop()
        if os.path.exists(CONFIG):
            os.remove(CONFIG)
        run("systemctl", "stop", "berth.service")

    def setUp(self):
        remove_images()
        hosted.wait_until(lambda: os.listdir(LAYERS) == [], 15, "no layers", 0.05)

    def assert_clean(self, layers=()):
        """Nothing but these layers is there; what is being removed may still be."""
        hosted.wait_until(hosted.store_rests, 15, "a store at rest", 0.05)
        self.assertEqual(sorted(os.listdir(LAYERS)), sorted(hashlib.sha256(layer).hexdigest()[:20] for layer in layers))

    def assert_pulled(self, name):
        self.assertEqual(image_id(name), self.image)
        self.assert_clean(self.layers)


class TestPull(RegistryTest):
    def test_tag_digest_and_again(self):
        output = docker("pull", f"{PLAIN}/three")
        self.assertIn(f"Digest: {self.digest}\nStatus: Downloaded newer image for {PLAIN}/three:latest", output)
        self.assert_pulled(f"{PLAIN}/three")
        self.assertEqual(json.loads(docker("inspect", "-f", "{{json .RepoDigests}}", self.image)), [f"{PLAIN}/three@{self.digest}"])
        self.assertIn("Status: Image is up to date for", docker("pull", f"{PLAIN}/three"))
        docker("rmi", f"{PLAIN}/three")
        docker("pull", f"{PLAIN}/three@{self.digest}")
        self.assert_pulled(f"{PLAIN}/three@{self.digest}")
        self.assertEqual(docker("images", "--format", "{{.Tag}}").split(), ["<none>"])

    def test_messages(self):
        status, lines = pull_messages(f"{PLAIN}/three")
        digests = [layer["digest"][7:19] for layer in json.loads(self.bytes)["layers"]]
        self.assertEqual(status, 200)
        self.assertEqual(lines[0], {"status": "Pulling from three", "id": "latest"})
        for short in digests:
            mine = [line["status"] for line in lines if line.get("id") == short]
            self.assertEqual([mine[0], mine[-1]], ["Pulling fs layer", "Pull complete"])
            self.assertLess(mine.index("Verifying Checksum"), mine.index("Download complete"))
        self.assertEqual(lines[1], {"status": "Pulling fs layer", "progressDetail": {}, "id": digests[0]})
        self.assertEqual([line["status"] for line in lines[-2:]],
                         [f"Digest: {self.digest}", f"Status: Downloaded newer image for {PLAIN}/three:latest"])
        status, lines = pull_messages(f"{PLAIN}/three")
        self.assertEqual(len(lines), 3)

    def test_progress(self):
        slow = registries.front(5010, PLAIN, rate=2000000)
        try:
            _, lines = pull_messages("127.0.0.1:5010/three")
        finally:
            registries.stop(slow)
        seen = [line for line in lines if line["status"] == "Downloading"]
        self.assertGreater(len(seen), 3)
        for line in seen:
            self.assertIn("current", line["progressDetail"])
            self.assertLessEqual(line["progressDetail"]["current"], line["progressDetail"]["total"])
            self.assertRegex(line["progress"], r"^\[=*> *\] +[\d.]+k?M?B/[\d.]+k?M?B$")

    def test_existing_layers_are_not_fetched(self):
        more = self.layers + [registries.make_layer(9)]
        registries.make_image(PLAIN, "three", "more", more)
        docker("pull", f"{PLAIN}/three")
        watched = registries.front(5010, PLAIN)
        try:
            output = docker("pull", "127.0.0.1:5010/three:more")
        finally:
            registries.stop(watched)
        self.assertEqual(output.count("Already exists"), 3)
        self.assertEqual(len([path for method, path in watched.seen if "/blobs/" in path]), 2)
        self.assert_clean(more)

    def test_all_tags(self):
        for number in range(3):
            registries.make_image(PLAIN, "tags", f"t{number}", [registries.make_layer(20), registries.make_layer(30 + number)])
        output = docker("pull", "-a", f"{PLAIN}/tags")
        self.assertEqual(output.count("Digest: "), 3)
        self.assertIn(f"Status: Downloaded newer image for {PLAIN}/tags\n", output)
        self.assertEqual(sorted(docker("images", "--format", "{{.Tag}}").split()), ["t0", "t1", "t2"])

    def test_forms(self):
        """Media types, compressions, many layers, none."""
        many = [registries.make_layer(1000 + number) for number in range(100)]
        for name, layers, compression, oci in (("v2", self.layers, "gzip", False), ("oci", self.layers, "gzip", True),
                                               ("zstd", self.layers, "zstd", True), ("plain", self.layers, "none", True),
                                               ("many", many, "gzip", True), ("none", [], "gzip", False),
                                               ("twice", [self.layers[0], self.layers[2], self.layers[0]], "gzip", True)):
            with self.subTest(name):
                remove_images()
                wanted, sent = registries.make_image(PLAIN, f"form-{name}", "1", layers, compression, oci)
                docker("pull", "-q", f"{PLAIN}/form-{name}:1")
                self.assertEqual(image_id(f"{PLAIN}/form-{name}:1"), wanted)
                self.assert_clean(set(layers))
                # To a repository that has nothing of it, and to one that has all: the same bytes.
                docker("tag", f"{PLAIN}/form-{name}:1", f"{PLAIN}/copy-{name}:2")
                docker("push", "-q", f"{PLAIN}/copy-{name}:2")
                self.assertEqual(registries.manifest(PLAIN, f"copy-{name}", "2")[0], sent)

    def test_index(self):
        """The platform's image; attestations and other platforms are left alone."""
        descriptors = []
        for architecture, variant in (("amd64", None), ("arm64", "v8")):
            _, data = registries.make_image(PLAIN, "index", architecture, [registries.make_layer(hash(architecture) % 1000)],
                                            oci=True, architecture=architecture)
            platform = {"os": "linux", "architecture": architecture, **({"variant": variant} if variant else {})}
            descriptors.append({"mediaType": registries.MANIFEST_OCI, "size": len(data), "platform": platform,
                                "digest": "sha256:" + hashlib.sha256(data).hexdigest()})
        unknown = {**descriptors[1], "platform": {"os": "unknown", "architecture": "unknown"},
                   "annotations": {"vnd.docker.reference.type": "attestation-manifest"}}
        index = json.dumps({"schemaVersion": 2, "mediaType": registries.INDEX_OCI, "manifests": [unknown, *descriptors]}).encode()
        self.assertEqual(registries.put(PLAIN, "/v2/index/manifests/all", index, registries.INDEX_OCI), 201)
        docker("pull", "-q", f"{PLAIN}/index:all")
        self.assertEqual(docker("inspect", "-f", "{{.Architecture}}", f"{PLAIN}/index:all"), "amd64\n")
        digest = "sha256:" + hashlib.sha256(index).hexdigest()
        self.assertEqual(json.loads(docker("inspect", "-f", "{{json .RepoDigests}}", f"{PLAIN}/index:all")),
                         [f"{PLAIN}/index@{digest}"])
        docker("pull", "-q", "--platform", "linux/arm64", f"{PLAIN}/index:all")
        self.assertEqual(docker("inspect", "-f", "{{.Architecture}}", f"{PLAIN}/index:all"), "arm64\n")
        self.assertIn("no matching manifest for linux/s390x in the manifest list entries",
                      refusal("pull", "--platform", "linux/s390x", f"{PLAIN}/index:all"))
        # Pushed again it is the platform's own manifest.
        docker("tag", f"{PLAIN}/index:all", f"{PLAIN}/index-copy:1")
        docker("push", "-q", f"{PLAIN}/index-copy:1")
        self.assertEqual(registries.manifest(PLAIN, "index-copy", "1")[0], registries.manifest(PLAIN, "index", "arm64")[0])

    def test_same_as_loaded(self):
        """What skopeo copied from an archive is the image that the archive holds."""
        run("skopeo", "copy", "-q", "--dest-tls-verify=false", "docker-archive:/root/busybox.tar", f"docker://{PLAIN}/busybox:1")
        docker("pull", "-q", f"{PLAIN}/busybox:1")
        docker("load", "-q", "-i", "/root/busybox.tar")
        self.assertEqual(image_id(f"{PLAIN}/busybox:1"), image_id("busybox"))
        self.assertEqual(docker("run", "--rm", "--network", "none", f"{PLAIN}/busybox:1", "echo", "runs"), "runs\n")

    def test_forged(self):
        """Bytes that are not what the manifest says never become a layer."""
        for change in (lambda data: data[:-1] + bytes([data[-1] ^ 1]), lambda data: data + b"more",
                       lambda data: b"\0" * len(data), lambda data: data[:5000] + data[4000:]):
            forger = registries.front(5011, PLAIN, forge=change)
            try:
                configure(**{"max-download-attempts": 1})
                self.assertRegex(refusal("pull", "127.0.0.1:5011/three"), "verification failed|failed to register|EOF|Range")
            finally:
                registries.stop(forger)
            self.assert_clean()
        configure()

    def test_refusals(self):
        def pull(name, tag="latest"):
            status, lines = pull_messages(name, tag)
            return status, lines[-1].get("message") or lines[-1]["error"]
        self.assertEqual(pull(f"{PLAIN}/nothing"),
                         (404, f"manifest for {PLAIN}/nothing:latest not found: manifest unknown: manifest unknown"))
        self.assertEqual(pull("127.0.0.1:1/x"),
                         (500, 'Get "http://127.0.0.1:1/v2/": dial tcp 127.0.0.1:1: connect: connection refused'))
        self.assertEqual(pull("UPPER"), (400, "invalid reference format: repository name (library/UPPER) must be lowercase"))
        answers = {"/v2/denied/": (403, {"errors": [{"code": "DENIED", "message": "requested access to the resource is denied"}]}),
                   "/v2/old/": (200, {"schemaVersion": 1, "name": "old", "fsLayers": []}),
                   "/v2/chart/": (200, {"schemaVersion": 2, "mediaType": registries.MANIFEST_OCI, "layers": [], "config": {
                       "mediaType": "application/vnd.cncf.helm.config.v1+json", "size": 2, "digest": "sha256:" + 64 * "1"}})}

        def hook(handler):
            for path, (status, body) in answers.items():
                if handler.path.startswith(path):
                    handler.answer(status, json.dumps(body).encode())
                    return True
            return False
        fake = registries.front(5012, PLAIN, hook=hook)
        try:
            self.assertEqual(pull("127.0.0.1:5012/denied"),
                             (404, "pull access denied for 127.0.0.1:5012/denied, repository does not exist or may require "
                                   "'docker login': denied: requested access to the resource is denied"))
            status, text = pull("127.0.0.1:5012/old")
            self.assertEqual((status, text[:20]), (400, "[DEPRECATION NOTICE]"))
            self.assertEqual(pull("127.0.0.1:5012/chart"),
                             (200, "unsupported media type application/vnd.cncf.helm.config.v1+json"))
        finally:
            registries.stop(fake)
        self.assert_clean()


class TestFaults(RegistryTest):
    def test_cut_connections(self):
        """A connection that breaks anywhere is resumed; where nothing comes any more the image is absent."""
        chance = random.Random(SEED)
        relay = registries.cutter(5020, PLAIN)
        size = 3200000
        configure(**{"max-download-attempts": 2})
        try:
            while relay.cut < CUTS:
                remove_images()
                # Short ones first break pings and manifests, which are not resumed.
                lengths = [chance.randrange(1, size if chance.random() < 0.8 else 2000) for _ in range(chance.randrange(1, 6))]
                relay.cuts = [(None, length) for length in lengths]
                result = subprocess.run(("docker", "pull", "-q", "127.0.0.1:5020/three"), capture_output=True, timeout=120)
                relay.cuts = []
                if result.returncode == 0:
                    self.assert_pulled("127.0.0.1:5020/three")
                else:
                    self.assertEqual(docker("images", "-aq"), "", result.stderr)
                    self.assert_clean()
        finally:
            registries.stop(relay)
            configure()

    def test_resumed_by_range(self):
        """What has come is not fetched again."""
        digest = json.loads(self.bytes)["layers"][1]["digest"]
        ranges, full = [], len(registries.gzip.compress(self.layers[1], mtime=0))

        def hook(handler):
            if not handler.path.endswith(digest) or handler.command != "GET":
                return False
            ranges.append(handler.headers.get("Range"))
            if len(ranges) > 3:
                return False
            # The rest is promised and does not come.
            start = int(ranges[-1][6:-1]) if ranges[-1] else 0
            data = registries.gzip.compress(self.layers[1], mtime=0)[start:]
            handler.send_response(206 if ranges[-1] else 200)
            handler.send_header("Content-Length", str(len(data)))
            if ranges[-1]:
                handler.send_header("Content-Range", f"bytes {start}-{full - 1}/{full}")
            handler.end_headers()
            handler.wfile.write(data[:700000])
            handler.wfile.flush()
            handler.close_connection = True
            return True
        broken = registries.front(5021, PLAIN, hook=hook)
        try:
            docker("pull", "-q", "127.0.0.1:5021/three")
        finally:
            registries.stop(broken)
        self.assertEqual(ranges, [None, "bytes=700000-", "bytes=1400000-", "bytes=2100000-"])
        self.assert_pulled("127.0.0.1:5021/three")

    def test_busy_registry(self):
        """429 with Retry-After and 503 are waited out, in pulls and pushes."""
        failures = [(429, {"Retry_After": "1"}), (503, {})]

        def hook(handler):
            if "/blobs/" in handler.path and failures and handler.command in ("GET", "POST", "PATCH"):
                status, headers = failures.pop()
                handler.answer(status, b"", **headers)
                return True
            return False
        busy = registries.front(5022, PLAIN, hook=hook)
        try:
            docker("pull", "-q", "127.0.0.1:5022/three")
            failures[:] = [(500, {}), (429, {"Retry_After": "1"}), (503, {})]
            docker("load", "-q", "-i", "/root/busybox.tar")
            docker("tag", "busybox", "127.0.0.1:5022/busy:1")
            docker("push", "-q", "127.0.0.1:5022/busy:1")
        finally:
            registries.stop(busy)
        self.assertEqual(failures, [])
        docker("pull", "-q", f"{PLAIN}/busy:1")

    def slow_pull(self, port=5023):
        """A pull that is in the middle of its large layer."""
        slow = registries.front(port, PLAIN, rate=500000)
        self.addCleanup(registries.stop, slow)
        client = subprocess.Popen(("docker", "pull", "-q", f"127.0.0.1:{port}/three"), stdout=subprocess.DEVNULL,
                                  stderr=subprocess.PIPE)
        hosted.wait_until(lambda: [name for _, _, files in os.walk(STAGING) for name in files if name == "noise-2"], 20,
                          "a layer in staging")
        return client

    def members(self):
        with open("/sys/fs/cgroup/system.slice/berth.service/cgroup.procs", encoding="ascii") as file:
            return [int(line) for line in file]

    def test_killed(self):
        """Client, daemon, worker, and each of the worker's helpers."""
        main = None
        for victim in ("client", "daemon", "worker", "helper"):
            with self.subTest(victim):
                client = self.slow_pull({"client": 5024, "daemon": 5025, "worker": 5026, "helper": 5027}[victim])
                main = int(hosted.daemon_pid())
                children = [pid for pid in self.members() if pid != main]
                worker = [pid for pid in children if f"\nPPid:\t{main}\n" in open(f"/proc/{pid}/status", encoding="ascii").read()]
                victims = {"client": [client.pid], "daemon": [main], "worker": worker,
                           "helper": [pid for pid in children if pid not in worker]}[victim]
                self.assertTrue(victims)
                for pid in victims:
                    with contextlib.suppress(ProcessLookupError):  # one may have ended of the death of another
                        os.kill(pid, signal.SIGKILL)
                client.communicate(timeout=30)
                hosted.wait_until(lambda: hosted.call("GET", "/_ping").status == 200 and
                                  self.members() == [int(hosted.daemon_pid())], 15, "all helpers gone", 0.05)
                self.assert_clean()
                self.assertEqual(docker("images", "-aq"), "")

    def test_full_disk(self):
        """A daemon whose disk is full says so, and keeps no byte of the image."""
        root = tempfile.mkdtemp(prefix="full-", dir="/var/lib")
        run("mount", "-t", "tmpfs", "-o", "size=2500k", "tmpfs", root)
        with open("/root/full.json", "w", encoding="ascii") as file:
            json.dump({"data-root": root, "exec-root": "/run/berth-full", "idle-timeout": -1}, file)
        daemon = subprocess.Popen(("/usr/libexec/berth/berthd", "-c", "/root/full.json", "-l", "unix:///run/berth-full.sock"))
        try:
            hosted.wait_until(lambda: os.path.exists("/run/berth-full.sock"), 10, "a second daemon")
            before = shutil.disk_usage(root).used
            result = subprocess.run(("docker", "-H", "unix:///run/berth-full.sock", "pull", f"{PLAIN}/three"),
                                    capture_output=True, timeout=60)
            self.assertNotEqual(result.returncode, 0)
            self.assertIn(b"o space left on device", result.stderr)
            hosted.wait_until(lambda: os.listdir(f"{root}/staging") == [], 15, "an empty staging directory")
            self.assertLess(shutil.disk_usage(root).used - before, 65536)
            registries.make_image(PLAIN, "small", "1", [self.layers[2]])
            run("docker", "-H", "unix:///run/berth-full.sock", "pull", "-q", f"{PLAIN}/small:1")
        finally:
            daemon.kill()
            daemon.wait()
            run("umount", root)
            shutil.rmtree(root)

    def test_shared(self):
        """Two pulls of one image fetch it once; where the first is cancelled the second fetches the rest itself."""
        for cancelled in (False, True):
            with self.subTest(cancelled=cancelled):
                remove_images()
                slow = registries.front(5030 + cancelled, PLAIN, rate=1500000)
                name = f"127.0.0.1:{5030 + cancelled}/three"
                first = subprocess.Popen(("docker", "pull", "-q", name), stdout=subprocess.DEVNULL)
                digest = json.loads(self.bytes)["layers"][1]["digest"]
                fetches = lambda: len([path for method, path in slow.seen if path.endswith(digest) and method == "GET"])
                hosted.wait_until(fetches, 10, "the first fetch")
                second = subprocess.Popen(("docker", "pull", "-q", name), stdout=subprocess.DEVNULL)
                time.sleep(0.7)
                if cancelled:
                    first.kill()
                self.assertEqual(second.wait(60), 0)
                if not cancelled:
                    self.assertEqual(first.wait(60), 0)
                first.wait()
                registries.stop(slow)
                self.assertEqual(fetches(), 1 + cancelled)
                self.assert_pulled(name)


class TestPush(RegistryTest):
    def uploads(self, server):
        return [path for method, path in server.seen if method in ("PATCH", "POST", "PUT") and "/blobs/" in path]

    def test_round_trip(self):
        docker("load", "-q", "-i", "/root/busybox.tar")
        wanted = image_id("busybox")
        docker("tag", "busybox", f"{PLAIN}/pushed:1")
        output = docker("push", f"{PLAIN}/pushed:1")
        data, kind = registries.manifest(PLAIN, "pushed", "1")
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        self.assertEqual(kind, registries.MANIFEST_DOCKER)
        self.assertIn(f"1: digest: {digest} size: {len(data)}", output)
        self.assertEqual(json.loads(docker("inspect", "-f", "{{json .RepoDigests}}", wanted)), [f"{PLAIN}/pushed@{digest}"])
        # Another engine's eyes.
        run("skopeo", "copy", "-q", "--src-tls-verify=false", f"docker://{PLAIN}/pushed:1", "oci:/root/pushed-oci:1")
        shutil.rmtree("/root/pushed-oci")
        remove_images()
        docker("pull", "-q", f"{PLAIN}/pushed:1")
        self.assertEqual(image_id(f"{PLAIN}/pushed:1"), wanted)

    def test_messages(self):
        docker("pull", "-q", f"{PLAIN}/three")
        status, lines = messages(f"/v1.45/images/{PLAIN}/three/push?tag=latest", X_Registry_Auth="e30=")
        self.assertEqual((status, lines[0]), (200, {"status": f"The push refers to repository [{PLAIN}/three]"}))
        self.assertEqual(lines[1]["status"], "Preparing")
        self.assertEqual(lines[-2:], [{"status": f"latest: digest: {self.digest} size: {len(self.bytes)}"},
                                      {"progressDetail": {}, "aux": {"Tag": "latest", "Digest": self.digest, "Size": len(self.bytes)}}])
        self.assertEqual(messages(f"/v1.45/images/{PLAIN}/three/push?tag=latest")[0], 400)
        for path, text in ((f"{PLAIN}/three/push?tag=no", f"tag does not exist: {PLAIN}/three:no"),
                           (f"{PLAIN}/no/push?tag=no", f"An image does not exist locally with the tag: {PLAIN}/no")):
            self.assertEqual(messages(f"/v1.45/images/{path}", X_Registry_Auth="e30=")[1][-1]["error"], text)

    def test_nothing_twice(self):
        """Pushing again sends nothing; another repository of the registry gets its blobs by mounts."""
        watched = registries.front(5040, PLAIN)
        try:
            docker("load", "-q", "-i", "/root/busybox.tar")
            docker("tag", "busybox", "127.0.0.1:5040/one:1")
            docker("push", "-q", "127.0.0.1:5040/one:1")
            self.assertTrue(self.uploads(watched))
            first = registries.manifest(PLAIN, "one", "1")
            watched.seen.clear()
            docker("push", "-q", "127.0.0.1:5040/one:1")
            self.assertEqual(self.uploads(watched), [])
            self.assertEqual(registries.manifest(PLAIN, "one", "1"), first)
            docker("tag", "busybox", "127.0.0.1:5040/two:1")
            watched.seen.clear()
            self.assertIn("Mounted from one", docker("push", "127.0.0.1:5040/two:1"))
            self.assertEqual([path for method, path in watched.seen if method == "PATCH"], [])
            self.assertEqual(registries.manifest(PLAIN, "two", "1"), first)
        finally:
            registries.stop(watched)

    def test_all_tags(self):
        docker("load", "-q", "-i", "/root/busybox.tar")
        for tag in ("a", "b"):
            docker("tag", "busybox", f"{PLAIN}/several:{tag}")
        docker("push", "-q", "-a", f"{PLAIN}/several")
        self.assertEqual(registries.manifest(PLAIN, "several", "a"), registries.manifest(PLAIN, "several", "b"))

    def test_lengths_wanted(self):
        """A registry that takes no bodies of unknown length gets chunks."""
        chunked = []

        def hook(handler):
            if handler.command == "PATCH" and handler.headers.get("Transfer-Encoding"):
                chunked.append(handler.path)
                handler.answer(411)
                return True
            return False
        strict = registries.front(5041, PLAIN, hook=hook)
        try:
            docker("pull", "-q", f"{PLAIN}/three")
            docker("tag", f"{PLAIN}/three", "127.0.0.1:5041/strict:1")
            docker("push", "-q", "127.0.0.1:5041/strict:1")
        finally:
            registries.stop(strict)
        self.assertTrue(chunked)
        self.assertEqual(registries.manifest(PLAIN, "strict", "1")[0], registries.manifest(PLAIN, "strict", "1")[0])
        remove_images()
        docker("pull", "-q", f"{PLAIN}/strict:1")
        self.assertEqual(image_id(f"{PLAIN}/strict:1"), self.image)

    def test_cancelled(self):
        docker("pull", "-q", f"{PLAIN}/three")
        docker("tag", f"{PLAIN}/three", "127.0.0.1:5042/cancelled:1")
        stuck = threading.Event()

        def hook(handler):
            if handler.command == "PATCH":
                stuck.set()
                time.sleep(3)
            return False
        slow = registries.front(5042, PLAIN, hook=hook)
        try:
            client = subprocess.Popen(("docker", "push", "-q", "127.0.0.1:5042/cancelled:1"), stdout=subprocess.DEVNULL)
            self.assertTrue(stuck.wait(20))
            client.kill()
            client.wait()
            self.assert_clean(self.layers)
            with open("/sys/fs/cgroup/system.slice/berth.service/cgroup.procs", encoding="ascii") as file:
                hosted.wait_until(lambda: (file.seek(0), len(file.read().split()))[1] <= 1, 10, "the worker gone", 0.05)
        finally:
            registries.stop(slow)


class TestTrust(RegistryTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.directory = tempfile.mkdtemp(prefix="trust-")
        registries.make_certificates(cls.directory)
        registries.password_file(f"{cls.directory}/htpasswd")

    def tearDown(self):
        docker("logout", f"{ADDRESS}:5443", status=None)
        docker("logout", "127.0.0.1:5444", status=None)
        for root in ("docker", "berth"):
            shutil.rmtree(f"/etc/{root}/certs.d", ignore_errors=True)
        configure()

    def trust(self, root, name, **files):
        directory = f"/etc/{root}/certs.d/{name}"
        os.makedirs(directory, exist_ok=True)
        for target, source in files.items():
            shutil.copy(f"{self.directory}/{source}", f"{directory}/{target.replace('_', '.')}")

    def test_tls_and_password(self):
        name = f"{ADDRESS}:5443"
        registry = registries.Registry(5443, ADDRESS, self.plain.data, self.directory, password=f"{self.directory}/htpasswd")
        self.addCleanup(registry.stop)
        self.assertIn("certificate signed by unknown authority", refusal("pull", f"{name}/three"))
        for root in ("docker", "berth"):
            self.trust(root, name, ca_crt="ca.crt")
            self.assertIn("no basic auth credentials", refusal("pull", f"{name}/three"))
            self.assertIn("401", refusal("login", "-u", "user", "-p", "wrong", name))
            self.assertIn("Login Succeeded", docker("login", "-u", "user", "-p", "secret", name))
            docker("pull", "-q", f"{name}/three")
            self.assert_pulled(f"{name}/three")
            docker("tag", f"{name}/three", f"{name}/mine:1")
            docker("push", "-q", f"{name}/mine:1")
            docker("logout", name)
            self.assertIn("no basic auth credentials", refusal("push", f"{name}/mine:1"))
            shutil.rmtree(f"/etc/{root}/certs.d")
            remove_images()
        configure(**{"insecure-registries": [name]})
        self.assertIn("Login Succeeded", docker("login", "-u", "user", "-p", "secret", name))
        docker("pull", "-q", f"{name}/three")

    def test_client_certificate(self):
        name = f"{ADDRESS}:5445"
        registry = registries.Registry(5445, ADDRESS, self.plain.data, self.directory, f"{self.directory}/ca.crt")
        self.addCleanup(registry.stop)
        self.trust("berth", name, ca_crt="ca.crt")
        refusal("pull", f"{name}/three")
        self.trust("berth", name, client_cert="client.crt")
        self.assertIn("missing key client.key for client certificate client.cert", refusal("pull", f"{name}/three"))
        self.trust("berth", name, client_key="client.key")
        docker("pull", "-q", f"{name}/three")
        self.assert_pulled(f"{name}/three")

    def test_same_words_as_dockerd(self):
        """Where a password is wanted, and of what is not there or not what it is said to be."""
        if not hosted.start_reference():
            self.skipTest("no dockerd in this host")
        issuer = registries.Issuer(5446, self.directory, lambda user, scope: user == "user" or "public" in scope)
        self.addCleanup(issuer.stop)
        for port, more in ((5449, {"password": f"{self.directory}/htpasswd"}), (5444, {"token": issuer})):
            self.addCleanup(registries.Registry(port, data=self.plain.data, **more).stop)
        _, index = registries.make_image(PLAIN, "foreign", "s390x", [self.layers[2]], oci=True, architecture="s390x")
        index = json.dumps({"schemaVersion": 2, "mediaType": registries.INDEX_OCI, "manifests": [{
            "mediaType": registries.MANIFEST_OCI, "size": len(index), "digest": "sha256:" + hashlib.sha256(index).hexdigest(),
            "platform": {"os": "linux", "architecture": "s390x"}}]}).encode()
        registries.put(PLAIN, "/v2/foreign/manifests/all", index, registries.INDEX_OCI)
        header = lambda password: base64.urlsafe_b64encode(json.dumps({"username": "user", "password": password}).encode()).decode()
        zero = "sha256:" + 64 * "0"

        def last(server, method, path, auth):
            headers = [f"X-Registry-Auth: {header(auth)}"] if auth else []
            answer = hosted.Answer(hosted.send_raw(server, hosted.build(method, "/v1.45" + path, b"", headers), 60))
            lines = [json.loads(line) for line in answer.body.decode().splitlines() if line.strip()]
            text = lines[-1].get("message") or lines[-1].get("error") or lines[-1]
            # It tells of each refusal, where one is enough.
            return answer.status, text.split("\n")[1] if isinstance(text, str) and text.startswith("errors:\n") else text

        for host in ("127.0.0.1:5449", "127.0.0.1:5444", PLAIN):
            for auth in (None, "wrong", "secret"):
                for name, tag in (("three", "latest"), ("three", self.digest), ("three", ""), ("three", "nosuch"), ("three", zero), ("nosuch", "1"),
                                  ("nosuch", ""), ("foreign", "all")):
                    with self.subTest(f"{host} {auth} {name} {tag}"):
                        remove_images()
                        for image in set(run("docker", "-H", f"unix://{hosted.REFERENCE}", "images", "-aq", "--no-trunc").split()):
                            run("docker", "-H", f"unix://{hosted.REFERENCE}", "rmi", "-f", image, status=None)
                        found = [last(server, "POST", f"/images/create?fromImage={host}/{name}&tag={tag}", auth)
                                 for server in (hosted.BERTH, hosted.REFERENCE)]
                        self.assertEqual(found[0], found[1])
                    if tag:
                        with self.subTest(f"distribution {host} {auth} {name} {tag}"):
                            reference = f"{host}/{name}" + ("@" if tag.startswith("sha256:") else ":") + tag
                            found = [last(server, "GET", f"/distribution/{reference}/json", auth) for server in (hosted.BERTH, hosted.REFERENCE)]
                            self.assertEqual(found[0], found[1])

    def test_tokens(self):
        allowed = lambda user, scope: user == "user" or "public" in scope
        issuer = registries.Issuer(5446, self.directory, allowed)
        self.addCleanup(issuer.stop)
        registry = registries.Registry(5444, data=self.plain.data, token=issuer)
        self.addCleanup(registry.stop)
        name = "127.0.0.1:5444"
        registries.make_image(PLAIN, "public", "1", [self.layers[0]])
        docker("pull", "-q", f"{name}/public:1")
        self.assertRegex(refusal("pull", f"{name}/three"), "unauthorized|denied")
        self.assertIn("incorrect username or password", refusal("login", "-u", "user", "-p", "wrong", name))
        self.assertIn("Login Succeeded", docker("login", "-u", "user", "-p", "secret", name))
        # The client keeps the refresh token in place of the password, and it is what is used.
        issuer.requests.clear()
        docker("pull", "-q", f"{name}/three")
        self.assertEqual({query["grant_type"][0] for method, query in issuer.requests if method == "POST"}, {"refresh_token"})
        self.assertLessEqual(len(issuer.requests), 2)
        docker("tag", f"{name}/three", f"{name}/other/three:1")
        self.assertIn("Mounted from three", docker("push", f"{name}/other/three:1"))
        # Tokens that run out at once are asked for again and again.
        issuer.lifetime = 1
        docker("rmi", "-f", self.image)
        docker("pull", "-q", f"{name}/three")
        answer = hosted.call("POST", "/v1.45/auth", {"username": "user", "password": "secret", "serveraddress": name})
        self.assertEqual((answer.status, answer.json()), (200, {"Status": "Login Succeeded", "IdentityToken": issuer.refresh}))

    def test_token_given(self):
        """Whoever brings a token needs no issuer."""
        issuer = registries.Issuer(5447, self.directory)
        registry = registries.Registry(5448, data=self.plain.data, token=issuer)
        self.addCleanup(registry.stop)
        token = issuer.sign({"iss": "test-issuer", "aud": "test-registry", "sub": "x", "nbf": 0, "iat": 0,
                             "exp": int(time.time()) + 600, "access": [{"type": "repository", "name": "three", "actions": ["pull"]}]})
        issuer.stop()
        header = base64.urlsafe_b64encode(json.dumps({"registrytoken": token}).encode()).decode()
        self.assertEqual(pull_messages("127.0.0.1:5448/three", X_Registry_Auth=header)[1][-1]["status"],
                         "Status: Downloaded newer image for 127.0.0.1:5448/three:latest")


class TestRoutes(RegistryTest):
    def tearDown(self):
        configure()

    def test_mirrors(self):
        """Those that do not answer, fail, lack the image or break off are passed by."""
        registries.make_image(PLAIN, "library/three", "latest", self.layers)
        failing = registries.front(5050, PLAIN, hook=lambda handler: handler.answer(500) or True)
        lacking = registries.front(5051, PLAIN, hook=lambda handler: "manifests" in handler.path and (handler.answer(404) or True))
        breaking = registries.front(5052, PLAIN, hook=lambda handler: "/blobs/" in handler.path and (handler.answer(404) or True))
        try:
            configure(**{"registry-mirrors": ["http://127.0.0.1:1/", "http://127.0.0.1:5050", "http://127.0.0.1:5051/",
                                              "http://127.0.0.1:5052", f"http://{PLAIN}/"]})
            self.assertIn("Status: Downloaded newer image for three:latest", docker("pull", "three"))
            self.assert_pulled("three")
            for server in (failing, lacking, breaking):
                self.assertTrue(server.seen)
        finally:
            for server in (failing, lacking, breaking):
                registries.stop(server)

    def test_proxy(self):
        name = f"{ADDRESS}:5060"
        registry = registries.Registry(5060, ADDRESS, self.plain.data)
        proxy = registries.forward_proxy(5061)
        self.addCleanup(registry.stop)
        self.addCleanup(registries.stop, proxy)
        configure(**{"insecure-registries": [f"{ADDRESS}/24"],
                     "proxies": {"http-proxy": f"http://{ADDRESS}:5061", "https-proxy": f"http://{ADDRESS}:5061"}})
        docker("pull", "-q", f"{name}/three")
        self.assert_pulled(f"{name}/three")
        self.assertIn(("CONNECT", name), proxy.seen)
        self.assertIn(("GET", f"http://{name}/v2/three/manifests/latest"), proxy.seen)
        # The loopback is never asked for by a proxy, nor are exceptions.
        proxy.seen.clear()
        remove_images()
        docker("pull", "-q", f"{PLAIN}/three")
        configure(**{"insecure-registries": [name], "proxies": {"http-proxy": f"http://{ADDRESS}:5061", "no-proxy": "10.0.0.0/8"}})
        docker("rmi", "-f", self.image)
        docker("pull", "-q", f"{name}/three")
        self.assertEqual(proxy.seen, [])

    def test_insecure_is_asked_for(self):
        registry = registries.Registry(5062, ADDRESS, self.plain.data)
        self.addCleanup(registry.stop)
        self.assertIn("server gave HTTP response to HTTPS client", refusal("pull", f"{ADDRESS}:5062/three"))
        configure(**{"insecure-registries": [f"{ADDRESS}:5062"]})
        docker("pull", "-q", f"{ADDRESS}:5062/three")

    def test_distribution(self):
        answer = hosted.call("GET", f"/v1.45/distribution/{PLAIN}/three:latest/json")
        self.assertEqual((answer.status, answer.json()),
                         (200, {"Descriptor": {"mediaType": registries.MANIFEST_DOCKER, "digest": self.digest, "size": len(self.bytes)},
                                "Platforms": [{"architecture": "amd64", "os": "linux"}]}))
        answer = hosted.call("GET", f"/v1.45/distribution/{PLAIN}/three:no/json")
        self.assertEqual((answer.status, answer.message()), (404, "manifest unknown: manifest unknown"))


if __name__ == "__main__":
    unittest.main()
