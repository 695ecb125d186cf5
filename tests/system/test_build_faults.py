#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Builds that are cancelled, and builds whose processes are killed at random moments: the client ends, nothing is left, and the
next build is right. BERTH_SEED chooses the run, BERTH_KILLS its length."""
import json
import os
import pathlib
import random
import signal
import subprocess
import tempfile
import time
import unittest
import urllib.parse

import hosted
import trees
from hosted import processes, run, scopes
from test_faults import kill, leftovers, listed

SEED = int(os.environ.get("BERTH_SEED", "1"))
KILLS = int(os.environ.get("BERTH_KILLS", "15"))
DOCKERFILE = """
FROM busybox AS a
COPY files /files
RUN --mount=type=cache,target=/c,sharing=locked sleep 0.2; echo a >/a; echo x >>/c/x
FROM busybox AS b
RUN --mount=type=secret,id=word --mount=type=bind,target=/ctx,rw cat /ctx/files/1 >/b; sleep 0.3
ADD files.tar /unpacked/
FROM a AS c
RUN sleep 0.1; rm -r /files/sub && echo c >/c1
WORKDIR /made/by/step
FROM busybox
COPY --from=a / /a/
COPY --from=b /b /unpacked /b/
COPY --from=c /c1 /files /c/
RUN find /a/a /b /c -type f | sort | xargs cat | md5sum >/sum
"""


def descendants(pid):
    found, todo = [], [pid]
    while todo:
        children = run("pgrep", "-P", str(todo.pop()), status=None).split()
        found += children
        todo += children
    return [int(child) for child in found]


def worker():
    pids = run("pgrep", "-x", "-P", hosted.daemon_pid(), "berthd", status=None).split()
    return int(pids[0]) if pids else 0


class Victims:
    """What can be killed of a build, each a function that does so if it finds it."""

    def __init__(self, chance, client):
        self.chance, self.client = chance, client

    def client_gone(self):
        self.client.kill()

    def client_interrupted(self):
        self.client.send_signal(signal.SIGINT)

    def daemon(self):
        pid = int(hosted.daemon_pid())
        if pid:
            kill(pid)

    def worker(self):
        pid = worker()
        if pid:
            kill(pid)

    def helper(self):
        pid = worker()
        helpers = descendants(pid) if pid else []
        if helpers:
            kill(self.chance.choice(helpers))

    def monitor(self):
        self.one_of("monitor")

    def payload(self):
        self.one_of("payload")

    def one_of(self, group):
        pids = [pid for scope in scopes() for pid in processes(f"{hosted.SLICE}/{scope}/{group}")]
        if pids:
            kill(self.chance.choice(pids))

    def cancel(self):
        hosted.call("POST", "/build/cancel?id=faults")

    ALL = (client_gone, client_interrupted, daemon, worker, helper, monitor, payload, cancel)


class Faults(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        run("docker", "load", "-q", "-i", "/root/busybox.tar")
        cls.directory = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.directory.cleanup)
        context = pathlib.Path(cls.directory.name)
        (context / "files/sub").mkdir(parents=True)
        for number in range(500):
            (context / f"files/{number}").write_text(f"{number}\n" * 50)
        (context / "files/sub/x").write_text("x")
        run("tar", "-C", str(context), "-cf", str(context / "files.tar"), "files")
        (context / "Dockerfile").write_text(DOCKERFILE)
        (context / "word").write_text("unspeakable-word")
        cls.sum = cls.build_whole()

    @classmethod
    def build_whole(cls):
        run("berth", "build", "-q", "--secret", "id=word,src=" + cls.directory.name + "/word", "-t", "faults:1", cls.directory.name, timeout=120)
        return run("docker", "run", "--rm", "faults:1", "cat", "/sum")

    def strike(self, chance):
        """One build, and what happens to it."""
        cache = () if chance.random() < 0.3 else ("--no-cache",)
        program = chance.choice(("berth", "berth", "curl"))
        if program == "berth":
            command = ("berth", "build", "--progress=plain", *cache, "--secret", f"id=word,src={self.directory.name}/word", self.directory.name)
        else:
            query = urllib.parse.urlencode({"buildid": "faults", "nocache": 1, "forcerm": 1})
            command = ("python3", "-c", "import sys, hosted; print(hosted.call('POST', sys.argv[1], open(sys.argv[2], 'rb').read(), "
                       "('Content-Type: application/x-tar',)).body.decode()[-300:])", f"/build?{query}", self.directory.name + ".tar")
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd="/root") as client:
            time.sleep(chance.random() * 1.6)
            victim = chance.choice(Victims.ALL)
            victim(Victims(chance, client))
            try:
                client.communicate(timeout=60)
            except subprocess.TimeoutExpired:
                client.kill()
                self.fail(f"the client hangs: {victim.__name__}")
        return victim.__name__

    def found(self):
        """Everything a build may leave, less what a container may."""
        left = {"markers": listed("/var/lib/berth/build/container"), "secrets": listed("/run/berth/build"),
                "cache mounts": [name for name in listed("/var/lib/berth/build/mount") if name.startswith("new-")],
                "workers": run("pgrep", "-x", "-P", hosted.daemon_pid(), "berthd", status=None).split()}
        return {**leftovers(), **{kind: items for kind, items in left.items() if items}}

    def wait_for_nothing(self, what):
        end = time.monotonic() + 30
        while left := self.found():
            if time.monotonic() > end:
                self.fail(f"{what}: {left}")
            hosted.call("GET", "/_ping") # whoever was killed is started again, and clears up
            time.sleep(0.3)

    def test_random_moments(self):
        run("tar", "-C", self.directory.name, "-cf", self.directory.name + ".tar", ".")
        self.addCleanup(os.unlink, self.directory.name + ".tar")
        chance, struck = random.Random(SEED), {}
        for number in range(KILLS):
            victim = self.strike(chance)
            struck[victim] = struck.get(victim, 0) + 1
            if number % 5 == 4 or number == KILLS - 1:
                self.wait_for_nothing(f"after {number + 1} of seed {SEED}: {struck}")
                self.assertEqual(self.build_whole(), self.sum)
        print(f"builds struck: {json.dumps(struck, sort_keys=True)}")
        self.assertNotIn("unspeakable", run("journalctl", "-o", "export", "--no-pager"))
        hosted.call("POST", "/build/prune?all=1")
        run("docker", "rmi", "-f", "faults:1")
        run("docker", "image", "prune", "-af")
        self.wait_for_nothing("in the end")
        self.assertIn(" 0 faults", trees.check())
        self.assertEqual(listed(trees.LAYERS), [])
        run("docker", "load", "-q", "-i", "/root/busybox.tar")

    def test_cancel(self):
        """A client that goes ends its build, and the step that runs."""
        for how in (signal.SIGKILL, signal.SIGINT, signal.SIGTERM):
            with subprocess.Popen(("berth", "build", "-"), stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as client:
                client.stdin.write(b"FROM busybox\nRUN sleep 600\n")
                client.stdin.close()
                hosted.wait_until(lambda: any(processes(f"{hosted.SLICE}/{scope}/payload") for scope in scopes()), 20, "a step", 0.1)
                client.send_signal(how)
                client.wait(timeout=20)
            self.wait_for_nothing(str(how))


if __name__ == "__main__":
    unittest.main()
