#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Images that skopeo, dockerd and podman made go from docker-registry through Berth to these and back: as archives, through
the registry, and from daemon to daemon. They keep their IDs and their layers. Podman is in hosts of the profile "bench":
BERTH_PROFILE=bench tests/system/run.sh test_round_trips.py; without it, what is podman's is left out. It takes minutes.
BERTH_KINDS names some of the images, as in MADE below."""
import hashlib
import json
import os
import shutil
import subprocess
import tarfile
import tempfile
import unittest

import registry_servers as registries
from hosted import BERTH, REFERENCE, run, start_reference
from trees import check

PLAIN = "127.0.0.1:5000"
ATTESTATION = "application/vnd.in-toto+json"
KINDS = os.environ.get("BERTH_KINDS", "").split()
PODMAN = os.path.exists("/usr/bin/podman")


def docker(server, *arguments, **options):
    return run("docker", "-H", f"unix://{server}", *arguments, timeout=120, **options)


def skopeo(*arguments):
    return run("skopeo", "--insecure-policy", *arguments, timeout=120)


def podman(*arguments, **options):
    return run("podman", *arguments, timeout=900, **options)


def seen(server, name):
    """What an engine knows an image as: its ID and its layers."""
    image = json.loads(docker(server, "image", "inspect", name))[0]
    return image["Id"], image["RootFS"].get("Layers", [])


def seen_by_podman(name):
    image = json.loads(podman("image", "inspect", name))[0]
    return "sha256:" + image["Id"], image["RootFS"].get("Layers") or []


def seen_in_layout(path):
    """The same of an OCI archive, read here."""
    with tarfile.open(path) as archive:
        def blob(digest):
            data = archive.extractfile("blobs/sha256/" + digest[7:]).read()
            if "sha256:" + hashlib.sha256(data).hexdigest() != digest:
                raise AssertionError(f"{digest} is another")
            return json.loads(data)
        manifest = blob(json.load(archive.extractfile("index.json"))["manifests"][0]["digest"])
        digest = manifest["config"]["digest"]
        return digest, blob(digest)["rootfs"].get("diff_ids") or []


def forget(server):
    for image in set(docker(server, "images", "-aq", "--no-trunc").split()):
        docker(server, "rmi", "-f", image, status=None)


def forget_podman():
    podman("rmi", "-af", status=None)
    podman("manifest", "rm", "made", status=None)


# --- What the tools make, each into its repository ---------------------------------------------------------------------


def by_skopeo(source, *options):
    def make(name):
        skopeo("copy", "-q", "--dest-tls-verify=false", *options, source, f"docker://{name}")
    return make


def context(steps):
    """A directory with a Dockerfile of that many COPY steps, and what they copy."""
    directory = tempfile.mkdtemp(dir="/root")
    lines = ["FROM scratch", "ENV MADE=here", 'CMD ["/file-0"]']
    for number in range(steps):
        with open(f"{directory}/file-{number}", "w", encoding="ascii") as file:
            file.write(f"{number}\n")
        lines.append(f"COPY file-{number} /file-{number}")
    with open(f"{directory}/Dockerfile", "w", encoding="ascii") as file:
        file.write("\n".join(lines) + "\n")
    return directory


def by_dockerd(steps):
    def make(name):
        directory = context(steps)
        subprocess.run(("docker", "-H", f"unix://{REFERENCE}", "build", "-q", "-t", name, directory), check=True, timeout=300,
                       capture_output=True, env={**os.environ, "DOCKER_BUILDKIT": "0"})
        docker(REFERENCE, "push", "-q", name)
        shutil.rmtree(directory)
    return make


def changed_by_dockerd(name):
    """Layers with whiteouts, opaque directories and links, committed."""
    base = "busybox"
    for number, script in enumerate(("mkdir -p /d/e; echo 1 >/d/e/f; ln /d/e/f /d/g; ln -s g /d/h; rm /bin/ls",
                                     "rm -rf /d/e; mkdir /d/e; echo 2 >/d/e/i; rm /d/h; chmod 700 /d; chown 5:6 /d/g")):
        docker(REFERENCE, "run", "--name", "changed", "--network", "none", base, "sh", "-c", script)
        base = f"changed:{number}"
        docker(REFERENCE, "commit", "changed", base)
        docker(REFERENCE, "rm", "changed")
    docker(REFERENCE, "tag", base, name)
    docker(REFERENCE, "push", "-q", name)


def by_podman(steps, *options):
    def make(name):
        directory = context(steps)
        podman("build", "-q", "--layers", *options, "-t", name, directory)
        podman("push", "-q", "--tls-verify=false", name)
        shutil.rmtree(directory)
    return make


def index_by_podman(kind, attested=False):
    """Two architectures under one name, and what says where one of them comes from."""
    def make(name):
        forget_podman()
        podman("manifest", "create", "made")
        for architecture in ("arm64", "amd64"):
            directory = context(2)
            podman("build", "-q", "--arch", architecture, "--label", f"for={architecture}", "-t", f"made-{architecture}", directory)
            podman("manifest", "add", "made", f"containers-storage:localhost/made-{architecture}")
            shutil.rmtree(directory)
        if attested:
            with open("/root/statement.json", "w", encoding="ascii") as file:
                json.dump({"_type": "https://in-toto.io/Statement/v0.1", "subject": []}, file)
            podman("manifest", "add", "--artifact", "--artifact-type", ATTESTATION, "--os", "unknown", "--arch", "unknown",
                   "--annotation", "vnd.docker.reference.type=attestation-manifest", "made", "/root/statement.json")
        podman("manifest", "push", "-q", "--all", "--format", kind, "--tls-verify=false", "made", f"docker://{name}")
    return make


LAYERS_TAR = "docker-archive:/root/layers.tar"
MADE = {
    "v2s2": by_skopeo(LAYERS_TAR, "--format", "v2s2"),
    "oci": by_skopeo(LAYERS_TAR, "--format", "oci"),
    "zstd": by_skopeo("oci-archive:/root/busybox-oci-zstd.tar", "--preserve-digests"),
    "plain": by_skopeo("oci-archive:/root/busybox-oci.tar", "--format", "oci", "--preserve-digests"),
    "changed": changed_by_dockerd,
    "hundred": by_dockerd(100),
    "none": by_dockerd(0),
}
MADE_BY_PODMAN = {
    "podman": by_podman(3),
    "podman-v2s2": by_podman(3, "--format", "docker"),
    "podman-hundred": by_podman(100),
    "podman-index": index_by_podman("oci"),
    "podman-list": index_by_podman("v2s2"),
    "podman-attested": index_by_podman("oci", attested=True),
}


class RoundTrips(unittest.TestCase):
    maxDiff = 3000

    @classmethod
    def setUpClass(cls):
        if not start_reference():
            raise unittest.SkipTest("no dockerd")
        cls.registry = registries.Registry(5000)
        cls.made = {**MADE, **(MADE_BY_PODMAN if PODMAN else {})}
        if KINDS:
            cls.made = {kind: cls.made[kind] for kind in KINDS}
        for kind, make in cls.made.items():
            make(f"{PLAIN}/{kind}:1")
        forget(REFERENCE)
        if PODMAN:
            forget_podman()

    @classmethod
    def tearDownClass(cls):
        cls.registry.stop()

    def tearDown(self):
        self.forget_all()
        self.assertIn(" 0 faults", check())

    def forget_all(self):
        forget(BERTH)
        forget(REFERENCE)
        if PODMAN:
            forget_podman()

    def each(self, follow):
        """Calls FOLLOW with the kind and the name of each image, which Berth has pulled, and with what it is."""
        for kind in self.made:
            with self.subTest(kind):
                self.forget_all()
                name = f"{PLAIN}/{kind}:1"
                docker(BERTH, "pull", "-q", name)
                follow(kind, name, seen(BERTH, name))

    def test_made_so(self):
        """The images are what they are taken for here."""
        def follow(kind, name, image):
            identity, layers = image
            data, media = registries.manifest(PLAIN, kind, "1")
            value = json.loads(data)
            if "manifests" in value:
                self.assertIn(kind, ("podman-index", "podman-list", "podman-attested"))
                platforms = [entry["platform"]["architecture"] for entry in value["manifests"]]
                self.assertEqual(platforms, ["arm64", "amd64"] + ["unknown"] * (kind == "podman-attested"))
                self.assertEqual(media, "application/vnd.docker.distribution.manifest.list.v2+json" if kind == "podman-list"
                                 else registries.INDEX_OCI)
                self.assertEqual(docker(BERTH, "inspect", "-f", '{{index .Config.Labels "for"}}', name), "amd64\n")
                return
            docker_format = kind in ("v2s2", "changed", "hundred", "none", "podman-v2s2")
            self.assertEqual(media, registries.MANIFEST_DOCKER if docker_format else registries.MANIFEST_OCI)
            self.assertEqual(value["config"]["digest"], identity)
            kinds = {entry["mediaType"].rpartition("tar")[2] for entry in value["layers"]}
            wanted = {"zstd": {"+zstd"}, "plain": {""}, "none": set()}.get(kind, {".gzip"} if docker_format else {"+gzip"})
            self.assertEqual(kinds, wanted)
            self.assertEqual(len(layers), {"v2s2": 4, "oci": 4, "zstd": 1, "plain": 1, "changed": 3, "hundred": 100, "none": 0,
                                           "podman-hundred": 100}.get(kind, 3))

        self.each(follow)

    def test_dockerd(self):
        def follow(kind, name, image):
            archive, theirs, back = "/root/trip.tar", "/root/theirs.tar", f"{PLAIN}/back/{kind}:1"
            docker(BERTH, "save", "-o", archive, name)
            docker(REFERENCE, "load", "-q", "-i", archive)
            self.assertEqual(seen(REFERENCE, name), image)
            docker(REFERENCE, "tag", name, back)
            docker(REFERENCE, "push", "-q", back)
            # It refuses to save an image that has no layer.
            docker(*(REFERENCE, "save", "-o", theirs) if image[1] else (BERTH, "save", "-o", theirs), name)
            forget(BERTH)
            docker(BERTH, "pull", "-q", back)
            self.assertEqual(seen(BERTH, back), image)
            forget(BERTH)
            docker(BERTH, "load", "-q", "-i", theirs)
            self.assertEqual(seen(BERTH, name), image)
            # Saved again, it is the same archive but for when and where.
            docker(BERTH, "save", "-o", "/root/again.tar", name)
            self.assertEqual(self.blobs("/root/again.tar"), self.blobs(archive))
            forget(REFERENCE)
            docker(REFERENCE, "pull", "-q", name)
            self.assertEqual(seen(REFERENCE, name), image)
            # What Berth pushes, dockerd takes for the same.
            docker(BERTH, "tag", name, f"{PLAIN}/pushed/{kind}:1")
            docker(BERTH, "push", "-q", f"{PLAIN}/pushed/{kind}:1")
            docker(REFERENCE, "pull", "-q", f"{PLAIN}/pushed/{kind}:1")
            self.assertEqual(seen(REFERENCE, f"{PLAIN}/pushed/{kind}:1"), image)

        self.each(follow)

    @staticmethod
    def blobs(path):
        """The content of an archive by digest: configurations and layers."""
        with tarfile.open(path) as archive:
            manifest = json.load(archive.extractfile("manifest.json"))
            return [[hashlib.sha256(archive.extractfile(name).read()).hexdigest() for name in (entry["Config"], *(entry["Layers"] or []))]
                    for entry in manifest]

    def test_daemon_to_daemon(self):
        """Skopeo speaks to both daemons as a client."""
        def follow(kind, name, image):
            skopeo("copy", "-q", "--src-daemon-host", f"unix://{BERTH}", "--dest-daemon-host", f"unix://{REFERENCE}",
                   f"docker-daemon:{name}", f"docker-daemon:{name}")
            self.assertEqual(seen(REFERENCE, name), image)
            if not image[1]:
                return  # dockerd refuses to save it
            forget(BERTH)
            skopeo("copy", "-q", "--src-daemon-host", f"unix://{REFERENCE}", "--dest-daemon-host", f"unix://{BERTH}",
                   f"docker-daemon:{name}", f"docker-daemon:{name}")
            self.assertEqual(seen(BERTH, name), image)

        self.each(follow)

    @unittest.skipUnless(PODMAN, "no podman")
    def test_podman(self):
        def follow(kind, name, image):
            archive, theirs, back = "/root/trip.tar", "/root/theirs.tar", f"{PLAIN}/podman-back/{kind}:1"
            docker(BERTH, "save", "-o", archive, name)
            podman("load", "-q", "-i", archive)
            self.assertEqual(seen_by_podman(name), image)
            podman("push", "-q", "--tls-verify=false", name, back)
            forget(BERTH)
            docker(BERTH, "pull", "-q", back)
            self.assertEqual(seen(BERTH, back), image)
            # An archive of another format has another configuration: then that is the ID.
            for form in ("docker-archive", "oci-archive"):
                if os.path.exists(theirs):
                    os.unlink(theirs)
                podman("save", "-q", "--format", form, "-o", theirs, name)
                forget(BERTH)
                docker(BERTH, "load", "-q", "-i", theirs)
                if form == "oci-archive":
                    wanted = seen_in_layout(theirs)
                else:
                    docker(REFERENCE, "load", "-q", "-i", theirs)
                    wanted = seen(REFERENCE, name)
                self.assertEqual(seen(BERTH, name), wanted)
                self.assertEqual(wanted[1], image[1])
            forget_podman()
            podman("pull", "-q", "--tls-verify=false", name)
            self.assertEqual(seen_by_podman(name), image)

        self.each(follow)


if __name__ == "__main__":
    unittest.main(verbosity=2)
