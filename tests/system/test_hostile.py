#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Hostile archives by the table: every kind of entry with every kind of name, every way of leading a layer out of itself
through every kind of link, sizes, PAX records, compressions without end, and archives cut off everywhere. With those of
test_archives.py, and by the same measure: nothing outside changes, the error is clear, nothing half-done is left. Every
second one, unless BERTH_HOSTILE is "all"."""
import bz2
import gzip
import io
import itertools
import lzma
import os
import tarfile
import unittest

from test_archives import EVIL, PLAIN, WHOLE, Archives, device, entry, hard, image, link, tar

# Names that lead out, if anybody follows them.
NAMES = {"upwards": f"../../../../../../../tmp/{EVIL}", "absolute": f"/tmp/{EVIL}", "mixed": f"a/./../..//../../../../tmp/{EVIL}",
         "of the store": f"../../../layer/{EVIL}", "of a process": f"/proc/self/root/tmp/{EVIL}", "dots": "..", "root": "/",
         "empty": "", "whiteout upwards": f"../../../../../../tmp/.wh.{EVIL}", "whiteout of dots": "a/.wh...",
         "opaque upwards": "../../../../../../tmp/.wh..wh..opq"}
# Every kind of entry under such a name.
KINDS = {"file": lambda name: entry(name, b"x"), "directory": lambda name: entry(name, kind=tarfile.DIRTYPE, mode=0o777),
         "link": lambda name: link(name, "/etc/passwd"), "hard link": lambda name: hard(name, "/etc/passwd"),
         "fifo": lambda name: entry(name, kind=tarfile.FIFOTYPE), "device": lambda name: device(name, 1, 1),
         "disk": lambda name: device(name, 8, 0, tarfile.BLKTYPE), "contiguous": lambda name: entry(name, b"x", b"7")}
# Ways out of the tree, made by earlier entries, to a directory "out"...
WAYS = {"straight": [link("out", "/tmp")], "relative": [link("out", "../" * 12 + "tmp")],
        "by steps": [link("s1", ".."), link("s2", "s1/.."), link("s3", "s2/../../../../.."), link("out", "s3/tmp")],
        "chained": [link("c1", "/"), link("out", "c1/tmp")], "by process": [link("out", "/proc/1/root/tmp")],
        "in place of a directory": [entry("out", kind=tarfile.DIRTYPE, mode=0o755), link("out", "/tmp")],
        "of links to links": [*(link(f"l{i}", f"l{i + 1}") for i in range(45)), link("l45", "/tmp"), link("out", "l0")],
        "by hard link": [link("h", "/tmp"), hard("out", "h")], "under a whiteout": [entry(".wh.out"), link("out", "/tmp")]}
# ... and what is done there.
DEEDS = {"file": [entry(f"out/{EVIL}", b"x")], "deep file": [entry(f"out/{EVIL}/a/b", b"x")],
         "directory": [entry(f"out/{EVIL}", kind=tarfile.DIRTYPE)], "hard link in": [hard("l", "out/../etc/passwd"), entry("l", b"x")],
         "whiteout": [entry("out/.wh.host")], "opaque": [entry("out/.wh..wh..opq")], "mode": [entry("out/.", kind=tarfile.DIRTYPE, mode=0)],
         "replaced": [entry("out", kind=tarfile.DIRTYPE, mode=0o777), entry(f"out/{EVIL}", b"x")]}


def sized(size, raw=None):
    header, _ = entry("x")
    data = bytearray(header.tobuf(tarfile.GNU_FORMAT))
    data[124:136] = raw if raw is not None else b"\x80" + size.to_bytes(11, "big")
    return sealed(data)


def sealed(data):
    """A header with the sum that it has to have, and an end."""
    data[148:156] = b" " * 8
    data[148:156] = b"%06o\0 " % sum(data)
    return bytes(data) + b"\0" * 10240


def field(at, value):
    data = bytearray(entry("x")[0].tobuf(tarfile.GNU_FORMAT))
    data[at:at + len(value)] = value
    return sealed(data)


def pax(text, more=b"", kind=b"x"):
    header = tarfile.TarInfo("PaxHeader/x")
    header.type, header.size = kind, len(text)
    return header.tobuf(tarfile.GNU_FORMAT) + text + b"\0" * (-len(text) % 512) + tar(entry("x", more or b"x"))


def record(key, value):
    rest = b" " + key + b"=" + value + b"\n"
    size = len(rest)
    while size < len(str(size)) + len(rest):
        size += 1
    return str(size).encode() + rest


def zeros(size, write):
    """So many zeros, compressed: an archive that says nothing and takes for ever."""
    output = io.BytesIO()
    with write(output) as file:
        for _ in range(size >> 20):
            file.write(bytes(1 << 20))
    return output.getvalue()


RAW = {"size 2^95": sized((1 << 88) - 1), "size 2^63": sized(1 << 63), "size 2^62": sized(1 << 62), "size negative": sized(0, b"\xff" * 12),
       "size no number": sized(0, b"hello, world"), "size blank": sized(0, b" " * 12), "mode no number": field(100, b"zzzzzzz\0"),
       "owner beyond": field(108, b"\x80" + b"\x7f" * 7), "time beyond": field(136, b"\x80" + b"\x7f" * 11),
       "device beyond": field(329, b"\x80" + b"\xff" * 7), "kind unknown": field(156, b"Z"), "kind of sparse": field(156, b"S"),
       "long name without end": field(156, b"L"), "long link without end": field(156, b"K"), "no magic": field(257, b"\0" * 8),
       "volume": field(156, b"V"), "multi-volume": field(156, b"M"), "name without end": field(0, b"n" * 100),
       "pax too short": pax(b"5 a=b\n"), "pax length 0": pax(b"0 a=b\n"), "pax length no number": pax(b"x a=b\n"),
       "pax length beyond": pax(b"999999 path=a\n"), "pax length huge": pax(b"99999999999999999999999 path=a\n"),
       "pax without newline": pax(b"10 path=abc"), "pax without =": pax(b"8 pathx\n"), "pax empty name": pax(record(b"path", b"")),
       "pax nul in name": pax(record(b"path", b"a\0b")), "pax size huge": pax(record(b"size", b"9" * 30)),
       "pax size negative": pax(record(b"size", b"-1")), "pax time no number": pax(record(b"mtime", b"soon")),
       "pax owner huge": pax(record(b"uid", b"9" * 20)), "pax name long": pax(record(b"path", b"d/" * 40000 + b"x")),
       "pax link upwards": pax(record(b"linkpath", b"../../../etc/passwd")), "pax global": pax(record(b"path", b"/tmp/" + EVIL.encode()), kind=b"g"),
       "pax bomb": pax(b"".join(record(b"SCHILY.xattr.user.%d" % i, b"v" * 60000) for i in range(300))),
       "pax of many": pax(b"".join(record(b"k%d" % i, b"v") for i in range(100000))),
       "pax attribute large": pax(record(b"SCHILY.xattr.user.x", b"v" * 3000000)),
       "pax attribute of the overlay": pax(record(b"SCHILY.xattr.trusted.overlay.opaque", b"y")),
       "pax attribute without name": pax(record(b"SCHILY.xattr.", b"y")),
       "pax sparse far": pax(record(b"GNU.sparse.major", b"1") + record(b"GNU.sparse.minor", b"0") + record(b"GNU.sparse.realsize", b"1" + b"0" * 18)
                             + record(b"GNU.sparse.name", b"s"), b"1\n999999999999999999\n1\n"),
       "pax sparse crossed": pax(record(b"GNU.sparse.major", b"1") + record(b"GNU.sparse.minor", b"0") + record(b"GNU.sparse.realsize", b"100")
                                 + record(b"GNU.sparse.name", b"s"), b"2\n50\n10\n5\n10\n"),
       "pax sparse of many": pax(record(b"GNU.sparse.major", b"1") + record(b"GNU.sparse.minor", b"0") + record(b"GNU.sparse.realsize", b"9")
                                 + record(b"GNU.sparse.name", b"s"), b"99999999999\n")}
MANY = {"duplicates": tar(*(entry("same", bytes([65 + i % 26])) for i in range(3000))),
        "kinds in turn": tar(*(make("same") for make in list(KINDS.values()) * 20)),
        "deep": tar(*(entry("/".join("d" * i), kind=tarfile.DIRTYPE) for i in range(1, 1500, 50))),
        "links to itself": tar(link("a", "a"), entry("a/b", b"x")), "links in a ring": tar(link("a", "b"), link("b", "a"), entry("a/x", b"x")),
        "hard links in a row": tar(entry("f", b"x"), *(hard(f"h{i}", "f") for i in range(3000))),
        "hard link to a directory": tar(entry("d", kind=tarfile.DIRTYPE), hard("h", "d")),
        "hard link to a whiteout": tar(entry(".wh.w"), hard("h", "w")), "whiteout of a full directory": tar(entry("d/x", b"x"), entry(".wh.d"))}
ENDLESS = {"gzip": zeros(200 << 20, lambda out: gzip.GzipFile(fileobj=out, mode="wb", compresslevel=1)),
           "bzip2": zeros(32 << 20, lambda out: bz2.BZ2File(out, "wb", compresslevel=1)), "xz": zeros(64 << 20, lambda out: lzma.LZMAFile(out, "wb", preset=0)),
           "nested": gzip.compress(gzip.compress(gzip.compress(WHOLE))), "appended": gzip.compress(b"") * 5000 + gzip.compress(b"x")}


def table():
    """(what it is, target, archive) of each."""
    for name, path in NAMES.items():
        for kind, make in KINDS.items():
            yield f"{kind} {name}", image(tar(make(path)))
    for way, entries in WAYS.items():
        for deed, more in DEEDS.items():
            yield f"{deed} {way}", image(tar(*entries, *more))
    for name, layer in (RAW | MANY).items():
        yield name, image(layer)
    for name, data in ENDLESS.items():
        yield f"endless {name}", data
        yield f"endless layer of {name}", image(data)
    for cut in range(1, len(WHOLE) - 10240, len(WHOLE) // 40):
        yield f"cut at {cut}", WHOLE[:cut]
    packed = gzip.compress(WHOLE)
    for cut in range(1, len(packed), len(packed) // 15):
        yield f"gzip cut at {cut}", packed[:cut]
    for at in range(0, len(PLAIN), 64):
        yield f"turned at {at}", image(PLAIN[:at] + bytes([PLAIN[at] ^ 0x80]) + PLAIN[at + 1:])


class Hostile(Archives):
    """All of the table; what test_archives.py does itself is not done again."""

    def test_table(self):
        count = 0
        step = 1 if os.environ.get("BERTH_HOSTILE") == "all" else 2
        for name, data in itertools.islice(table(), None, None, step):
            count += 1
            with self.subTest(name):
                self.one("/images/load", data, "error" if "cut at" in name else "any")
        print(f"{count} archives", flush=True)
        self.assertGreaterEqual(count, 200)


del Archives
for inherited in [name for name in dir(Hostile) if name.startswith("test_") and name != "test_table"]:
    setattr(Hostile, inherited, None)

if __name__ == "__main__":
    unittest.main(verbosity=2)
