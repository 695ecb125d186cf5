#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Events on a booted host: journal entries with their callers, followers that outlive the daemon. Runs as root in the host."""
import json
import os
import socket
import subprocess
import time
import unittest

from hosted import call, daemon_pid, load_images, remove_all, run, wait_until

SO_SNDBUFFORCE = 32
MESSAGE_ID = "6e1f4b0c52d94f5f8a9d1c7be3a0d4c2"


def entries(**matches):
    text = run("journalctl", "-o", "json", f"MESSAGE_ID={MESSAGE_ID}", *(f"{key}={value}" for key, value in matches.items()))
    return [json.loads(line) for line in text.splitlines()]


class Follower:
    """docker events, read as it comes."""

    def __init__(self, client, *options):
        self.process = subprocess.Popen([client, "events", "--format", "{{json .}}", *options], stdout=subprocess.PIPE)
        time.sleep(0.7)

    def next(self):
        return json.loads(self.process.stdout.readline())

    def stop(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


class Events(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        load_images()

    def tearDown(self):
        remove_all()

    def test_entries_of_the_journal(self):
        name = f"entry{os.getpid()}"
        identifier = run("docker", "run", "-d", "--name", name, "busybox", "sleep", "60").strip()
        run("docker", "rm", "-f", name)
        wait_until(lambda: entries(BERTH_EVENT_ID=identifier, BERTH_EVENT_ACTION="destroy"))
        found = entries(BERTH_EVENT_ID=identifier)
        self.assertEqual([entry["BERTH_EVENT_ACTION"] for entry in found if entry["BERTH_EVENT_TYPE"] == "container"],
                         ["create", "start", "kill", "die", "destroy"])
        for entry in found:
            self.assertEqual((entry["BERTH_CALLER_UID"], entry["BERTH_CALLER_COMM"]), ("0", "docker"), entry["MESSAGE"])
            self.assertEqual(json.loads(entry["BERTH_EVENT"])["Actor"]["Attributes"]["name"], name)
        self.assertEqual(found[0]["MESSAGE"], f"container create {identifier}")

    def test_caller_is_the_user(self):
        run("useradd", "-M", "-G", "berth", "clerk", status=None)
        uid = run("id", "-u", "clerk").strip()
        identifier = run("runuser", "-u", "clerk", "--", "berth", "create", "busybox", "true").strip()
        wait_until(lambda: entries(BERTH_EVENT_ID=identifier))
        entry = entries(BERTH_EVENT_ID=identifier)[0]
        self.assertEqual((entry["BERTH_CALLER_UID"], entry["BERTH_CALLER_COMM"], entry["_UID"]), (uid, "berth", "0"))

    def test_nobody_else_can_write_them(self):
        forged = '{"Type":"container","Action":"forged","Actor":{"ID":"x","Attributes":{}},"scope":"local","time":1,"timeNano":%d}'
        text = f"MESSAGE_ID={MESSAGE_ID}\nMESSAGE=m\nBERTH_EVENT={forged % time.time_ns()}\n"
        run("runuser", "-u", "nobody", "--", "logger", "--journald", data=text.encode())
        time.sleep(0.3)
        self.assertNotIn("forged", run("docker", "events", "--since", "1m", "--until", "0s"))

    def test_catalog(self):
        run("journalctl", "--update-catalog")
        self.assertIn("Berth container engine", run("journalctl", "--list-catalog", MESSAGE_ID))

    def test_the_past_before_the_daemon_started(self):
        name = f"past{os.getpid()}"
        for client in ("docker", "berth"):
            run("docker", "run", "--rm", "--name", name, "busybox", "true")
            run("systemctl", "stop", "berth.service")
            self.assertEqual(daemon_pid(), "0")
            # On a busy machine journald takes its time to store what it was sent.
            for _ in range(20):
                text = run(client, "events", "--since", "1m", "--until", "0s", "--filter", f"container={name}", "--filter", "event=die")
                if text:
                    break
                time.sleep(0.5)
            self.assertIn(f"name={name}", text)

    def test_the_past_while_journald_is_slow(self):
        """What the engine could not hand over yet, because journald's queue is full, is waited for."""
        since = f"{time.time():.6f}"
        names = [f"made{number}" for number in range(5)]
        run("systemctl", "kill", "--signal=STOP", "systemd-journald.service")
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as filler:
                filler.setsockopt(socket.SOL_SOCKET, SO_SNDBUFFORCE, 1 << 26)
                filler.connect("/run/systemd/journal/socket")
                with self.assertRaises(BlockingIOError):
                    while True:
                        filler.send(b"")
                for name in names:
                    run("docker", "create", "--name", name, "busybox", "true")
                asked = subprocess.Popen(["docker", "events", "--since", since, "--until", f"{time.time():.6f}", "--filter", "event=create",
                                          "--format", "{{.Actor.Attributes.name}}"], stdout=subprocess.PIPE, text=True)
                time.sleep(0.5)
        finally:
            run("systemctl", "kill", "--signal=CONT", "systemd-journald.service")
        self.assertEqual([name for name in asked.communicate(timeout=60)[0].split() if name in names], names)

    def test_a_follower_outlives_the_daemon(self):
        for client in ("docker", "berth"):
            follower = Follower(client, "--filter", "type=container", "--filter", "event=create")
            self.addCleanup(follower.stop)
            run("docker", "create", "--name", "one", "busybox")
            self.assertEqual(follower.next()["Actor"]["Attributes"]["name"], "one")
            run("systemctl", "restart", "berth.service")
            run("docker", "create", "--name", "two", "busybox")
            self.assertEqual(follower.next()["Actor"]["Attributes"]["name"], "two")
            run("systemctl", "kill", "-s", "KILL", "--kill-whom=main", "berth.service")
            time.sleep(0.5)
            run("docker", "create", "--name", "three", "busybox")
            self.assertEqual(follower.next()["Actor"]["Attributes"]["name"], "three")
            follower.stop()
            remove_all()

    def test_a_follower_keeps_no_daemon(self):
        follower = Follower("docker")
        self.addCleanup(follower.stop)
        wait_until(lambda: daemon_pid() == "0", seconds=20, what="the daemon's end")
        run("docker", "create", "--name", "late", "busybox")
        self.assertEqual(follower.next()["Action"], "create")
        follower.stop()
        wait_until(lambda: not os.listdir("/run/berth/events"), what="the follower's end")

    def test_many_at_once(self):
        """Nothing is lost or out of order, whatever journald's limits are."""
        followers = [Follower("berth", "--filter", "type=container") for _ in range(3)]
        identifiers = [call("POST", "/containers/create", {"Image": "busybox", "Cmd": ["true"]}).json()["Id"] for _ in range(100)]
        for identifier in identifiers:
            call("DELETE", f"/containers/{identifier}")
        for follower in followers:
            seen = [follower.next() for _ in range(200)]
            follower.stop()
            self.assertEqual([event["id"] for event in seen if event["Action"] == "create"], identifiers)
            self.assertEqual([event["id"] for event in seen if event["Action"] == "destroy"], identifiers)
            times = [event["timeNano"] for event in seen]
            self.assertEqual(times, sorted(times))

    def test_they_come_at_once(self):
        follower = Follower("berth", "--filter", "event=create")
        self.addCleanup(follower.stop)
        late = []
        for _ in range(5):
            run("berth", "create", "busybox")
            event = follower.next()
            late.append((time.time_ns() - event["timeNano"]) / 1e6)
            time.sleep(0.3)
        self.assertLess(sorted(late)[2], 100, f"milliseconds: {late}")


unittest.main(verbosity=1)
