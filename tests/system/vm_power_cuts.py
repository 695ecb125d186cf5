#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a power cut interrupts: pulls, loads, commits, removals and prunes, in a QEMU machine whose store is on a disk of its
own (power_cuts.sh, which records every write to it). Before and after each operation a note of what the store has by then is
written behind the file system, straight to the disk, so that the record itself tells what was going on at each moment.

usage: vm_power_cuts.py    BERTH_ROUNDS in power_cuts.json beside it: how many rounds there are before the power may go"""
import gzip
import hashlib
import http.server
import io
import json
import mmap
import os
import random
import subprocess
import tarfile
import threading
import time

DISK = "/dev/disk/by-id/virtio-data"
NOTE_AT, NOTE_SIZE = 248 << 20, 16384  # the file system ends at 240 MiB
HERE = os.path.dirname(os.path.abspath(__file__))
REGISTRY = "127.0.0.1:5000"
BERTH = "/var/lib/berth"


def run(*command, status=0):
    result = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=300, check=False)
    if status is not None and result.returncode != status:
        raise SystemExit(f"{command}: exit {result.returncode}, {result.stdout!r} {result.stderr!r}")
    return result.stdout.decode()


def make_layer(seed, files=60, large=200000):
    """The tar of a layer: small files in directories, and a large one."""
    dice = random.Random(seed)
    members = [(f"data-{seed}/{i % 7}/file-{i}", dice.randbytes(dice.randrange(3000))) for i in range(files)]
    members.append((f"large-{seed}", dice.randbytes(large)))
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w") as archive:
        for name, data in members:
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return output.getvalue()


def digest_of(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def make_config(name, layers):
    return json.dumps({"architecture": "amd64", "os": "linux", "config": {"Cmd": ["true"], "Labels": {"name": name}},
                       "rootfs": {"type": "layers", "diff_ids": [digest_of(layer) for layer in layers]}}).encode()


def write_archive(path, images):
    """As docker save did for long. IMAGES: name to layers."""
    members, manifest = {}, []
    for name, layers in images.items():
        config = make_config(name, layers)
        paths = [digest_of(layer)[7:] + "/layer.tar" for layer in layers]
        members |= dict(zip(paths, layers)) | {digest_of(config)[7:] + ".json": config}
        manifest.append({"Config": digest_of(config)[7:] + ".json", "RepoTags": [name], "Layers": paths})
    members["manifest.json"] = json.dumps(manifest).encode()
    with tarfile.open(path, mode="w") as archive:
        for name, data in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))


class Registry(http.server.BaseHTTPRequestHandler):
    """As much of one as a pull asks for. DOCUMENTS: path to (type, bytes)."""
    protocol_version = "HTTP/1.1"
    documents = {"/v2/": ("application/json", b"{}")}

    def do_GET(self):
        kind, data = self.documents.get(self.path, ("text/plain", None))
        self.send_response(404 if data is None else 200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data or b"")))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data or b"")

    do_HEAD = do_GET

    def log_message(self, *_):
        pass

    @classmethod
    def add(cls, repository, tag, layers):
        prefix, config = f"/v2/{repository}", make_config(f"{repository}:{tag}", layers)
        blobs = [gzip.compress(layer, 1, mtime=0) for layer in layers]
        value = {"schemaVersion": 2, "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
                 "config": {"mediaType": "application/vnd.docker.container.image.v1+json", "size": len(config),
                            "digest": digest_of(config)},
                 "layers": [{"mediaType": "application/vnd.docker.image.rootfs.diff.tar.gzip", "size": len(blob),
                             "digest": digest_of(blob)} for blob in blobs]}
        manifest = json.dumps(value).encode()
        for data in [config, *blobs]:
            cls.documents[f"{prefix}/blobs/{digest_of(data)}"] = ("application/octet-stream", data)
        for name in (tag, digest_of(manifest)):
            cls.documents[f"{prefix}/manifests/{name}"] = (value["mediaType"], manifest)
        names = json.loads(cls.documents.get(f"{prefix}/tags/list", ("", '{"tags": []}'))[1])["tags"]
        cls.documents[f"{prefix}/tags/list"] = ("application/json", json.dumps({"name": repository, "tags": names + [tag]}).encode())


class Notes:
    """Written past all caches: what is noted was written after what it tells of, and what comes later after it."""

    def __init__(self):
        self.fd = os.open(DISK, os.O_WRONLY | os.O_DIRECT)
        self.block = mmap.mmap(-1, NOTE_SIZE)

    def write(self, **note):
        text = json.dumps(note).encode()
        self.block[:] = text.ljust(NOTE_SIZE, b"\n")
        os.pwrite(self.fd, self.block, NOTE_AT)


def listing():
    """Every name and every ID, as a client sees them."""
    lines = run("berth", "images", "-a", "--no-trunc", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}").splitlines()
    pairs = [line.split() for line in lines]
    return {"Names": {name: image for name, image in pairs if "<none>" not in name}, "Images": sorted({image for _, image in pairs})}


def prepare():
    run("mount", DISK, BERTH)
    run("systemd-sysusers")
    run("systemd-tmpfiles", "--create", "berth.conf")
    run("systemctl", "daemon-reload")
    run("systemctl", "enable", "--now", "berth.socket")
    shared = [make_layer(seed) for seed in (1, 2)]
    for tag in (1, 2, 3):
        Registry.add("pulled", str(tag), shared + [make_layer(10 + tag)])
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 5000), Registry)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    write_archive("/root/loaded.tar", {f"loaded:{i}": shared[:1] + [make_layer(20 + i), make_layer(30 + i)] for i in (1, 2, 3)})
    run("berth", "load", "-q", "-i", f"{HERE}/busybox.tar")
    noise = "dd if=/dev/urandom of=/noise bs=1024 count=400; i=0; while [ $i -lt 80 ]; do echo $i >/$i; i=$((i+1)); done"
    run("berth", "run", "--network", "none", "--name", "noise", "busybox", "sh", "-c", noise)


PULL = ["berth", "pull", "-q", "-a", f"{REGISTRY}/pulled"]
LOAD = ["berth", "load", "-q", "-i", "/root/loaded.tar"]
PRUNE = ["berth", "image", "prune", "-af"]


def operations(number):
    """A round: what is done, and what at the same time."""
    commit = ["berth", "commit", "noise", f"committed:{number % 2}"]
    removal = ["berth", "rmi", "-f", "loaded:1", "loaded:3", f"{REGISTRY}/pulled:2", f"{REGISTRY}/pulled:3"]
    yield "pull", [PULL]
    yield "load", [LOAD]
    yield "commit", [commit]
    yield "rmi", [removal]
    yield "load", [LOAD]
    yield "commit", [commit]
    yield "prune", [PRUNE]
    yield "together", [PULL, LOAD, commit]
    yield "rmi", [removal]
    yield "pull", [PULL]
    yield "prune", [PRUNE]


def main():
    with open(f"{HERE}/power_cuts.json", encoding="ascii") as file:
        rounds = json.load(file)["Rounds"]
    prepare()
    run("sync")
    notes, before, number, step = Notes(), listing(), 0, 0
    while True:
        for what, commands in operations(number):
            step += 1
            notes.write(Step=step, What=what, Before=before)
            jobs = [subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL) for command in commands]
            states = [job.wait() for job in jobs]
            while os.path.exists(f"{BERTH}/image/removals"):
                time.sleep(0.1)  # a removal is for good a moment after it was told
            before = listing()
            notes.write(Step=step, What=what, After=before)
            print(f"{step} {what}: {states}, {len(before['Images'])} images", flush=True)
            if any(states):
                raise SystemExit(f"{what} failed")
            # In every other round the kernel gets to write by itself what nobody asked it to.
            time.sleep(number % 2)
        number += 1
        if number == rounds:
            threading.Timer(random.uniform(0, 8), print, ["THE POWER MAY GO"], {"flush": True}).start()


if __name__ == "__main__":
    main()
