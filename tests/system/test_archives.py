#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Hostile archives to /images/load and /images/create: nothing outside changes, the error says what is wrong, the daemon
goes on, and nothing half-done is left."""
import gzip
import hashlib
import io
import json
import os
import tarfile
import unittest

import hosted
from hosted import build, run

EVIL = "berth-evil"
WATCHED = ("/etc", "/root", "/tmp", "/usr/bin", "/usr/libexec", "/var/lib/berth/image", "/var/lib/berth/layer", "/dev")


def entry(name, data=b"", kind=tarfile.REGTYPE, link="", mode=0o644, **fields):
    header = tarfile.TarInfo(name)
    header.type, header.linkname, header.mode, header.size = kind, link, mode, len(data)
    for field, value in fields.items():
        setattr(header, field, value)
    return header, data


def tar(*entries, end=True):
    output = io.BytesIO()
    for header, data in entries:
        # Never through TarFile.add*: that would mend the names.
        output.write(header.tobuf(tarfile.PAX_FORMAT if header.pax_headers else tarfile.GNU_FORMAT))
        output.write(data + b"\0" * (-len(data) % 512))
    if end:
        output.write(b"\0" * 10240)
    return output.getvalue()


def digest(data):
    return hashlib.sha256(data).hexdigest()


def image(layer, tags=("evil:latest",), config=None, manifest=None, diff_id=None, extra=(), layer_name="layer.tar"):
    """A docker-archive with one layer; any part can be replaced."""
    if config is None:
        config = {"architecture": "amd64", "os": "linux", "config": {"Cmd": ["sh"]},
                  "rootfs": {"type": "layers", "diff_ids": ["sha256:" + (diff_id or digest(layer))]}}
    if not isinstance(config, bytes):
        config = json.dumps(config).encode()
    if manifest is None:
        manifest = [{"Config": "config.json", "RepoTags": list(tags), "Layers": [layer_name]}]
    if not isinstance(manifest, bytes):
        manifest = json.dumps(manifest).encode()
    return tar(entry("layer.tar", layer), entry("config.json", config), *extra, entry("manifest.json", manifest))


def link(name, target):
    return entry(name, kind=tarfile.SYMTYPE, link=target)


def hard(name, target):
    return entry(name, kind=tarfile.LNKTYPE, link=target)


def device(name, major, minor, kind=tarfile.CHRTYPE):
    return entry(name, kind=kind, devmajor=major, devminor=minor)


def huge(name):
    header, _ = entry(name)
    header.size = 1 << 62
    return header, b""


# What is in a layer, and "error", "fine" or "any": whether it may be taken for a layer that stays inside of itself.
LAYERS = {
    "upwards": ([entry(f"../../../../../../tmp/{EVIL}", b"x")], "error"),
    "upwards in the middle": ([entry(f"a/../../../../../../tmp/{EVIL}", b"x")], "error"),
    "absolute": ([entry(f"/tmp/{EVIL}", b"x")], "any"),
    "through a symbolic link": ([link("l", "/tmp"), entry(f"l/{EVIL}", b"x")], "any"),
    "through a relative one": ([link("l", "../../../../../../../tmp"), entry(f"l/{EVIL}", b"x")], "any"),
    "through two": ([link("a", "b"), link("b", "/tmp"), entry(f"a/{EVIL}", b"x")], "any"),
    "over a symbolic link": ([link("passwd", "/etc/passwd"), entry("passwd", b"x")], "any"),
    "hard link to the host": ([hard("l", "/etc/passwd"), entry("l", b"x")], "error"),
    "hard link upwards": ([hard("l", "../../../../../../../etc/passwd"), entry("l", b"x")], "error"),
    "hard link through a symbolic one": ([link("e", "/etc"), hard("l", "e/passwd"), entry("l", b"x")], "error"),
    "hard link to a symbolic one": ([link("s", "/etc/passwd"), hard("l", "s"), entry("l", b"x")], "any"),
    "hard link to nothing": ([hard("l", "nosuch")], "error"),
    "hard link to itself": ([hard("l", "l")], "error"),
    "directory over a link": ([link("d", "/tmp"), entry("d", kind=tarfile.DIRTYPE, mode=0o777), entry(f"d/{EVIL}", b"x")], "any"),
    "whiteout upwards": ([entry("../.wh.etc")], "error"),
    "whiteout of the parent": ([entry(".wh...")], "error"),
    "whiteout of itself": ([entry(".wh..")], "error"),
    "whiteout of nothing": ([entry(".wh.")], "error"),
    "whiteout through a link": ([link("l", "/etc"), entry("l/.wh.passwd")], "any"),
    "opaque through a link": ([link("l", "/etc"), entry("l/.wh..wh..opq")], "any"),
    "the root as a link": ([link(".", "/tmp"), entry(f"./{EVIL}", b"x")], "any"),
    "the root as a file": ([entry("./", b"x")], "any"),
    "the parent": ([entry("..", kind=tarfile.DIRTYPE, mode=0o777)], "error"),
    "a disk": ([device("disk", 8, 0, tarfile.BLKTYPE), device("mem", 1, 1)], "any"),
    "a fifo": ([entry("fifo", kind=tarfile.FIFOTYPE), entry("fifo", b"x")], "any"),
    "mode of a link": ([entry("l", kind=tarfile.SYMTYPE, link="/etc/passwd", mode=0o777)], "fine"),
    "name too long": ([entry("x" * 300, b"x")], "error"),
    "path too long": ([entry("d/" * 3000 + "x", b"x")], "error"),
    "size beyond the end": ([huge("x")], "error"),
    "negative size": ([entry("x", pax_headers={"size": "-1"})], "any"),
    "path by PAX": ([entry("x", b"x", pax_headers={"path": f"../../../../../../tmp/{EVIL}"})], "error"),
    "link by PAX": ([entry("x", kind=tarfile.LNKTYPE, link="y", pax_headers={"linkpath": "../../../../../etc/passwd"})], "error"),
    "attributes": ([entry("x", b"x", pax_headers={"SCHILY.xattr.trusted.overlay.redirect": "/etc",
                                                  "SCHILY.xattr.security.capability": "x"})], "any"),
    "metacopy": ([entry("x", b"", pax_headers={"SCHILY.xattr.trusted.overlay.metacopy": "",
                                               "SCHILY.xattr.trusted.overlay.redirect": "/../../../etc/shadow"})], "any"),
    "whiteout device": ([device("etc", 0, 0)], "any"),
}
PLAIN = tar(entry("hello", b"hello"))
WHOLE = image(PLAIN)
OCI = {"index.json": {"schemaVersion": 2, "manifests": [{"mediaType": "application/vnd.oci.image.manifest.v1+json", "size": 2,
                                                         "digest": "sha256:" + "0" * 64}]},
       "oci-layout": {"imageLayoutVersion": "1.0.0"}}


def oci(**changes):
    documents = {**OCI, **{name.replace("_", "."): value for name, value in changes.items()}}
    return tar(*(entry(name, json.dumps(value).encode()) for name, value in documents.items()))


ARCHIVES = {
    "empty": b"",
    "zeros": b"\0" * 10240,
    "no tar": b"this is no archive\n" * 100,
    "random": os.urandom(100_000),
    "gzip cut off": gzip.compress(WHOLE)[:-50],
    "gzip of nothing": gzip.compress(b""),
    "gzip of no tar": gzip.compress(b"x" * 10000),
    "gzip with a bad sum": gzip.compress(WHOLE)[:-8] + b"\0" * 8,
    "gzip header alone": b"\x1f\x8b\x08\0",
    "zstd header alone": b"\x28\xb5\x2f\xfd",
    "xz header alone": b"\xfd7zXZ\0",
    "tar cut off": WHOLE[:1500],
    "bad checksum": WHOLE[:148] + b"0000000" + WHOLE[155:],
    "no manifest": tar(entry("layer.tar", PLAIN)),
    "manifest no JSON": image(PLAIN, manifest=b"{"),
    "manifest an object": image(PLAIN, manifest={}),
    "manifest empty": image(PLAIN, manifest=[]),
    "manifest of numbers": image(PLAIN, manifest=[1]),
    "manifest without a config": image(PLAIN, manifest=[{"RepoTags": ["evil:latest"], "Layers": ["layer.tar"]}]),
    "config missing": image(PLAIN, manifest=[{"Config": "nosuch.json", "Layers": ["layer.tar"]}]),
    "config upwards": image(PLAIN, manifest=[{"Config": "../../../../etc/passwd", "Layers": ["layer.tar"]}]),
    "config absolute": image(PLAIN, manifest=[{"Config": "/etc/passwd", "Layers": ["layer.tar"]}]),
    "config a link": image(PLAIN, manifest=[{"Config": "l", "Layers": ["layer.tar"]}], extra=[link("l", "/etc/passwd")]),
    "config no JSON": image(PLAIN, config=b"{"),
    "config an array": image(PLAIN, config=[]),
    "config of a wrong type": image(PLAIN, config={"rootfs": "x", "os": 5}),
    "config deep": image(PLAIN, config=b'{"a":' * 100000),
    "no diff IDs": image(PLAIN, config={"os": "linux", "architecture": "amd64", "rootfs": {"type": "layers", "diff_ids": []}}),
    "wrong diff ID": image(PLAIN, diff_id="0" * 64),
    "diff ID upwards": image(PLAIN, diff_id="../../../../../etc"),
    "layer missing": image(PLAIN, layer_name="nosuch.tar"),
    "layer upwards": image(PLAIN, layer_name="../../../../etc/passwd"),
    "layer a link": image(PLAIN, layer_name="l", extra=[link("l", "/etc/passwd")]),
    "layer a link to itself": image(PLAIN, layer_name="l", extra=[link("l", "l")]),
    "layer a device": image(PLAIN, layer_name="d", extra=[device("d", 8, 0, tarfile.BLKTYPE)]),
    "layer no tar": image(b"x" * 5000),
    "layer no string": image(PLAIN, manifest=[{"Config": "config.json", "Layers": [1]}]),
    "tag in capitals": image(PLAIN, tags=("EVIL:latest",)),
    "tag upwards": image(PLAIN, tags=("../../evil",)),
    "tag no string": image(PLAIN, tags=(5,)),
    "members upwards": tar(entry(f"../../../../tmp/{EVIL}", b"x"), entry("manifest.json", b"[]")),
    "index of a blob missing": oci(),
    "index digest upwards": oci(index_json={"schemaVersion": 2, "manifests": [{"digest": "sha256:../../../../etc/passwd", "size": 1}]}),
    "index digest unknown": oci(index_json={"schemaVersion": 2, "manifests": [{"digest": "md5:00", "size": 1}]}),
    "index empty": oci(index_json={"schemaVersion": 2, "manifests": []}),
    "blob that is another": oci(**{"blobs/sha256/" + "0" * 64: {}}),
}

# Harmless, and taken by dockerd, too (it was asked): nothing is loaded, or all of what is behind the bad sum is whole.
ANY = ("manifest empty", "members upwards", "gzip with a bad sum")


def snapshot():
    """Everything about the watched files that a change would change, but for what the test does itself."""
    found = {}
    for root in WATCHED:
        for directory, names, files in os.walk(root):
            names[:] = [name for name in names if not (name == "__pycache__" or directory == "/dev")]
            for name in (*files, *names):
                path = os.path.join(directory, name)
                try:
                    status = os.lstat(path)
                except FileNotFoundError:
                    continue
                times = () if os.path.isdir(path) or directory == "/dev" else (status.st_mtime_ns, status.st_size)
                found[path] = (status.st_mode, status.st_uid, status.st_gid, status.st_nlink, *times)
    return found


def send(target, data):
    """The lines of the answer, and the error in them, if any."""
    answer = hosted.Answer(hosted.send_raw(hosted.BERTH, build("POST", target, data, ("Content-Type: application/x-tar",)), 30))
    values = [json.loads(line) for line in answer.body.splitlines() if line.strip()] if answer.body else []
    errors = [value["error"] if "error" in value else value["message"] for value in values if "error" in value or "message" in value]
    return answer.status, values, errors[-1] if errors else None


class Archives(unittest.TestCase):
    maxDiff = 3000

    @classmethod
    def setUpClass(cls):
        hosted.load_images()

    def setUp(self):
        self.assertEqual(hosted.call("GET", "/_ping").status, 200)
        hosted.wait_until(hosted.store_rests, 10, "a store at rest")
        self.pid, self.before, self.images = hosted.daemon_pid(), snapshot(), self.list_images()

    def list_images(self):
        return {entry["Id"]: entry["RepoTags"] for entry in hosted.call("GET", "/images/json?all=1").json()}

    def check_after(self):
        self.assertEqual(hosted.daemon_pid(), self.pid, "the daemon is another one now")
        hosted.wait_until(hosted.store_rests, 10, "a store at rest")
        self.assertEqual(self.list_images(), self.images)
        self.assertFalse(os.path.lexists(f"/tmp/{EVIL}"))

    def tearDown(self):
        after = snapshot()
        changed = {path for path in self.before.keys() | after.keys() if self.before.get(path) != after.get(path)}
        self.assertEqual({path for path in changed if path != "/var/lib/berth/image/references.json"}, set())

    def check_error(self, error):
        self.assertIsNotNone(error, "no error")
        self.assertNotIn("ended early", error, "the worker crashed")
        self.assertNotIn("berth/staging", error)
        self.assertGreater(len(error), 9, error)

    def remove_loaded(self):
        for name in self.list_images():
            if name not in self.images:
                self.assertEqual(hosted.call("DELETE", f"/images/{name}?force=1").status, 200)

    def one(self, target, data, wanted):
        status, _, error = send(target, data)
        self.assertIn(status, (200, 400, 500))
        if wanted == "error":
            self.check_error(error)
        elif wanted == "fine":
            self.assertIsNone(error)
        if error is not None:
            self.check_error(error)
        self.remove_loaded()
        self.check_after()

    def test_layers_loaded(self):
        for name, (entries, wanted) in LAYERS.items():
            with self.subTest(name):
                self.one("/images/load", image(tar(*entries)), wanted)

    def test_layers_imported(self):
        for name, (entries, wanted) in LAYERS.items():
            with self.subTest(name):
                self.one("/images/create?fromSrc=-&repo=evil", tar(*entries), wanted)

    def test_archives(self):
        for name, data in ARCHIVES.items():
            with self.subTest(name):
                self.one("/images/load", data, "any" if name in ANY else "error")

    def test_imports(self):
        for name in ("no tar", "random", "gzip cut off", "gzip of no tar", "gzip with a bad sum", "gzip header alone",
                     "zstd header alone", "tar cut off", "bad checksum"):
            with self.subTest(name):
                self.one("/images/create?fromSrc=-&repo=evil", ARCHIVES[name], "any" if name in ANY else "error")

    def test_whole_one_is_taken(self):
        """The archive that the others are spoiled forms of is good."""
        self.assertIsNone(send("/images/load", WHOLE)[2])
        self.remove_loaded()
        self.check_after()

    def test_a_layer_cannot_lead_a_container_out(self):
        """What was taken for a layer is, at most, a link inside of it."""
        for name in ("through a symbolic link", "metacopy", "attributes", "the root as a link", "whiteout device"):
            with self.subTest(name):
                data = image(PLAIN, extra=()) if name not in LAYERS else image(tar(entry("hello", b"x"), *LAYERS[name][0]))
                if send("/images/load", data)[2] is None:
                    run("docker", "run", "--rm", "--network", "none", "-v", "/root:/host:ro", "evil:latest", "/hello", status=None)
                    run("docker", "create", "--name", "evil", "evil:latest", status=None)
                    run("docker", "rm", "-f", "evil", status=None)
                self.remove_loaded()
                self.check_after()


if __name__ == "__main__":
    unittest.main()
