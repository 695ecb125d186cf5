#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The store after power cuts, each at a random moment of what vm_power_cuts.py did. The disk of that machine is made again
from the record of its writes, up to the moment: with all of them, as the killed emulator leaves it, or, every other time,
without some of those that were not flushed yet, as a disk with a cache of its own leaves it. Then berthd starts on it, and
has to have what a client was told it had, and nothing that belongs to nothing. The disk that a really killed emulator left is
the last one. Runs as root in a test host; see power_cuts.sh.

usage: power_cuts.py DIRECTORY    (with base.img, the disk before; record; data.img, the disk as the killed emulator left it)
BERTH_POWER_CUTS  moments (12)
BERTH_SEED        of the choice of moments (1)"""
import bisect
import json
import os
import random
import shutil
import struct
import subprocess
import sys
import time

CUTS = int(os.environ.get("BERTH_POWER_CUTS", "12"))
SEED = int(os.environ.get("BERTH_SEED", "1"))
BERTHD = "/usr/libexec/berth/berthd"
ROOT = "/root/cut"
SOCKET = "unix:///run/berth-cut.sock"
SECTOR = 512
NOTE_AT = 248 << 20
MAGIC, VERSION = 0x6A736677736872, 1
FLUSH, DISCARD = 1, 4


class Record:
    """The format of the kernel's dm-log-writes, which QEMU writes, too: a head, then entries and their data, by sectors."""

    def __init__(self, path):
        self.file = open(path, "rb")
        magic, version, count, size = struct.unpack("<QQQI", self.file.read(28))
        if (magic, version, size) != (MAGIC, VERSION, SECTOR):
            raise SystemExit("no record of writes")
        self.writes = []  # (where on the disk, where in the record, bytes); None for a flush
        self.notes = []  # (number of writes before it, note)
        at = SECTOR
        for _ in range(count):
            self.file.seek(at)
            sector, sectors, flags, _ = struct.unpack("<QQQQ", self.file.read(32))
            at += SECTOR
            if flags & DISCARD:
                raise SystemExit("a discard was recorded, of which nothing is known here")
            if sectors:
                if sector * SECTOR == NOTE_AT:
                    self.notes.append((len(self.writes), json.loads(self.data(at, sectors * SECTOR))))
                self.writes.append((sector * SECTOR, at, sectors * SECTOR))
                at += sectors * SECTOR
            elif flags & FLUSH:
                self.writes.append(None)
            else:
                break  # cut off here
        self.flushes = [i for i, write in enumerate(self.writes) if write is None]

    def data(self, at, size):
        self.file.seek(at)
        return self.file.read(size)

    def apply(self, disk, first, last, keep=lambda: True):
        for write in self.writes[first:last]:
            if write and keep():
                disk.seek(write[0])
                disk.write(self.data(write[1], write[2]))

    def last_flush(self, moment):
        """The number of writes that are safe."""
        at = bisect.bisect_right(self.flushes, moment - 1)
        return self.flushes[at - 1] + 1 if at else 0


class Cut:
    def __init__(self, moment, lossy, record):
        self.moment, self.lossy = moment, lossy
        at = bisect.bisect_right([count for count, _ in record.notes], moment - 1)
        self.note = record.notes[at - 1][1]
        after = record.notes[at][1] if at < len(record.notes) else self.note
        self.what = self.note["What"]
        self.done = "After" in self.note
        self.before = self.note["After"] if self.done else self.note["Before"]
        self.after = self.before if self.done else after.get("After")

    def __str__(self):
        return (f"write {self.moment}, step {self.note['Step']} ({self.what}{', done' if self.done else ''}), "
                f"{'some of what was not flushed lost' if self.lossy else 'all writes kept'}")

    def faults(self, found):
        """What is neither as it was nor as it was to be."""
        if not self.after:
            return
        for name in {*self.before["Names"], *self.after["Names"], *found["Names"]}:
            allowed = {self.before["Names"].get(name), self.after["Names"].get(name)}
            if found["Names"].get(name) not in allowed:
                yield f"{name} is {found['Names'].get(name)}, not one of {allowed}"
        for image in {*self.before["Images"], *self.after["Images"], *found["Images"]}:
            allowed = {image in self.before["Images"], image in self.after["Images"]}
            if (image in found["Images"]) not in allowed:
                yield f"image {image} is {'there' if image in found['Images'] else 'lost'}"
            elif self.what in ("rmi", "prune") and image in found["Images"] and image not in found["Names"].values() \
                    and image in self.before["Names"].values() and image not in self.after["Images"]:
                yield f"image {image} has come back without its name"


def choose(record, dice):
    """Each kind of operation gets as many moments; one lasts until the next begins."""
    begins = [(count, note) for count, note in record.notes if "Before" in note]
    windows = {}
    for (first, note), (last, _) in zip(begins, begins[1:]):
        windows.setdefault(note["What"], []).append((first + 1, last))
    kinds = sorted(windows)
    cuts = []
    for i in range(CUTS):
        first, last = dice.choice(windows[kinds[i % len(kinds)]])
        cuts.append(Cut(dice.randint(first, last), i // len(kinds) % 2 == 1, record))
    return sorted(cuts, key=lambda cut: cut.moment)


def run(*command):
    result = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=120, check=False)
    if result.returncode != 0:
        raise AssertionError(f"{command}: exit {result.returncode}, {result.stdout[-1000:]!r} {result.stderr[-1000:]!r}")
    return result.stdout.decode()


def wait_until(condition, what, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(0.02)


def berth(*arguments):
    return run("berth", "-H", SOCKET, *arguments)


def answers():
    return subprocess.run(("berth", "-H", SOCKET, "version"), capture_output=True, check=False).returncode == 0


def listing():
    lines = berth("images", "-a", "--no-trunc", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}").splitlines()
    pairs = [line.split() for line in lines]
    return {"Names": {name: image for name, image in pairs if "<none>" not in name}, "Images": sorted({image for _, image in pairs})}


def checked():
    """The complaints of the store's own check."""
    result = subprocess.run((BERTHD, "-c", "/root/cut.json", "--check"), stdout=subprocess.PIPE, timeout=300, check=False)
    lines = result.stdout.decode(errors="replace").splitlines()
    return [] if result.returncode == 0 and lines and " 0 faults" in lines[-1] else lines or ["the check failed"]


def start_on(disk, use, compare):
    """A berthd of its own on the disk: what is wrong with the store there."""
    os.makedirs(ROOT, exist_ok=True)
    run("mount", "-o", "loop", disk, ROOT)
    try:
        with subprocess.Popen((BERTHD, "-c", "/root/cut.json", "-l", SOCKET), stdin=subprocess.DEVNULL) as daemon:
            try:
                wait_until(lambda: daemon.poll() is not None or answers(), "an answer of berthd")
                faults = list(compare(listing()))
                if use:
                    berth("load", "-q", "-i", "/root/busybox.tar")
                    berth("commit", "noise", "after:cut")
                wait_until(lambda: os.listdir(ROOT + "/staging") == [], "an empty staging directory")
            finally:
                daemon.terminate()
                daemon.wait(30)
        return faults + checked()
    except AssertionError as error:
        return [str(error)]
    finally:
        run("umount", ROOT)


def make_loop_devices():
    """The host's devices are not all that the kernel has."""
    for name, mode, device in [("loop-control", 0o20600, (10, 237)), *((f"loop{i}", 0o60600, (7, i)) for i in range(64))]:
        if not os.path.exists(f"/dev/{name}"):
            os.mknod(f"/dev/{name}", mode, os.makedev(*device))


def main():
    make_loop_devices()
    os.chdir(sys.argv[1])
    with open("/root/cut.json", "w", encoding="ascii") as out:
        json.dump({"data-root": ROOT, "exec-root": "/run/berth-cut", "idle-timeout": -1}, out)
    record, dice = Record("record"), random.Random(SEED)
    cuts, failed, applied, counts = choose(record, dice), 0, 0, {}
    print(f"{len(record.writes)} writes and flushes of {record.notes[-1][1]['Step']} operations are recorded", flush=True)
    for number, cut in enumerate(cuts):
        safe = record.last_flush(cut.moment)
        with open("base.img", "r+b") as disk:
            record.apply(disk, applied, safe)
        applied = safe
        run("cp", "--sparse=always", "base.img", "cut.img")
        with open("cut.img", "r+b") as disk:
            record.apply(disk, safe, cut.moment, (lambda: dice.random() < 0.5) if cut.lossy else lambda: True)
        faults = start_on("cut.img", number % 10 == 0, cut.faults)
        key = f"{cut.what}{', lossy' if cut.lossy else ''}"
        counts[key] = counts.get(key, 0) + 1
        if faults:
            failed += 1
            print(f"FAILED: {cut}, seed {SEED}:", *faults, sep="\n    ", flush=True)
            shutil.copy("cut.img", f"failed-{failed}.img")
    last = start_on("data.img", True, lambda found: [])
    if last:
        failed += 1
        print("FAILED: the disk of the killed emulator:", *last, sep="\n    ", flush=True)
    print(f"{len(cuts)} moments (seed {SEED}), {failed} failed, and the disk of the killed emulator. {counts}", flush=True)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
