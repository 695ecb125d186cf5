#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Writes the layers of the image "layers:latest", which has in it what is hard about layers.

Usage: make-layers.py DIRECTORY

Makes 1.tar to go over busybox, and 2.tar and 3.tar to go over that. EXPECTED below is what must be seen in the end; it is
written to the image too, as /expected.
"""

import io
import sys
import tarfile

TIME = 1735689600

EXPECTED = """\
/data/kept is a file that says: kept
/data/changed says: second
/data/removed does not exist
/data/hard-a and /data/hard-b are one file of two links that says: shared
/data/hard-c and /data/hard-d, of layer 3, are one file of two links that says: third
/opaque holds only: new
/gone does not exist
/returned holds only: again
/typed is a directory, and was a file
/untyped is a file, and was a directory
/link leads to data/kept
/bin/setuid has mode 4755, /bin/setgid has mode 2755, /sticky has mode 1777
/owned belongs to 1234:5678
/attributes has user.berth=value, /capable has the capability cap_net_raw=ep
/fifo is a FIFO, /null is the device 1:3
/time is of 2001-02-03 04:05:06.789 UTC
/data/<a name of 200 letters n> says: long
/data/\u00fc\u00f1\u00ed says: unicode
"""


class Layer:
    def __init__(self, path):
        self.archive = tarfile.open(path, "w", format=tarfile.PAX_FORMAT)

    def add(self, name, kind=tarfile.REGTYPE, content="", mode=None, **fields):
        header = tarfile.TarInfo(name)
        header.type = kind
        header.mode = mode if mode is not None else (0o755 if kind == tarfile.DIRTYPE else 0o644)
        header.mtime = TIME
        for field, value in fields.items():
            setattr(header, field, value)
        data = content.encode()
        if kind == tarfile.REGTYPE:
            header.size = len(data)
        self.archive.addfile(header, io.BytesIO(data) if header.size else None)

    def directory(self, name, **fields):
        self.add(name, tarfile.DIRTYPE, **fields)

    def whiteout(self, name):
        head, _, tail = name.rpartition("/")
        self.add(f"{head}/.wh.{tail}" if head else f".wh.{tail}")

    def opaque(self, name):
        self.directory(name)
        self.add(f"{name}/.wh..wh..opq")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.archive.close()


def first(layer):
    layer.directory("data")
    layer.add("data/kept", content="kept\n")
    layer.add("data/changed", content="first\n")
    layer.add("data/removed", content="removed\n")
    layer.add("data/hard-a", content="shared\n")
    layer.add("data/hard-b", tarfile.LNKTYPE, linkname="data/hard-a")
    layer.add("data/" + "n" * 200, content="long\n")
    layer.add("data/\u00fc\u00f1\u00ed", content="unicode\n")
    for name in ("opaque", "gone", "returned"):
        layer.directory(name)
        layer.add(f"{name}/old", content="old\n")
        layer.directory(f"{name}/deep")
        layer.add(f"{name}/deep/old", content="old\n")
    layer.add("typed", content="was a file\n")
    layer.directory("untyped")
    layer.add("untyped/old", content="old\n")
    layer.add("link", tarfile.SYMTYPE, linkname="data/kept")


def second(layer):
    layer.directory("data")
    layer.add("data/changed", content="second\n")
    layer.whiteout("data/removed")
    layer.opaque("opaque")
    layer.add("opaque/new", content="new\n")
    layer.whiteout("gone")
    layer.whiteout("returned")
    layer.directory("typed")
    layer.add("untyped", content="is a file\n")
    layer.add("bin/setuid", content="#!/bin/sh\nid -u\n", mode=0o4755)
    layer.add("bin/setgid", content="#!/bin/sh\nid -g\n", mode=0o2755)
    layer.directory("sticky", mode=0o1777)
    layer.add("owned", content="owned\n", uid=1234, gid=5678)


def third(layer):
    layer.directory("returned")
    layer.add("returned/again", content="again\n")
    layer.add("data/hard-c", content="third\n")
    layer.add("data/hard-d", tarfile.LNKTYPE, linkname="data/hard-c")
    layer.add("attributes", content="x\n", pax_headers={"SCHILY.xattr.user.berth": "value"})
    # Version 2 of the kernel's structure, effective bit set, permitted: CAP_NET_RAW (13).
    capability = bytes.fromhex("0100000200200000000000000000000000000000").decode("latin-1")
    layer.add("capable", content="x\n", mode=0o755, pax_headers={"SCHILY.xattr.security.capability": capability})
    layer.add("fifo", tarfile.FIFOTYPE)
    layer.add("null", tarfile.CHRTYPE, mode=0o666, devmajor=1, devminor=3)
    layer.add("time", content="x\n", mtime=981173106.789)
    layer.add("expected", content=EXPECTED)


def main():
    for number, fill in enumerate((first, second, third), 1):
        with Layer(f"{sys.argv[1]}/{number}.tar") as layer:
            fill(layer)


if __name__ == "__main__":
    main()
