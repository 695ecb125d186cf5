#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Pushes to registries: what arrives is what dockerd and skopeo pull, nothing is sent twice, and a registry or a
connection that fails costs patience alone. BERTH_CUTS is how many connections are cut at any byte (BERTH_SEED chooses
where)."""
import base64
import gzip
import hashlib
import io
import json
import os
import random
import re
import signal
import socket
import subprocess
import tarfile
import time
import unittest
import urllib.error

import hosted
import registry_servers
from hosted import BERTH, REFERENCE, call, run, wait_until
from registries import FRONT, LOCKED, PASSWORD, PLAIN, USER, Front, Registry, Tokens

CUTS = int(os.environ.get("BERTH_CUTS", "30"))
SEED = int(os.environ.get("BERTH_SEED", "1"))
LAYERS = "/var/lib/berth/layer"
STAGING = "/var/lib/berth/staging"
OCI = "application/vnd.oci.image.manifest.v1+json"
DOCKER = "application/vnd.docker.distribution.manifest.v2+json"
HERE = f"localhost:{PLAIN}"
THERE = f"localhost:{LOCKED}"
AT_FRONT = f"localhost:{FRONT}"
CUTTER = 5003


def credentials(password=PASSWORD):
    return base64.urlsafe_b64encode(json.dumps({"username": USER, "password": password}).encode()).decode()


NOBODY = base64.urlsafe_b64encode(b"{}").decode()


def push(name, tag="", auth=NOBODY, server=BERTH, seconds=120, query="", version="v1.45"):
    """The messages of a push, or an answer that is no stream as [(status, message)]."""
    path = f"/{version}/images/{name}/push?" + (f"tag={tag}" if tag else "") + query
    headers = [f"X-Registry-Auth: {auth}"] if auth is not None else []
    answer = hosted.Answer(hosted.send_raw(server, hosted.build("POST", path, b"", headers), seconds))
    if answer.status != 200:
        return [(answer.status, answer.message())]
    return [json.loads(line) for line in answer.body.decode().split("\r\n") if line]


def error_of(messages):
    return messages[-1].get("error") if messages and isinstance(messages[-1], dict) else None


def aux_of(messages):
    return [m["aux"] for m in messages if "aux" in m]


def statuses(messages):
    return [m["status"] for m in messages if "id" in m and m["status"] not in ("Preparing", "Waiting", "Pushing")]


def docker(*arguments, server=BERTH, **options):
    return run("docker", "-H", f"unix://{server}", *arguments, **options)


def image_id(name, server=BERTH):
    return docker("image", "inspect", "-f", "{{.Id}}", name, server=server).strip()


def digests_of(name, server=BERTH):
    return json.loads(docker("image", "inspect", "-f", "{{json .RepoDigests}}", name, server=server))


def forget_sources():
    """As if no layer had ever been in a registry."""
    for name in os.listdir(LAYERS):
        try:
            os.unlink(f"{LAYERS}/{name}/sources.json")
        except FileNotFoundError:
            pass


def skopeo(*arguments):
    return run("skopeo", "--insecure-policy", *arguments)


def layer_tar(*names):
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w") as archive:
        for name in names:
            data = name.encode() * 100
            header = tarfile.TarInfo(name)
            header.size = len(data)
            archive.addfile(header, io.BytesIO(data))
    return output.getvalue()


def load_made(name, *layers):
    """An image of these tars, by docker-archive."""
    config = {"architecture": "amd64", "os": "linux", "config": {"Cmd": ["sh"]}, "rootfs": {
        "type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(layer).hexdigest() for layer in layers]}}
    files = {f"{i}/layer.tar": layer for i, layer in enumerate(layers)}
    files["config.json"] = json.dumps(config).encode()
    files["manifest.json"] = json.dumps([{"Config": "config.json", "RepoTags": [name],
                                          "Layers": [f"{i}/layer.tar" for i in range(len(layers))]}]).encode()
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w") as archive:
        for path, data in files.items():
            header = tarfile.TarInfo(path)
            header.size = len(data)
            archive.addfile(header, io.BytesIO(data))
    run("docker", "-H", f"unix://{BERTH}", "load", data=output.getvalue())


def random_layer(size, seed):
    """A tar of what no compressor can make smaller."""
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w") as archive:
        header = tarfile.TarInfo(f"noise-{seed}")
        header.size = size
        archive.addfile(header, io.BytesIO(random.Random(seed).randbytes(size)))
    return output.getvalue()


def upload_processes():
    """Children of the daemon's, but for the one that holds the next container's scope."""
    pid = hosted.daemon_pid()
    children = [] if pid == "0" else run("pgrep", "-P", pid, status=None).split()
    return [child for child in children if not hosted.holds_scope(child)]


class Pushes(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.plain, cls.locked = Registry(PLAIN), Registry(LOCKED, locked=True)
        cls.plain.start()
        cls.locked.start()
        cls.front = Front()
        hosted.load_images()
        cls.reference = hosted.start_reference()

    @classmethod
    def tearDownClass(cls):
        cls.plain.stop()
        cls.locked.stop()

    def setUp(self):
        self.front.reset()
        forget_sources()
        self.tags = []

    def tearDown(self):
        for tag in self.tags:
            docker("rmi", "-f", tag, status=None)
        left = [name for name in os.listdir(STAGING) if name.startswith("job-")]
        self.assertEqual(left, [], "left in staging")

    def tag(self, source, target):
        docker("tag", source, target)
        self.tags.append(target)

    def pushed(self, name, tag, **options):
        """Pushes, and checks what every push has in common."""
        messages = push(name, tag, **options)
        self.assertIsNone(error_of(messages), messages)
        self.assertEqual(messages[0], {"status": f"The push refers to repository [{name}]"})
        aux = aux_of(messages)
        self.assertTrue(aux and aux[-1]["Digest"].startswith("sha256:"), messages)
        self.assertEqual(messages[-2]["status"],
                         f"{aux[-1]['Tag']}: digest: {aux[-1]['Digest']} size: {aux[-1]['Size']}")
        return messages, aux[-1]["Digest"]

    def check_blobs(self, registry, name, tag, image):
        """All blobs are there, and are what the configuration says."""
        manifest, digest, kind = registry.manifest(name, tag)
        config = registry.blob(name, manifest["config"]["digest"])
        self.assertEqual("sha256:" + hashlib.sha256(config).hexdigest(), image)
        self.assertEqual(len(config), manifest["config"]["size"])
        diff_ids = json.loads(config).get("rootfs", {}).get("diff_ids", [])
        self.assertEqual(len(diff_ids), len(manifest["layers"]))
        for diff_id, layer in zip(diff_ids, manifest["layers"]):
            data = registry.blob(name, layer["digest"])
            self.assertEqual(len(data), layer["size"])
            self.assertEqual("sha256:" + hashlib.sha256(data).hexdigest(), layer["digest"])
            tar = gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
            if data[:4] != b"\x28\xb5\x2f\xfd":
                self.assertEqual("sha256:" + hashlib.sha256(tar).hexdigest(), diff_id)
        return manifest, digest, kind

    # --- What arrives -------------------------------------------------------------------------------------------------

    def test_others_pull_it(self):
        for source in ("busybox:latest", "debian:trixie"):
            with self.subTest(source):
                name = f"{HERE}/round/{source.split(':')[0]}"
                self.tag(source, f"{name}:1")
                messages, digest = self.pushed(name, "1")
                self.assertEqual(statuses(messages), ["Pushed"])
                _, stored, kind = self.check_blobs(self.plain, name.split("/", 1)[1], "1", image_id(source))
                self.assertEqual((stored, kind), (digest, DOCKER))
                self.assertIn(f"{name}@{digest}", digests_of(source))
                seen = json.loads(skopeo("inspect", "--tls-verify=false", f"docker://{name}:1"))
                self.assertEqual(seen["Digest"], digest)
                if self.reference:
                    docker("pull", f"{name}:1", server=REFERENCE)
                    self.assertEqual(image_id(f"{name}:1", REFERENCE), image_id(source))
                    self.assertIn(f"{name}@{digest}", digests_of(f"{name}:1", REFERENCE))
                    docker("rmi", f"{name}:1", server=REFERENCE)
                run("rm", "-rf", "/root/copied")
                skopeo("copy", "--src-tls-verify=false", f"docker://{name}@{digest}", "dir:/root/copied")

    def test_again_sends_nothing(self):
        name = f"{AT_FRONT}/again"
        self.tag("busybox:latest", f"{name}:1")
        _, digest = self.pushed(name, "1")
        self.front.reset()
        messages, again = self.pushed(name, "1")
        self.assertEqual(again, digest)
        self.assertEqual(statuses(messages), ["Layer already exists"])
        self.assertEqual([e for m in ("POST", "PATCH") for e in self.front.seen(m)], [])
        self.assertEqual([e.path for e in self.front.seen("PUT")], ["/v2/again/manifests/1"])
        # The same bytes are made again where nothing is remembered.
        forget_sources()
        self.assertEqual(self.pushed(name, "1")[1], digest)

    def test_all_tags(self):
        name = f"{HERE}/tags"
        for tag in ("a", "b"):
            self.tag("busybox:latest", f"{name}:{tag}")
        messages, _ = self.pushed(name, "")
        self.assertEqual(sorted(aux["Tag"] for aux in aux_of(messages)), ["a", "b"])
        self.assertEqual(statuses(messages), ["Pushed", "Layer already exists"])
        # The name's own tag is one where there is no other.
        self.assertEqual([aux["Tag"] for aux in aux_of(push(f"{name}:b"))], ["b"])
        self.assertEqual([aux["Tag"] for aux in aux_of(push(f"{name}:b", "a"))], ["a"])

    def test_layers_of_every_number(self):
        one, two = layer_tar("one"), layer_tar("two")
        for name, layers in (("none", ()), ("twice", (one, two, one)), ("many", [layer_tar(f"n{i}") for i in range(12)])):
            with self.subTest(name):
                target = f"{HERE}/made/{name}"
                load_made(f"{target}:1", *layers)
                self.tags.append(f"{target}:1")
                messages, _ = self.pushed(target, "1")
                self.assertEqual(statuses(messages), ["Pushed"] * len(set(layers)))
                manifest, _, _ = self.check_blobs(self.plain, f"made/{name}", "1", image_id(f"{target}:1"))
                if self.reference and layers:
                    docker("pull", f"{target}:1", server=REFERENCE)
                    self.assertEqual(image_id(f"{target}:1", REFERENCE), image_id(f"{target}:1"))

    def test_committed(self):
        if docker("create", "--name", "to-commit", "busybox", "true", status=None) and \
                call("POST", "/commit?container=to-commit&repo=x").status in (404, 501):
            docker("rm", "-f", "to-commit", status=None)
            self.skipTest("no commit yet")
        docker("rm", "-f", "to-commit", status=None)
        name = f"{HERE}/committed"
        docker("run", "--network", "none", "--name", "to-commit", "busybox", "sh", "-c", "echo new > /new")
        docker("commit", "to-commit", f"{name}:1")
        docker("rm", "to-commit")
        self.tags.append(f"{name}:1")
        messages, _ = self.pushed(name, "1")
        self.assertEqual(len(statuses(messages)), 2)
        self.check_blobs(self.plain, "committed", "1", image_id(f"{name}:1"))

    # --- Pulled images ------------------------------------------------------------------------------------------------

    def test_pulled_image_keeps_its_manifest(self):
        """Images that skopeo and dockerd made, under other names in the same registry: mounted, byte for byte."""
        skopeo("copy", "--dest-tls-verify=false", "oci-archive:/root/busybox-oci-zstd.tar", f"docker://{HERE}/made/zstd:1")
        skopeo("copy", "--dest-tls-verify=false", "oci-archive:/root/busybox-oci-gzip.tar", f"docker://{HERE}/made/gzip:1")
        made = ["zstd", "gzip"]
        if self.reference:
            docker("tag", "busybox", f"{HERE}/made/docker:1", server=REFERENCE)
            docker("push", f"{HERE}/made/docker:1", server=REFERENCE)
            made.append("docker")
        for name in made:
            with self.subTest(name):
                source, target = f"{HERE}/made/{name}", f"{HERE}/other/{name}"
                forget_sources()
                docker("pull", f"{source}:1")
                self.tags.append(f"{source}:1")
                before = self.plain.manifest(f"made/{name}", "1")
                messages, digest = self.pushed(source, "1")
                self.assertEqual((statuses(messages), digest), (["Layer already exists"], before[1]))
                self.tag(f"{source}:1", f"{target}:1")
                messages, digest = self.pushed(target, "1")
                self.assertEqual((statuses(messages), digest), ([f"Mounted from made/{name}"], before[1]))
                self.assertEqual(self.plain.manifest(f"other/{name}", "1"), before)
                # Elsewhere the layer is compressed anew, and an OCI image stays one.
                self.tag(f"{source}:1", f"{THERE}/new/{name}:1")
                _, digest = self.pushed(f"{THERE}/new/{name}", "1", auth=credentials())
                skopeo("copy", "--src-tls-verify=false", f"--src-creds={USER}:{PASSWORD}", f"docker://{THERE}/new/{name}:1",
                       "oci-archive:/root/back.tar:x")
                raw = skopeo("inspect", "--raw", "--tls-verify=false", f"--creds={USER}:{PASSWORD}",
                             f"docker://{THERE}/new/{name}:1")
                self.assertEqual(json.loads(raw)["mediaType"], DOCKER if name == "docker" else OCI)
                self.assertEqual(json.loads(raw)["config"]["digest"], image_id(f"{source}:1"))
                os.unlink("/root/back.tar")

    def test_plain_layer_goes_out_whole(self):
        """Its digest is known, so that one PUT does it, and the manifest is kept."""
        name, source = f"{AT_FRONT}/plain", f"{HERE}/plain-source:1"
        layer = layer_tar("plain")
        diff_id = "sha256:" + hashlib.sha256(layer).hexdigest()
        config = json.dumps({"architecture": "amd64", "os": "linux", "config": {},
                             "rootfs": {"type": "layers", "diff_ids": [diff_id]}}).encode()
        os.makedirs("/root/plain/blobs/sha256", exist_ok=True)

        def blob(data, kind):
            found = hashlib.sha256(data).hexdigest()
            with open(f"/root/plain/blobs/sha256/{found}", "wb") as out:
                out.write(data)
            return {"mediaType": kind, "size": len(data), "digest": f"sha256:{found}"}

        manifest = blob(json.dumps({"schemaVersion": 2, "mediaType": OCI,
                                    "config": blob(config, "application/vnd.oci.image.config.v1+json"),
                                    "layers": [blob(layer, "application/vnd.oci.image.layer.v1.tar")]}).encode(), OCI)
        manifest["annotations"] = {"org.opencontainers.image.ref.name": "1"}
        with open("/root/plain/index.json", "w") as out:
            json.dump({"schemaVersion": 2, "manifests": [manifest]}, out)
        with open("/root/plain/oci-layout", "w") as out:
            json.dump({"imageLayoutVersion": "1.0.0"}, out)
        skopeo("copy", "--preserve-digests", "--dest-tls-verify=false", "oci:/root/plain:1", f"docker://{source}")
        docker("pull", source)
        self.tags.append(source)
        self.tag(source, f"{name}:1")
        messages, digest = self.pushed(name, "1")
        self.assertEqual(digest, manifest["digest"])
        self.assertEqual(self.front.seen("PATCH"), [])
        whole = self.front.seen("PUT", "/blobs/uploads/.*digest=" + diff_id)
        self.assertEqual([(e.sent, e.headers.get("content-length")) for e in whole], [(len(layer), str(len(layer)))])

    # --- Words --------------------------------------------------------------------------------------------------------

    def test_same_words_as_dockerd(self):
        if not self.reference:
            self.skipTest("no dockerd in this host")
        for server in (BERTH, REFERENCE):
            docker("tag", "busybox", f"{HERE}/words:1", server=server)
            docker("tag", "busybox", f"{THERE}/words:1", server=server)
            docker("tag", "busybox", "localhost:5999/words:1", server=server)
        self.tags += [f"{HERE}/words:1", f"{THERE}/words:1", "localhost:5999/words:1"]
        zero = "sha256:" + "0" * 64
        cases = {"no such name": (f"{HERE}/nothing", "1"), "no such tag": (f"{HERE}/words", "2"),
                 "an ID": (image_id("busybox")[7:19], "1"), "bad tag": (f"{HERE}/words", "-x"), "bad name": ("UPPER", "x"),
                 "digest as tag": (f"{HERE}/words", zero), "digest": (f"{HERE}/words@{zero}", "1"),
                 "digest alone": (f"{HERE}/words@{zero}", ""), "nobody": (f"{THERE}/words", "1"),
                 "success": (f"{HERE}/words", "1"), "again": (f"{HERE}/words", "1")}
        auths = {"wrong password": credentials("x"), "no header": None, "bad header": "!!!", "right": credentials()}

        def words(messages):
            kept = []
            for message in messages:
                if isinstance(message, tuple):
                    kept.append(message)
                elif message.get("status") == "Preparing" or message.get("status") == "Pushing":
                    continue  # how far a push got before it was refused is nobody's concern
                elif "aux" in message or "digest: " in message.get("status", ""):
                    kept.append("result")
                else:
                    # Each mounts what it knows of.
                    kept.append(re.sub(r"Mounted from [\w/-]+", "Pushed", json.dumps(message, sort_keys=True)))
            return kept

        for what, (name, tag) in cases.items():
            with self.subTest(what):
                self.assertEqual(words(push(name, tag)), words(push(name, tag, server=REFERENCE)))
        for what, auth in auths.items():
            with self.subTest(what):
                self.assertEqual(words(push(f"{THERE}/words", "1", auth=auth)),
                                 words(push(f"{THERE}/words", "1", auth=auth, server=REFERENCE)))

    def test_login_is_needed(self):
        name = f"{THERE}/locked"
        self.tag("busybox:latest", f"{name}:1")
        self.assertEqual(error_of(push(name, "1")), "no basic auth credentials")
        self.assertEqual(error_of(push(name, "1", auth=credentials("x"))), "unauthorized: authentication required")
        self.pushed(name, "1", auth=credentials())

    def test_platform(self):
        name = f"{HERE}/platform"
        self.tag("busybox:latest", f"{name}:1")
        wanted = '{"os":"linux","architecture":"s390x"}'
        query = "&platform=" + "".join(f"%{ord(c):02X}" for c in wanted)
        self.assertIn("does not provide the specified platform (linux/s390x)", error_of(push(name, "1", query=query, version="v1.46")))
        self.pushed(name, "1", query=query.replace("%73%33%39%30%78", "amd64"), version="v1.46")
        self.pushed(name, "1", query=query)  # which no older client could mean

    # --- Mounts and tokens --------------------------------------------------------------------------------------------

    def test_mount(self):
        self.tag("busybox:latest", f"{AT_FRONT}/from/here:1")
        self.tag("busybox:latest", f"{AT_FRONT}/to/there:1")
        tokens = Tokens()
        self.front.reset(tokens)
        _, digest = self.pushed(f"{AT_FRONT}/from/here", "1")
        self.assertIn(["repository:from/here:push,pull"], tokens.scopes)
        tokens.scopes.clear()
        messages, again = self.pushed(f"{AT_FRONT}/to/there", "1")
        self.assertEqual((statuses(messages), again), (["Mounted from from/here"], digest))
        self.assertTrue(any(set(s) == {"repository:to/there:push,pull", "repository:from/here:pull"} for s in tokens.scopes),
                        tokens.scopes)
        self.assertEqual([e.status for e in self.front.seen("POST", r"\?mount=sha256:[0-9a-f]{64}&from=from/here")], [201])
        self.assertEqual(self.front.seen("PATCH", "^/v2/to/there/"), [])

    def test_mount_not_granted(self):
        """A registry that refuses, ignores or forbids mounts gets the layer."""
        self.tag("busybox:latest", f"{AT_FRONT}/source:1")

        def ignore(exchange):
            exchange.path = exchange.path.split("?mount")[0]

        def refuse(exchange):
            return {"status": 400} if "?mount" in exchange.path else None

        for name, rule in (("ignored", ignore), ("refused", refuse), ("forbidden", Tokens(ignore, refuse=("source",)))):
            with self.subTest(name):
                forget_sources()
                self.front.reset()
                self.pushed(f"{AT_FRONT}/source", "1")
                self.tag("busybox:latest", f"{AT_FRONT}/{name}:1")
                self.front.reset(rule)
                messages, _ = self.pushed(f"{AT_FRONT}/{name}", "1")
                self.assertEqual(statuses(messages), ["Pushed"])
                posts = [e for e in self.front.seen("POST", "/blobs/uploads/") if e.status == 202]
                self.assertEqual(len(posts), 2, posts)  # the layer and the configuration: no place was left over
                self.check_blobs(self.plain, name, "1", image_id("busybox"))

    def test_tokens_run_out(self):
        for uses in (1, 2, 3):
            with self.subTest(uses):
                forget_sources()
                name = f"{AT_FRONT}/tokens-{uses}"
                self.tag("busybox:latest", f"{name}:1")
                self.front.reset(Tokens(uses=uses))
                self.pushed(name, "1")
                self.check_blobs(self.plain, f"tokens-{uses}", "1", image_id("busybox"))

    # --- Registries of other kinds ------------------------------------------------------------------------------------

    def test_kinds_of_registries(self):
        def chunks_only(exchange):
            if exchange.method == "POST":
                return {"change": lambda headers: headers.update({"oci-chunk-min-length": "9000000"})}
            if exchange.method == "PATCH" and "content-range" not in exchange.headers:
                return {"status": 400}

        def lengths_only(exchange):
            if "chunked" in exchange.headers.get("transfer-encoding", ""):
                return {"status": 411}

        def relative(exchange):
            def change(headers):
                if "location" in headers:
                    headers["location"] = headers["location"].split(f":{FRONT}", 1)[1]
            return {"change": change}

        def beside(exchange):
            def change(headers):
                if "location" in headers:
                    headers["location"] = headers["location"].rsplit("/", 1)[1]
            return {"change": change} if exchange.method == "POST" else None

        def no_digest(exchange):
            return {"change": lambda headers: headers.pop("docker-content-digest", None)}

        def no_heads(exchange):
            return {"status": 405} if exchange.method == "HEAD" else None

        for kind in (chunks_only, lengths_only, relative, beside, no_digest, no_heads):
            name = kind.__name__.replace("_", "-")
            with self.subTest(name):
                forget_sources()
                load_made(f"{AT_FRONT}/{name}:1", random_layer(20_000_000, 7))
                self.tags.append(f"{AT_FRONT}/{name}:1")
                self.front.reset(kind)
                messages, _ = self.pushed(f"{AT_FRONT}/{name}", "1")
                self.assertNotIn("Retrying", str(messages))
                self.check_blobs(self.plain, name, "1", image_id(f"{AT_FRONT}/{name}:1"))
                patches = [e for e in self.front.seen("PATCH") if e.status == 202]
                if kind is chunks_only:
                    sizes = [e.sent for e in patches]
                    self.assertTrue(len(sizes) > 1 and all(size >= 9_000_000 for size in sizes[:-1]), sizes)
                if kind in (chunks_only, lengths_only):
                    offset = 0
                    for exchange in patches:
                        self.assertEqual(exchange.headers["content-range"], f"{offset}-{offset + exchange.sent - 1}")
                        offset += exchange.sent

    def test_oci_not_taken(self):
        """A registry of before OCI gets a manifest of Docker's."""
        skopeo("copy", "--dest-tls-verify=false", "oci-archive:/root/busybox-oci-gzip.tar", f"docker://{HERE}/old/source:1")
        docker("pull", f"{HERE}/old/source:1")
        self.tag(f"{HERE}/old/source:1", f"{AT_FRONT}/old/target:1")
        self.tags.append(f"{HERE}/old/source:1")
        self.front.reset(lambda e: {"status": 400, "body": {"errors": [{"code": "MANIFEST_INVALID", "message": "no"}]}}
                         if e.method == "PUT" and e.headers.get("content-type") == OCI else None)
        self.pushed(f"{AT_FRONT}/old/target", "1")
        self.assertEqual(self.plain.manifest("old/target", "1")[2], DOCKER)

    # --- Trouble ------------------------------------------------------------------------------------------------------

    def noise(self, name, size=24_000_000, seed=5):
        load_made(f"{name}:1", random_layer(size, seed))
        self.tags.append(f"{name}:1")
        return image_id(f"{name}:1")

    def test_busy_registry(self):
        """429 with a time to come again at, as seconds and as a date, 503 and 500: each of the requests meets one of the
        first, every other one of the others."""
        date = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + 2))
        answers = ({"status": 429, "headers": {"Retry-After": "1"}}, {"status": 429, "headers": {"Retry-After": date}},
                   {"status": 503}, {"status": 500}, {"status": 503, "early": True})
        for number, answer in enumerate(answers):
            with self.subTest(number):
                met = set()

                def once(exchange):
                    kind = (exchange.method, "manifests" in exchange.path, "digest=" in exchange.path)
                    changes = exchange.method in ("PATCH", "PUT")
                    if kind in met or exchange.path == "/v2/" or (number > 0 and changes == (number % 2 == 1)):
                        return None
                    met.add(kind)
                    return answer

                forget_sources()
                self.front.reset()
                image = self.noise(f"{AT_FRONT}/busy-{number}", 2_000_000)
                self.front.reset(once)
                self.pushed(f"{AT_FRONT}/busy-{number}", "1")
                self.check_blobs(self.plain, f"busy-{number}", "1", image)
                self.assertGreaterEqual(len(met), 2 if number else 4, met)

    def test_never_free_registry(self):
        name = f"{AT_FRONT}/never"
        self.tag("busybox:latest", f"{name}:1")
        self.front.reset(lambda e: {"status": 503, "headers": {"Retry-After": "0"}} if e.method == "PATCH" else None)
        messages = push(name, "1")
        self.assertIn("503", error_of(messages))
        self.assertEqual(len(self.front.seen("PATCH")), 5)
        self.assertEqual(len(self.front.seen("DELETE")), 1)
        self.front.reset(lambda e: {"status": 403, "body": {"errors": [
            {"code": "DENIED", "message": "requested access to the resource is denied"}]}} if e.method == "POST" else None)
        self.assertEqual(error_of(push(name, "1")), "denied: requested access to the resource is denied")
        self.assertEqual(len(self.front.seen("POST")), 1)

    def test_cut_upload_goes_on(self):
        """What has arrived before the connection broke is not sent again."""
        dice = random.Random(SEED)
        size = 24_000_000
        for number in range(2):
            with self.subTest(number):
                forget_sources()
                self.front.reset()
                image = self.noise(f"{AT_FRONT}/cut-{number}", size, 100 + number)
                cuts = [dice.randrange(9_000_000, 20_000_000), dice.randrange(100, 6_000_000)]

                def cut(exchange):
                    return {"cut": cuts.pop(0)} if exchange.method == "PATCH" and cuts else None

                self.front.reset(cut)
                messages, _ = self.pushed(f"{AT_FRONT}/cut-{number}", "1")
                self.assertIn("Retrying in 1 second", str(messages))
                self.check_blobs(self.plain, f"cut-{number}", "1", image)
                self.assertEqual(cuts, [])
                patches = self.front.seen("PATCH")
                resumed = [e for e in patches if not e.headers.get("content-range", "0-").startswith("0-")]
                self.assertTrue(resumed, patches)
                self.assertLess(sum(e.sent for e in patches), 2 * size, patches)

    def arrived(self, name, image):
        """Whether the registry has the image, which it has as a whole then."""
        try:
            self.plain.manifest(name, "1")
        except urllib.error.HTTPError as error:
            self.assertEqual(error.code, 404)
            return False
        self.check_blobs(self.plain, name, "1", image)
        return True

    def test_cut_anywhere(self):
        """At any byte of any request or answer. What a push says it did is there, and what broke it off is no hindrance to
        the next."""
        dice, number, failed = random.Random(SEED), 0, 0
        relay = registry_servers.cutter(CUTTER, f"127.0.0.1:{PLAIN}")
        self.addCleanup(registry_servers.stop, relay)
        source = f"localhost:{CUTTER}/cut-source:1"
        load_made(source, random_layer(100_000, 1), random_layer(3_000_000, 2), layer_tar("small"))
        self.tags.append(source)
        image = image_id(source)
        while relay.cut < CUTS:
            number += 1
            forget_sources()
            self.tag(source, f"localhost:{CUTTER}/cut-anywhere/{number}:1")
            upwards = [dice.randrange(1, 3_200_000 if dice.random() < 0.6 else 3000) for _ in range(dice.randrange(1, 5))]
            cuts = [(length, None) if dice.random() < 0.7 else (None, length % 1500 + 1) for length in upwards]
            with self.subTest(f"seed {SEED}, cuts {cuts}"):
                relay.cuts = list(cuts)
                messages = push(f"localhost:{CUTTER}/cut-anywhere/{number}", "1")
                relay.cuts = []
                arrived = self.arrived(f"cut-anywhere/{number}", image)
                if error_of(messages):
                    failed += 1
                    self.assertGreater(len(error_of(messages)), 9)
                    self.pushed(f"localhost:{CUTTER}/cut-anywhere/{number}", "1")
                    arrived = self.arrived(f"cut-anywhere/{number}", image)
                self.assertTrue(arrived, messages)
        print(f"{relay.cut} connections cut in {number} pushes, of which {failed} failed (seed {SEED})", flush=True)

    def test_cut_upload_begins_again(self):
        """At a registry that does not say how far it is."""
        image = self.noise(f"{AT_FRONT}/mute")
        cuts = [10_000_000]

        def mute(exchange):
            if exchange.method == "GET" and "/uploads/" in exchange.path:
                return {"status": 404}
            if exchange.method == "PATCH" and cuts:
                return {"cut": cuts.pop()}

        self.front.reset(mute)
        self.pushed(f"{AT_FRONT}/mute", "1")
        self.check_blobs(self.plain, "mute", "1", image)

    def test_lost_answers(self):
        """The registry did it, and nobody heard."""
        for method, part in (("POST", "/blobs/uploads/"), ("PATCH", ""), ("PUT", "digest="), ("PUT", "manifests")):
            with self.subTest(method + part):
                name = f"lost-{method.lower()}-{len(part)}"
                forget_sources()
                self.front.reset()
                image = self.noise(f"{AT_FRONT}/{name}", 2_000_000)
                lost = []

                def lose(exchange):
                    if exchange.method == method and part in exchange.path and not lost:
                        lost.append(exchange)
                        return {"lose": True}

                self.front.reset(lose)
                self.pushed(f"{AT_FRONT}/{name}", "1")
                self.assertEqual(len(lost), 1)
                self.check_blobs(self.plain, name, "1", image)
                if "digest=" in part:
                    self.assertEqual(sum(e.sent for e in self.front.seen("PATCH")), lost and self.front.seen("PATCH")[0].sent)

    def test_other_offset(self):
        """A registry that has less than it said answers 416 and is asked."""
        image = self.noise(f"{AT_FRONT}/offset")
        refused = []

        def rule(exchange):
            if exchange.method == "POST":
                return {"change": lambda headers: headers.update({"oci-chunk-min-length": "1"})}
            if exchange.method == "PATCH" and exchange.headers["content-range"].startswith("8388608-") and not refused:
                refused.append(exchange)
                return {"status": 416}

        self.front.reset(rule)
        messages, _ = self.pushed(f"{AT_FRONT}/offset", "1")
        self.assertEqual(len(refused), 1)
        self.assertNotIn("Retrying", str(messages))
        self.check_blobs(self.plain, "offset", "1", image)

    def test_slow_registry_holds_nobody_up(self):
        image = self.noise(f"{AT_FRONT}/slow", 4_000_000)
        self.front.reset(lambda e: {"pause": 0.05} if e.method == "PATCH" else None)
        client = subprocess.Popen(["docker", "-H", f"unix://{BERTH}", "push", f"{AT_FRONT}/slow:1"], stdout=subprocess.PIPE)
        wait_until(lambda: self.front.seen("PATCH"), 10, "an upload")
        longest = 0
        while client.poll() is None and longest < 1:
            before = time.monotonic()
            self.assertEqual(call("GET", "/_ping").status, 200)
            longest = max(longest, time.monotonic() - before)
            time.sleep(0.05)
        self.assertEqual(client.wait(60), 0, client.stdout.read())
        client.stdout.close()
        self.assertLess(longest, 0.5)
        self.check_blobs(self.plain, "slow", "1", image)

    def test_gone_client(self):
        self.noise(f"{AT_FRONT}/gone")
        self.front.reset(lambda e: {"pause": 0.2} if e.method == "PATCH" else None)
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(BERTH)
            connection.sendall(hosted.build("POST", f"/images/{AT_FRONT}/gone/push?tag=1", b"", [f"X-Registry-Auth: {NOBODY}"]))
            wait_until(lambda: self.front.seen("PATCH"), 10, "an upload")
        wait_until(lambda: not upload_processes(), 5, "the end of the job")
        self.assertEqual(self.front.seen("PUT", "manifests"), [])
        self.assertEqual(digests_of(f"{AT_FRONT}/gone:1"), [])

    def test_killed_processes(self):
        """Of a push: the job, the uploader, the reader. The job's end is the push's, the others' an error."""
        self.noise(f"{AT_FRONT}/killed")
        for depth in (1, 2, 3):
            with self.subTest(depth):
                self.front.reset(lambda e: {"pause": 0.1} if e.method == "PATCH" else None)
                client = subprocess.Popen(["docker", "-H", f"unix://{BERTH}", "push", f"{AT_FRONT}/killed:1"],
                                          stdout=subprocess.PIPE, stderr=subprocess.PIPE)
                wait_until(lambda: self.front.seen("PATCH"), 10, "an upload")
                victim = hosted.daemon_pid()
                for _ in range(depth):
                    # The job's first child speaks for it.
                    victim = run("pgrep", "-P", victim).split()[-1]
                os.kill(int(victim), signal.SIGKILL)
                _, errors = client.communicate(timeout=60)
                self.assertNotEqual(client.returncode, 0)
                self.assertIn(b"ended early", errors)
                wait_until(lambda: not upload_processes(), 5, "the end of the job")
                self.assertEqual(self.front.seen("PUT", "manifests"), [])

    def test_damaged_layer(self):
        """What is no longer the layer that the configuration means never gets a name in the registry."""
        name = f"{AT_FRONT}/damaged"
        self.noise(name, 1_000_000, 77)
        path = run("find", LAYERS, "-name", "noise-77").strip()
        with open(path, "r+b") as file:
            byte = file.read(1)
            file.seek(0)
            file.write(bytes([byte[0] ^ 1]))
        try:
            self.assertEqual(error_of(push(name, "1")), "a layer's files are no longer what they were")
            self.assertEqual(self.front.seen("PUT"), [])
        finally:
            with open(path, "r+b") as file:
                file.write(byte)
        self.pushed(name, "1")


if __name__ == "__main__":
    unittest.main()
