#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Writes a docker-archive (what "docker load" reads) or an OCI archive from layer tars.

Usage: make-image.py [OPTION]... OUTPUT LAYER.tar...

Independent of Berth's own code on purpose: tests hold Berth's reading against it. The layers go in byte for byte. The
same input gives the same file, so that image IDs stay the same from run to run.
"""

import argparse
import hashlib
import io
import json
import os
import platform
import tarfile

CREATED = "2025-01-01T00:00:00Z"
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "riscv64": "riscv64", "i686": "386"}


def sha256_of(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def image_config(arguments, diff_ids):
    container = {"Env": arguments.env, "Cmd": arguments.cmd}
    if arguments.entrypoint:
        container["Entrypoint"] = arguments.entrypoint
    if arguments.label:
        container["Labels"] = dict(label.split("=", 1) for label in arguments.label)
    if arguments.workdir:
        container["WorkingDir"] = arguments.workdir
    if arguments.user:
        container["User"] = arguments.user
    return {
        "architecture": ARCHITECTURES[platform.machine()],
        "os": "linux",
        "created": CREATED,
        "config": container,
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{diff_id}" for diff_id in diff_ids]},
        "history": [{"created": CREATED, "created_by": f"layer {number}"} for number in range(1, len(diff_ids) + 1)],
    }


def add_bytes(archive, name, content):
    header = tarfile.TarInfo(name)
    header.size = len(content)
    archive.addfile(header, io.BytesIO(content))


def add_file(archive, name, path):
    header = tarfile.TarInfo(name)
    header.size = os.path.getsize(path)
    with open(path, "rb") as content:
        archive.addfile(header, content)


def to_json(value):
    return json.dumps(value, separators=(",", ":")).encode()


def write_docker(archive, arguments, config, diff_ids):
    config_name = hashlib.sha256(config).hexdigest() + ".json"
    layer_names = [f"{diff_id}/layer.tar" for diff_id in diff_ids]
    for path, name in zip(arguments.layers, layer_names):
        add_file(archive, name, path)
    add_bytes(archive, config_name, config)
    manifest = [{"Config": config_name, "RepoTags": arguments.tag, "Layers": layer_names}]
    add_bytes(archive, "manifest.json", to_json(manifest))


def descriptor(kind, digest, size, **fields):
    return {"mediaType": f"application/vnd.oci.image.{kind}", "digest": f"sha256:{digest}", "size": size, **fields}


def add_blob(archive, kind, content, **fields):
    digest = hashlib.sha256(content).hexdigest()
    add_bytes(archive, f"blobs/sha256/{digest}", content)
    return descriptor(kind, digest, len(content), **fields)


def write_oci(archive, arguments, config, diff_ids):
    layers = []
    for path, diff_id in zip(arguments.layers, diff_ids):
        add_file(archive, f"blobs/sha256/{diff_id}", path)
        layers.append(descriptor("layer.v1.tar", diff_id, os.path.getsize(path)))
    manifest = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "config": add_blob(archive, "config.v1+json", config), "layers": layers}
    entries = [add_blob(archive, "manifest.v1+json", to_json(manifest),
                        annotations={"org.opencontainers.image.ref.name": tag}) for tag in arguments.tag]
    add_bytes(archive, "oci-layout", to_json({"imageLayoutVersion": "1.0.0"}))
    add_bytes(archive, "index.json", to_json({"schemaVersion": 2, "manifests": entries}))


def write_archive(arguments):
    diff_ids = [sha256_of(layer) for layer in arguments.layers]
    config = to_json(image_config(arguments, diff_ids))
    with tarfile.open(arguments.output, "w", format=tarfile.GNU_FORMAT) as archive:
        write = write_oci if arguments.oci else write_docker
        write(archive, arguments, config, diff_ids)


def main():
    parser = argparse.ArgumentParser(description="Write an image archive from layer tars.")
    parser.add_argument("--oci", action="store_true", help="an OCI archive instead of a docker-archive")
    parser.add_argument("--tag", action="append", default=[], help="NAME:TAG, may be repeated")
    parser.add_argument("--env", action="append", default=[], help="NAME=VALUE, may be repeated")
    parser.add_argument("--label", action="append", default=[], help="NAME=VALUE, may be repeated")
    parser.add_argument("--cmd", type=json.loads, default=["sh"], help="a JSON list")
    parser.add_argument("--entrypoint", type=json.loads, help="a JSON list")
    parser.add_argument("--workdir")
    parser.add_argument("--user")
    parser.add_argument("output")
    parser.add_argument("layers", nargs="+")
    write_archive(parser.parse_args())


if __name__ == "__main__":
    main()
