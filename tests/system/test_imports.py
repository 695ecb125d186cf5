#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Images from URLs, of one platform of several, and what is said of their manifests; with dockerd's words where the host
has it."""
import hashlib
import http.server
import io
import json
import os
import socketserver
import tarfile
import threading
import unittest
import urllib.parse

import hosted
from hosted import BERTH, REFERENCE, call, run

PORT = 5080
STAGING = "/var/lib/berth/staging"


def tar_of(*names):
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w") as archive:
        for name in names:
            header = tarfile.TarInfo(name)
            header.size = len(name)
            archive.addfile(header, io.BytesIO(name.encode()))
    return output.getvalue()


class Files(http.server.BaseHTTPRequestHandler):
    """/whole and /empty; /cut breaks off; /moved leads to the first; the rest is refused."""

    def do_GET(self):
        body = tar_of("etc/hello") + b"\0" * 200000
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", "/whole")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        known = self.path in ("/whole", "/cut", "/empty")
        data = b"" if self.path == "/empty" else body if known else b"  there is nothing here\n"
        self.send_response(200 if known else int(self.path[1:] or 404))
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data[:100000] if self.path == "/cut" else data)

    def log_message(self, *_):
        pass


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    allow_reuse_address = True


def create(query, server=BERTH):
    answer = hosted.Answer(hosted.send_raw(server, hosted.build("POST", f"/v1.45/images/create?{query}"), 30))
    lines = [json.loads(line) for line in answer.body.decode().splitlines() if line.strip()]
    return answer.status, lines


def descriptor(blobs, value, kind, **more):
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    digest = hashlib.sha256(data).hexdigest()
    blobs[f"blobs/sha256/{digest}"] = data
    return {"mediaType": kind, "digest": f"sha256:{digest}", "size": len(data), **more}


def layout_of(architectures):
    """An OCI layout with one image for several platforms, and an attestation."""
    blobs, manifests = {}, []
    for architecture in architectures:
        layer = tar_of(f"for-{architecture}")
        config = {"architecture": architecture, "os": "linux", "config": {},
                  "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(layer).hexdigest()]}}
        manifest = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
                    "config": descriptor(blobs, config, "application/vnd.oci.image.config.v1+json"),
                    "layers": [descriptor(blobs, layer, "application/vnd.oci.image.layer.v1.tar")]}
        manifests.append(descriptor(blobs, manifest, manifest["mediaType"],
                                    platform={"os": "linux", "architecture": architecture}))
    manifests.append({**manifests[0], "platform": {"os": "unknown", "architecture": "unknown"},
                      "annotations": {"vnd.docker.reference.type": "attestation-manifest",
                                      "vnd.docker.reference.digest": manifests[0]["digest"]}})
    kind = "application/vnd.oci.image.index.v1+json"
    index = descriptor(blobs, {"schemaVersion": 2, "mediaType": kind, "manifests": manifests}, kind,
                       annotations={"io.containerd.image.name": "docker.io/library/several:1"})
    blobs["index.json"] = json.dumps({"schemaVersion": 2, "manifests": [index]}).encode()
    blobs["oci-layout"] = b'{"imageLayoutVersion":"1.0.0"}'
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w") as archive:
        for name, data in blobs.items():
            header = tarfile.TarInfo(name)
            header.size = len(data)
            archive.addfile(header, io.BytesIO(data))
    return output.getvalue()


def load(data, platform=None, version="v1.48"):
    query = "?platform=" + urllib.parse.quote(json.dumps(platform)) if platform else ""
    answer = hosted.Answer(hosted.send_raw(BERTH, hosted.build("POST", f"/{version}/images/load{query}", data), 30))
    return [json.loads(line) for line in answer.body.decode().splitlines() if line.strip()]


class Imports(unittest.TestCase):
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        cls.server = Server(("127.0.0.1", PORT), Files)
        threading.Thread(target=cls.server.serve_forever, args=(0.05,), daemon=True).start()
        cls.reference = hosted.start_reference()

    @classmethod
    def tearDownClass(cls):
        cls.server.shutdown()
        cls.server.server_close()

    def tearDown(self):
        for name in ("imported:1", "several:1"):
            run("docker", "rmi", "-f", name, status=None)
        hosted.wait_until(lambda: os.listdir(STAGING) == [], 15, "an empty staging directory", 0.05)

    def test_url(self):
        for source in (f"http://127.0.0.1:{PORT}/whole", f"127.0.0.1:{PORT}/whole", f"http://127.0.0.1:{PORT}/moved"):
            with self.subTest(source):
                query = "fromSrc=" + urllib.parse.quote(source) + "&repo=imported&tag=1&changes=ENV%20A%3Db&message=words"
                status, lines = create(query)
                self.assertEqual(status, 200)
                whole = source if "://" in source else "http://" + source
                self.assertEqual(lines[0], {"status": f"Downloading from {whole}"})
                image = call("GET", "/images/imported:1/json").json()
                self.assertEqual(lines[-1], {"status": image["Id"]})
                self.assertEqual((image["Config"]["Env"], image["Comment"]), (["A=b"], "words"))
                tree = f"/var/lib/berth/layer/{image['RootFS']['Layers'][0][7:27]}/fs"
                with open(tree + "/etc/hello", encoding="ascii") as file:
                    self.assertEqual(file.read(), "etc/hello")

    def test_clients(self):
        for client in ("docker", "berth"):
            self.assertIn("sha256:", run(client, "import", f"http://127.0.0.1:{PORT}/whole", "imported:1"))
            self.assertEqual(run(client, "image", "inspect", "-f", "{{.RepoTags}}", "imported:1"), "[imported:1]\n")

    def test_refusals(self):
        """What cannot be had is refused as dockerd does; what breaks off leaves nothing."""
        for path in ("404", "400", "403", "500", "503"):
            with self.subTest(path):
                query = "fromSrc=" + urllib.parse.quote(f"http://127.0.0.1:{PORT}/{path}")
                found = create(query)
                self.assertGreaterEqual(found[0], 400)
                self.assertIn(f"failed to GET http://127.0.0.1:{PORT}/{path} with status {path} ", found[1][0]["message"])
                if self.reference:
                    self.assertEqual(found, create(query, REFERENCE))
        status, lines = create("fromSrc=http://127.0.0.1:1/x")
        self.assertEqual((status, lines[0]["message"]),
                         (500, 'Get "http://127.0.0.1:1/x": dial tcp 127.0.0.1:1: connect: connection refused'))
        before = call("GET", "/images/json?all=1").json()
        status, lines = create(f"fromSrc=http://127.0.0.1:{PORT}/cut&repo=imported&tag=1")
        self.assertEqual(status, 200)
        self.assertIn("EOF", lines[-1]["error"])
        self.assertEqual(call("GET", "/images/json?all=1").json(), before)
        self.assertEqual(create(f"fromSrc=http://127.0.0.1:{PORT}/whole&repo=UPPER")[0], 400)

    def test_load_of_a_platform(self):
        data = layout_of(("amd64", "arm64"))
        for platform, wanted in (({"os": "linux", "architecture": "arm64"}, "arm64"),
                                 ({"os": "linux", "architecture": "amd64"}, "amd64"), (None, "amd64")):
            with self.subTest(wanted):
                self.assertIn("Loaded image: several:1", load(data, platform)[-1]["stream"])
                self.assertEqual(call("GET", "/images/several:1/json").json()["Architecture"], wanted)
                run("docker", "rmi", "several:1")
        missing = {"os": "linux", "architecture": "s390x"}
        self.assertIn("linux/s390x", load(data, missing)[-1]["error"])
        self.assertIn("linux/s390x", load(open("/root/busybox.tar", "rb").read(), missing)[-1]["error"])
        # Older clients do not know it.
        self.assertIn("Loaded image", load(data, missing, "v1.47")[-1]["stream"])

    def test_removal_of_a_platform(self):
        def remove(*platforms, version="v1.50"):
            query = "&".join("platforms=" + urllib.parse.quote(json.dumps(platform)) for platform in platforms)
            answer = call("DELETE", f"/{version}/images/several:1?{query}")
            return answer.status, answer.message() if answer.status != 200 else None
        load(layout_of(("amd64",)))
        here, other = ({"os": "linux", "architecture": architecture} for architecture in ("amd64", "s390x"))
        status, text = remove(other)
        self.assertEqual(status, 404)
        self.assertIn("does not provide the specified platform (linux/s390x)", text)
        self.assertEqual(remove(here, other)[0], 400)
        self.assertEqual(remove(here), (200, None))
        load(layout_of(("amd64",)))
        self.assertEqual(remove(other, version="v1.49"), (200, None))

    def test_questions_about_a_platform(self):
        """From the versions on that brought them; an image is of one platform here, and has no manifests to tell of."""
        load(layout_of(("amd64",)))
        here, other = ({"os": "linux", "architecture": architecture} for architecture in ("amd64", "s390x"))

        def ask(what, platform, version, **more):
            query = urllib.parse.urlencode({"platform": json.dumps(platform) if isinstance(platform, dict) else platform, **more})
            answer = call("GET", f"/{version}/images/several:1/{what}?{query}")
            return answer.status, answer.message() if answer.status != 200 else None

        missing = "image with reference several:1 was found but does not provide the specified platform (linux/s390x)"
        for what, first in (("json", 49), ("history", 48), ("get", 48)):
            with self.subTest(what):
                before, version = f"v1.{first - 1}", f"v1.{first}"
                self.assertEqual(ask(what, other, before), (200, None))
                self.assertEqual(ask(what, here, version), (200, None))
                self.assertEqual(ask(what, other, version), (404, missing))
                for wrong, text in (("linux/amd64", "failed to parse platform: invalid JSON"),
                                    ({"os": "linux"}, "both OS and Architecture must be provided"),
                                    ({"variant": "v7"}, "optional platform components provided, but OS and Architecture are missing")):
                    self.assertEqual(ask(what, wrong, version), (400, text))
        self.assertEqual(ask("json", here, "v1.49", manifests="1"),
                         (400, "conflicting options: manifests and platform options cannot both be set"))
        self.assertNotIn("Manifests", call("GET", "/v1.48/images/several:1/json?manifests=1").json())
        for image in call("GET", "/v1.51/images/json?manifests=1").json():
            self.assertNotIn("Manifests", image)

    def test_containers_of_images(self):
        """Their number, from version 1.51 on."""
        run("berth", "load", "-q", "-i", "/root/busybox.tar")
        image = call("GET", "/images/busybox/json").json()["Id"]

        def count(version):
            return [found["Containers"] for found in call("GET", f"/{version}/images/json").json() if found["Id"] == image][0]

        before = count("v1.51")
        for name in ("one", "two"):
            run("docker", "create", "--name", name, "busybox")
            self.addCleanup(run, "docker", "rm", name)
        self.assertEqual((count("v1.51") - before, count("v1.50")), (2, -1))

    def test_login_bodies(self):
        """What is no login is refused in dockerd's words."""
        for body in (b"", b"[]", b"5", b'"x"', b"true", b'{"username":5}', b'{"password":["x"]}'):
            with self.subTest(body):
                found = [hosted.Answer(hosted.send_raw(server, hosted.build("POST", "/v1.45/auth", body, ("Content-Type: application/json",)), 30))
                         for server in ((BERTH, REFERENCE) if self.reference else (BERTH,))]
                self.assertEqual(found[0].status, 500)
                self.assertEqual({(answer.status, answer.message()) for answer in found}, {(500, found[0].message())})


if __name__ == "__main__":
    unittest.main()
