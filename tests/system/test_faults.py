#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The daemon, monitors and containers killed at random while containers come and go: the truth is told afterwards, all of
it can be removed, and nothing is left. BERTH_SEED chooses the run, BERTH_ROUNDS its length."""
import json
import os
import random
import signal
import subprocess
import threading
import time
import unittest

import hosted
from hosted import Terminal, run

SEED = int(os.environ.get("BERTH_SEED", "1"))
ROUNDS = int(os.environ.get("BERTH_ROUNDS", "200"))
BATCH = 25
IN_FLIGHT = 5


def kill(pid):
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def daemon_kill():
    pid = int(hosted.daemon_pid())
    if pid:
        kill(pid)


def daemon_restart():
    run("systemctl", "restart", "berth.service")


def listed(path):
    try:
        return sorted(os.listdir(path))
    except FileNotFoundError:
        return []


def lines(*command):
    return run(*command).splitlines()


def empty_scopes():
    """Scopes that systemd holds active though no process ever was in them, which is what it does when the process it is to
    put there is a zombie by then. Not settled yet; a scope with a process in it is a leftover in any case."""
    return [scope for scope in hosted.scopes() if not subtree_populated(f"{hosted.SLICE}/{scope}")]


def subtree_populated(group):
    try:
        with open(group + "/cgroup.events", encoding="ascii") as file:
            return "populated 1" in file.read()
    except OSError:
        return False


def leftovers():
    """Everything a container may leave on the host, by kind; the kinds that are clean are left out."""
    empty = empty_scopes()
    spare = hosted.spare_scopes()
    found = {
        "mounts": [line for line in lines("findmnt", "-rn", "-o", "TARGET") if line.startswith("/run/berth/")],
        "units": [line for line in lines("systemctl", "list-units", "--all", "--plain", "--no-legend", "berth-*.scope")
                  if line.split()[0] not in empty + spare],
        "cgroups": [scope for scope in hosted.scopes() if scope not in empty],
        "links": [line.split(":")[1].strip() for line in lines("ip", "-o", "link", "show", "type", "veth")],
        "run-time directories": listed(hosted.RUNTIME),
        "container directories": listed(hosted.CONTAINERS),
        "rate limits": [name for name in listed("/run/systemd/units") if name.startswith("log-rate-limit-") and "berth-" in name],
        "staging": listed("/var/lib/berth/staging"),
        "spools": listed("/var/lib/berth/spool"),
        "monitors": [line for line in run("ps", "-C", "berth-monitor", "-o", "pid=,ppid=,stat=,wchan=", status=None).splitlines()
                     if not hosted.holds_scope(line.split()[0])],
    }
    return {kind: items for kind, items in found.items() if items}


class Storm:
    """Clients at work and a killer, for some rounds. Every client has to end in time, whatever it says."""

    def __init__(self, seed):
        self.seed = seed
        self.hung = []
        self.done = threading.Event()
        self.killed = {"daemon": 0, "monitor": 0, "payload": 0}

    def client(self, *arguments):
        try:
            return subprocess.run(arguments, capture_output=True, timeout=20).returncode
        except subprocess.TimeoutExpired:
            listing = hosted.call("GET", "/containers/json?all=1").json()
            self.hung.append((arguments, [(entry["Names"], entry["Status"]) for entry in listing]))
            return None

    def round(self, chance, name):
        client = chance.choice(("berth", "docker"))
        options = chance.choice((("--network", "none"), (), ("--rm",), ("--rm", "--network", "none")))
        command = chance.choice((("sleep", "600"), ("true",), ("sh", "-c", "sleep 0.05; exit 3"), ("sleep", "600")))
        self.client(client, "run", "-d", "--name", name, *options, "busybox", *command)
        for action in chance.choice(((), ("stop", "start"), ("kill",), ("stop", "rm"), ("rm",), ("restart", "rm"), ("stop",))):
            extra = {"stop": ("-t", "0"), "restart": ("-t", "0"), "rm": ("-f",)}.get(action, ())
            self.client(client, action, *extra, name)

    def work(self, batch, lane):
        chance = random.Random(f"{self.seed}/{batch}/{lane}")
        for number in range(BATCH // IN_FLIGHT):
            self.round(chance, f"c{batch}-{lane}-{number}")

    def blow(self, chance):
        kind = chance.choice(("daemon", "daemon", "monitor", "payload"))
        if kind == "daemon":
            daemon_kill()
        else:
            victims = [pid for scope in hosted.all_scopes() for pid in hosted.processes(f"{hosted.SLICE}/{scope}/{kind}")]
            if not victims:
                return
            kill(chance.choice(victims))
        self.killed[kind] += 1

    def rage(self, batch):
        chance = random.Random(f"{self.seed}/{batch}/killer")
        while not self.done.wait(chance.uniform(0.005, 0.12)):
            self.blow(chance)

    def run(self, batch):
        self.done.clear()
        killer = threading.Thread(target=self.rage, args=(batch,))
        lanes = [threading.Thread(target=self.work, args=(batch, lane)) for lane in range(IN_FLIGHT)]
        killer.start()
        for lane in lanes:
            lane.start()
        for lane in lanes:
            lane.join()
        self.done.set()
        killer.join()


def inspect(name):
    return json.loads(run("docker", "inspect", name))[0]


class Faults(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        hosted.load_images()
        hosted.remove_all()
        # The first container on the bridge makes the table, which stays.
        run("docker", "run", "--rm", "busybox", "true")
        cls.rules = run("nft", "list", "ruleset")

    def tearDown(self):
        hosted.remove_all()

    def assert_truth(self):
        """What the engine lists as running is what runs, one second after the last blow at the latest."""
        answer = hosted.call("GET", "/containers/json?all=1")
        listing = {container["Id"]: container for container in answer.json()}
        alive = {scope[len("berth-"):-len(".scope")] for scope in hosted.scopes() if hosted.processes(f"{hosted.SLICE}/{scope}/payload")}
        running = {identifier for identifier, container in listing.items() if container["State"] == "running"}
        self.assertEqual(running, alive)
        for identifier in running:
            pid = hosted.call("GET", f"/containers/{identifier}/json").json()["State"]["Pid"]
            self.assertIn(pid, hosted.processes(f"{hosted.SLICE}/berth-{identifier}.scope/payload"))
        self.assertEqual(sorted(listing), listed(hosted.CONTAINERS))
        self.assertLessEqual({container["State"] for container in listing.values()}, {"created", "running", "exited"})

    def assert_clean(self):
        end = time.monotonic() + 5
        while (found := leftovers()) and time.monotonic() < end:
            time.sleep(0.2)
        self.assertEqual(found, {})
        for scope in empty_scopes():
            print(f"an empty scope is left: {scope}", flush=True)
            run("systemctl", "stop", scope)

    def test_200_rounds(self):
        storm = Storm(SEED)
        start = time.monotonic()
        for batch in range(ROUNDS // BATCH):
            storm.run(batch)
            for hung in storm.hung:
                print(f"seed {SEED}, batch {batch}: a client waits in vain: {hung}", flush=True)
            self.assertEqual(storm.hung, [], f"seed {SEED}, batch {batch}")
            time.sleep(1)
            with self.subTest(f"seed {SEED}, batch {batch}"):
                self.assert_truth()
        print(f"{ROUNDS} rounds in {time.monotonic() - start:.1f} s, killed: {storm.killed}", flush=True)
        for identifier in run("docker", "ps", "-aq", "--no-trunc").split():
            run("docker", "rm", "-f", identifier)
        self.assertEqual(run("docker", "ps", "-aq"), "")
        self.assert_clean()
        # No address was forgotten: the next container gets the first one.
        run("docker", "run", "-d", "--name", "next", "busybox", "sleep", "60")
        self.assertTrue(inspect("next")["NetworkSettings"]["IPAddress"].endswith(".0.2"), inspect("next")["NetworkSettings"])
        self.assertEqual(run("nft", "list", "ruleset"), self.rules)

    def test_session_of_each_client(self):
        for client in ("berth", "docker"):
            for blow in (daemon_restart, daemon_kill):
                with self.subTest(client=client, blow=blow.__name__):
                    terminal = Terminal(client, "run", "-it", "--rm", "--name", "session", "busybox", "sh")
                    terminal.expect("# ")
                    for number in range(3):
                        blow()
                        terminal.type(f"echo still $(({number} + 1))\r")
                        terminal.expect(f"still {number + 1}\r\n")
                    time.sleep(0.5)
                    terminal.type("exit 9\r")
                    self.assertEqual(terminal.status(), 9)
                    hosted.wait_until(lambda: "session" not in run("docker", "ps", "-a"), 5, "removed after its end")

    def test_followed_logs(self):
        wanted = "".join(f"{number}\n" for number in range(200))
        for client in ("berth", "docker"):
            for blow in (daemon_restart, daemon_kill):
                with self.subTest(client=client, blow=blow.__name__):
                    run("docker", "rm", "-f", "talker", status=None)
                    run("docker", "run", "-d", "--name", "talker", "busybox", "sh", "-c",
                        "i=0; while [ $i -lt 200 ]; do echo $i; i=$((i + 1)); usleep 10000; done")
                    follower = subprocess.Popen((client, "logs", "-f", "talker"), stdout=subprocess.PIPE)
                    time.sleep(0.7)
                    blow()
                    output = follower.communicate(timeout=30)[0].decode()
                    self.assertEqual((follower.returncode, output), (0, wanted))

    def test_wait_survives(self):
        for client in ("berth", "docker"):
            run("docker", "run", "-d", "--name", "waited", "busybox", "sh", "-c", "sleep 2; exit 4")
            waiter = subprocess.Popen((client, "wait", "waited"), stdout=subprocess.PIPE)
            time.sleep(0.5)
            daemon_kill()
            self.assertEqual(waiter.communicate(timeout=20)[0], b"4\n")
            run("docker", "rm", "waited")

    def test_load_cut_off(self):
        """A killed daemon or worker leaves no half of an image."""
        before = run("docker", "images", "-q"), listed("/var/lib/berth/layer")
        for victim in ("daemon", "worker", "client"):
            with self.subTest(victim):
                run("docker", "rmi", "-f", "debian:13", status=None)
                client = subprocess.Popen(("docker", "load", "-i", "/root/debian.tar"), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
                hosted.wait_until(lambda: listed("/var/lib/berth/staging"), 10, "loading", 0.001)
                time.sleep(0.05)
                main = int(hosted.daemon_pid())
                workers = [pid for pid in hosted.processes("/sys/fs/cgroup/system.slice/berth.service") if pid != main]
                if victim == "client":
                    client.kill()
                for pid in {"daemon": [main], "worker": workers, "client": []}[victim]:
                    kill(pid)
                client.communicate(timeout=30)
                hosted.wait_until(lambda: hosted.call("GET", "/_ping").status == 200 and not listed("/var/lib/berth/staging"),
                                  10, "staging empty", 0.1)
                run("docker", "load", "-i", "/root/debian.tar")
                self.assertEqual((sorted(run("docker", "images", "-q").split()), len(listed("/var/lib/berth/layer"))),
                                 (sorted(before[0].split()), len(before[1])))


if __name__ == "__main__":
    unittest.main()
