# SPDX-License-Identifier: LGPL-2.1-or-later
"""The rows of bench.py about images and registries. Each function gets bench.py's names as BENCH. The registry is Debian's
docker-registry, on the loopback."""
import hashlib
import io
import json
import os
import shutil
import socket
import subprocess
import tarfile
import time

LOCAL = "127.0.0.1:5000"
REGISTRY_DATA = "/var/lib/bench-registry"
ROOTS = {"docker": "/var/lib/docker", "podman": "/var/lib/containers", "berth": "/var/lib/berth"}
INSECURE = {"podman": ["--tls-verify=false"]}


class Registry:
    """Started anew, with nothing in it."""

    def __init__(self):
        shutil.rmtree(REGISTRY_DATA, ignore_errors=True)
        os.makedirs(REGISTRY_DATA)
        with open("/tmp/bench-registry.yml", "w", encoding="ascii") as out:
            json.dump({"version": 0.1, "log": {"level": "error", "accesslog": {"disabled": True}},
                       "storage": {"filesystem": {"rootdirectory": REGISTRY_DATA}}, "http": {"addr": LOCAL}}, out)
        self.process = subprocess.Popen(["docker-registry", "serve", "/tmp/bench-registry.yml"], stdin=subprocess.DEVNULL,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        host, port = LOCAL.split(":")
        end = time.monotonic() + 20
        while socket.socket().connect_ex((host, int(port))) != 0:
            if time.monotonic() > end:
                raise SystemExit("docker-registry does not start")
            time.sleep(0.05)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        shutil.rmtree(REGISTRY_DATA, ignore_errors=True)


def transfer(engine, command, name):
    return engine.time(command, *INSECURE.get(engine.name, []), name)


def remove(engine, *names):
    """What is there of them."""
    there = [name for name in names if subprocess.run(engine.argv(["image", "inspect", name]), check=False,
                                                      capture_output=True).returncode == 0]
    if there:
        engine.time("rmi", "-f", *there)


def row_pull(bench):
    name = f"{LOCAL}/debian:13"

    def measure(engine):
        remove(engine, name, "debian:13", "debian:trixie")
        return transfer(engine, "pull", name)
    with Registry():
        subprocess.run(["skopeo", "--insecure-policy", "copy", "-q", "--dest-tls-verify=false",
                        "docker-archive:/root/debian.tar:debian:13", f"docker://{name}"], check=True)
        bench.warm_up(measure)
        bench.show("pull of the Debian image, of one layer", "ms", bench.alternate(bench.SLOW, measure))
        for engine in bench.ENGINES:
            remove(engine, name)


def row_push(bench):
    name = f"{LOCAL}/pushed:1"
    again = {engine: [] for engine in bench.ENGINES}

    def measure(engine):
        # In an empty registry there is nothing to mount from; what the engine remembers is of no use.
        with Registry():
            taken = transfer(engine, "push", name)
            time.sleep(bench.SETTLE)
            again[engine].append(transfer(engine, "push", name))
        return taken
    for engine in bench.ENGINES:
        engine.time("load", "-i", "/root/debian.tar")
        engine.time("tag", "debian:13", name)
    taken = bench.alternate(bench.SLOW, measure)
    bench.show("push of it to an empty registry", "ms", taken)
    bench.show("push of it once more", "ms", {engine: bench.statistics.median(again[engine]) for engine in bench.ENGINES})
    for engine in bench.ENGINES:
        remove(engine, name)


def row_save(bench):
    def measure(engine):
        return engine.time("save", "debian:13")
    for engine in bench.ENGINES:
        engine.time("load", "-i", "/root/debian.tar")
    bench.show("save of it", "ms", bench.alternate(bench.SLOW, measure))


FILES = "mkdir /files; i=0; while [ $i -lt 2000 ]; do head -c 25000 /dev/urandom > /files/$i; i=$((i+1)); done"


def row_commit(bench):
    def measure(engine):
        taken = engine.time("commit", "to-commit", "committed")
        engine.time("rmi", "committed")
        return taken
    for engine in bench.ENGINES:
        engine.time("run", "--network", "none", "--name", "to-commit", "busybox", "sh", "-c", FILES)
    bench.show("commit of 2,000 files, 50 MB", "ms", bench.alternate(bench.SLOW, measure))


def tar_of(members):
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w") as archive:
        for name, data in members:
            header = tarfile.TarInfo(name)
            header.size = len(data)
            archive.addfile(header, io.BytesIO(data))
    return output.getvalue()


def write_images(path, images):
    """A docker-archive. IMAGES: name to the contents of its layers, each a text."""
    members, manifest = {}, []
    for name, layers in images.items():
        diff_ids, paths = [], []
        for text in layers:
            layer = tar_of([(f"file-{text}", text.encode() * 10)])
            digest = hashlib.sha256(layer).hexdigest()
            members[f"{digest}/layer.tar"] = layer
            diff_ids.append("sha256:" + digest)
            paths.append(f"{digest}/layer.tar")
        config = json.dumps({"architecture": "amd64", "os": "linux", "created": "2025-01-01T00:00:00Z",
                             "config": {"Cmd": ["true"], "Labels": {"name": name}},
                             "rootfs": {"type": "layers", "diff_ids": diff_ids}}).encode()
        members[hashlib.sha256(config).hexdigest() + ".json"] = config
        manifest.append({"Config": hashlib.sha256(config).hexdigest() + ".json", "RepoTags": [name], "Layers": paths})
    members["manifest.json"] = json.dumps(manifest).encode()
    with open(path, "wb") as out:
        out.write(tar_of(members.items()))


def wait_for_trash():
    """Berth's, which a worker empties."""
    while os.path.exists("/var/lib/berth/image/removals") or os.listdir("/var/lib/berth/staging"):
        time.sleep(0.005)


def row_layers(bench):
    """1,000 layers in ten images, as no engine stacks more than some hundred."""
    names = [f"deep{i}:1" for i in range(10)]
    write_images("/tmp/deep.tar", {name: [f"{name[:5]}-{k}" for k in range(100)] for name in names})
    loads = {engine: [] for engine in bench.ENGINES}
    emptied = []

    def measure(engine):
        loads[engine].append(engine.time("load", "-i", "/tmp/deep.tar"))
        start = time.monotonic()
        taken = engine.time("rmi", *names)
        wait_for_trash()
        emptied.append((time.monotonic() - start) * 1000)
        return taken
    taken = bench.alternate(1, measure)
    bench.show("load of ten images with 1,000 layers", "ms", {engine: loads[engine][0] for engine in bench.ENGINES})
    bench.show("rmi of them", "ms", taken)
    bench.show("until their space is free", "ms", {**taken, bench.BERTH: emptied[-1]})
    os.unlink("/tmp/deep.tar")


def row_images(bench):
    """Podman gets a hundred, which takes it as long as the others a thousand."""
    names = {engine: [f"many{i}:1" for i in range(100 if engine is bench.PODMAN else 1000)] for engine in bench.ENGINES}
    loads, removals = {}, {}

    def measure(engine):
        return engine.time("images")
    for engine in bench.ENGINES:
        write_images("/tmp/many.tar", {name: ["shared"] for name in names[engine]})
        loads[engine] = engine.time("load", "-i", "/tmp/many.tar")
    listed = bench.alternate(bench.SLOW, measure)
    for engine in bench.ENGINES:
        removals[engine] = engine.time("rmi", *names[engine])
    bench.show("load of 1,000 images (podman: 100)", "ms", loads)
    bench.show("images, with 1,000 images (podman: 100)", "ms", listed)
    bench.show("rmi of the 1,000 names (podman: 100)", "ms", removals)
    os.unlink("/tmp/many.tar")


def first_answers(bench, with_what, commands):
    for command in commands:
        values = []
        for _ in range(max(bench.SLOW, bench.N // 3)):
            subprocess.run(["systemctl", "stop", "berth.service"], check=True, capture_output=True)
            time.sleep(bench.SETTLE)
            values.append(bench.BERTH.time(*command))
        bench.show(f"first answer with {with_what}: {' '.join(command)}", "ms", {bench.BERTH: bench.statistics.median(values)})


def row_activation(bench):
    """Of Berth alone; the others' daemons are running."""
    names = [f"big{i}:1" for i in range(100)]
    write_images("/tmp/big.tar", {name: [f"{name}-{k}" for k in range(100)] for name in names})
    bench.BERTH.time("load", "-i", "/tmp/big.tar")
    os.unlink("/tmp/big.tar")
    first_answers(bench, "10,000 layers", (["version"], ["ps"], ["images"]))
    layers = len(os.listdir("/var/lib/berth/layer"))
    bench.BERTH.time("rmi", *names)
    print(f"({layers} layers were there)", flush=True)
    containers = [f"stopped-{i}" for i in range(1000)]
    for name in containers:
        bench.BERTH.time("create", "--name", name, "busybox", "true")
    first_answers(bench, "1,000 containers", (["version"], ["ps"], ["ps", "-a"]))
    bench.BERTH.time("rm", *containers)


def disk_used(path):
    """Bytes, after all is written. Logs may come and go meanwhile."""
    subprocess.run(["sync", "-f", path], check=True)
    return int(subprocess.run(["du", "-s", "--block-size=1", path], check=False, capture_output=True).stdout.split()[0])


def row_disk(bench):
    """What the Debian image takes, as a part of what its files take unpacked."""
    unpacked = "/var/tmp/bench-unpacked"
    os.makedirs(unpacked)
    manifest = json.loads(subprocess.run(["tar", "-xOf", "/root/debian.tar", "manifest.json"], check=True, capture_output=True).stdout)
    for layer in manifest[0]["Layers"]:
        data = subprocess.run(["tar", "-xOf", "/root/debian.tar", layer], check=True, capture_output=True).stdout
        subprocess.run(["tar", "-xf", "-", "-C", unpacked], input=data, check=True)
    plain, values = disk_used(unpacked), {}
    shutil.rmtree(unpacked)
    for engine in bench.ENGINES:
        remove(engine, "debian:13", "debian:trixie")
        time.sleep(1)
        wait_for_trash()
        before = disk_used(ROOTS[engine.name])
        engine.time("load", "-i", "/root/debian.tar")
        values[engine] = (disk_used(ROOTS[engine.name]) - before) / plain
    bench.show("disk that it takes, of its files unpacked", "", values, ratio=False)


ROWS = {"pull": row_pull, "push": row_push, "save": row_save, "commit": row_commit, "layers": row_layers, "images": row_images,
        "activation": row_activation, "disk": row_disk}
