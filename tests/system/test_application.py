#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""An application of five services (application/) by the packaged docker compose: built, started in order, scaled, used over
HTTP from another network namespace, upgraded and taken down. With "up" it is only started, and with "again" it has to be
there, as after a reboot. Runs as root in a booted host that has services.tar."""
import json
import os
import subprocess
import sys
import time
import unittest

import hosted
from hosted import CONTAINERS, remove_all, run, wait_until
from test_networks import BEYOND, make_beyond

HERE = os.path.dirname(os.path.abspath(__file__))
URL = "http://10.77.0.1:8090"
SLOWNESS = int(os.environ.get("BERTH_SLOWNESS", "1"))  # of an emulated machine

# Sends so many orders, some at a time, and prints the numbers they got.
SHOPPER = r"""
import concurrent.futures, json, sys, urllib.request
url, n = sys.argv[1], int(sys.argv[2])
def order(i):
    request = urllib.request.Request(url + "/orders", data=b"order %d" % i, method="POST")
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)
with concurrent.futures.ThreadPoolExecutor(8) as pool:
    print(json.dumps(sorted(pool.map(order, range(n)))))
"""
GETTER = r"""
import json, sys, urllib.request
try:
    with urllib.request.urlopen(sys.argv[1], timeout=20) as answer:
        print(json.dumps(json.load(answer)))
except (OSError, ValueError):
    print("null")
"""


def beyond(script, *arguments):
    return json.loads(run("ip", "netns", "exec", BEYOND, "python3", "-c", script, *arguments, timeout=120 * SLOWNESS))


def get(path):
    return beyond(GETTER, URL + path)


def compose(*arguments, version="1"):
    environment = {**os.environ, "DOCKER_BUILDKIT": "0", "VERSION": version}
    result = subprocess.run(["docker", "compose", "-p", "shop", "-f", f"{HERE}/application/compose.yaml", *arguments],
                            capture_output=True, timeout=240 * SLOWNESS, env=environment, check=False)
    assert result.returncode == 0, (arguments, result.stdout[-2000:], result.stderr[-4000:])
    return result.stdout.decode()


def containers(service):
    """What inspect says of a service's containers, by their names."""
    return {c["Name"]: c for c in json.loads(run("docker", "inspect", *compose("ps", "-q", service).split()))}


def build():
    if "services:latest" not in run("docker", "images", "--format", "{{.Repository}}:{{.Tag}}"):
        run("docker", "load", "-q", "-i", "/root/services.tar", timeout=300 * SLOWNESS)
    compose("build", "-q")


def first_since_boot():
    """When each service first started since then, and was first found healthy: the events' places in their order."""
    with open("/proc/stat", encoding="ascii") as file:
        boot = next(line.split()[1] for line in file if line.startswith("btime "))
    text = run("docker", "events", "--since", boot, "--until", str(int(time.time()) + 1), "--filter", "type=container", "--format",
               '{{.Action}} {{index .Actor.Attributes "com.docker.compose.service"}}', timeout=60 * SLOWNESS)
    events = [line for line in text.splitlines() if not line.startswith("exec_")]
    return {line: events.index(line) for line in events}


class Application(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        remove_all()
        compose("down", "-v")
        make_beyond()
        build()

    @classmethod
    def tearDownClass(cls):
        compose("down", "-v", "-t", "1")
        run("ip", "netns", "del", BEYOND)

    def order(self, n):
        """Has N orders done, and says which workers did how many."""
        before = get("/orders") or {}
        numbers = beyond(SHOPPER, URL, str(n))
        self.assertEqual(numbers, list(range(numbers[0], numbers[0] + n)), "every order once")
        wait_until(lambda: sum((get("/orders") or {}).values()) == sum(before.values()) + n, 30 * SLOWNESS, "all orders done")
        return {worker: count - before.get(worker, 0) for worker, count in get("/orders").items() if count > before.get(worker, 0)}

    def check_order_of_start(self):
        started = {service: min(c["State"]["StartedAt"] for c in containers(service).values())
                   for service in ("db", "cache", "app", "worker", "web")}
        for service, before in (("app", ("db", "cache")), ("worker", ("db", "cache")), ("web", ("app",))):
            for other in before:
                self.assertLess(started[other], started[service], f"{other} before {service}")
                health = [c["State"]["Health"] for c in containers(other).values()][0]
                self.assertEqual(health["Status"], "healthy")
                first = min(entry["End"] for entry in health["Log"] if entry["ExitCode"] == 0)
                if len(health["Log"]) < 5:  # older results are not kept
                    self.assertLess(first, started[service], f"{other} healthy before {service}")

    def test_life(self):
        compose("up", "-d")
        self.check_order_of_start()
        self.assertEqual(get("/version"), "1")
        self.assertEqual(get("/client"), "10.77.0.2", "the address of who asks is kept")
        self.assertEqual(len(self.order(20)), 1)

        compose("up", "-d", "--scale", "worker=3")
        shares = self.order(60)
        self.assertEqual(len(shares), 3, shares)
        self.check_isolation()
        self.check_upgrade()
        self.check_restart_of_the_engine()
        self.check_removal()

    def check_isolation(self):
        """The web server does not know the database, and the workers reach nothing outside."""
        web, worker = (next(iter(containers(service).values())) for service in ("web", "worker"))
        self.assertEqual(subprocess.run(["docker", "exec", web["Id"], "getent", "hosts", "database"], check=False,
                                        capture_output=True).returncode, 2)
        self.assertIn("database", run("docker", "exec", worker["Id"], "getent", "hosts", "database"))
        reach = "import socket; socket.create_connection(('10.77.0.2', 9), 2)"
        text = subprocess.run(["docker", "exec", worker["Id"], "python3", "-c", reach], check=False, capture_output=True).stderr.decode()
        self.assertRegex(text, "unreachable|timed out")

    def check_upgrade(self):
        before = {service: containers(service).keys() | {c["Id"] for c in containers(service).values()} for service in ("app", "db", "cache")}
        orders = get("/orders")
        compose("up", "-d", "--scale", "worker=3", version="2")
        wait_until(lambda: get("/version") == "2", 30 * SLOWNESS, "the new version")
        after = {service: containers(service).keys() | {c["Id"] for c in containers(service).values()} for service in before}
        self.assertEqual((after["db"], after["cache"]), (before["db"], before["cache"]), "what did not change stays")
        self.assertNotEqual(after["app"], before["app"])
        self.assertEqual(get("/orders"), orders, "nothing is lost")
        self.assertEqual(len(containers("worker")), 3)
        self.order(20)

    def check_restart_of_the_engine(self):
        run("systemctl", "kill", "-s", "KILL", "berth.service", status=None)
        self.order(10)
        compose("stop", "db", "cache", version="2")
        compose("start", version="2")
        self.order(10)

    def check_removal(self):
        ids = compose("ps", "-aq", version="2").split()
        self.assertEqual(len(ids), 7)
        compose("down", "-v", "-t", "5", version="2")
        self.assertEqual(run("docker", "ps", "-aq"), "")
        for kind in ("network", "volume"):
            self.assertNotIn("shop", run("docker", kind, "ls"))
        self.assertEqual([i for i in ids if os.path.exists(f"{CONTAINERS}/{i}")], [])
        self.assertNotRegex(run("findmnt", "-rno", "TARGET"), "|".join(ids))
        self.assertEqual(hosted.scopes(), [])
        # The kernel takes a namespace down, and with it the last ends, some time after its last process.
        wait_until(lambda: "veth" not in run("ip", "-o", "link"), 60, "without links of containers")
        self.assertNotIn("br-", run("ip", "-o", "link"))
        self.assertEqual(run("ss", "-Hlnt", "sport = :8090"), "")
        table = run("nft", "-j", "list", "table", "inet", "berth")
        left = {entry["set"]["name"]: entry["set"]["elem"] for entry in json.loads(table)["nftables"] if entry.get("set", {}).get("elem")}
        left |= {entry["map"]["name"]: entry["map"]["elem"] for entry in json.loads(table)["nftables"] if entry.get("map", {}).get("elem")}
        self.assertNotIn("any4", left)
        self.assertNotIn("br-", json.dumps(left))


def up():
    """Before a reboot."""
    make_beyond()
    build()
    compose("up", "-d", "--scale", "worker=3")
    wait_until(lambda: get("/version") == "1", 60 * SLOWNESS, "the application")
    print("orders", beyond(SHOPPER, URL, "10"))
    wait_until(lambda: sum((get("/orders") or {}).values()) == 10, 60 * SLOWNESS, "all orders done")
    run("sync")


class Again(Application):
    """After a reboot: everything is started by itself, and the application as it was."""

    @classmethod
    def setUpClass(cls):
        make_beyond()

    def test_life(self):
        begin = time.monotonic()
        wait_until(lambda: sum((get("/orders") or {}).values()) == 10, 120 * SLOWNESS, "the orders of before the reboot")
        print(f"served {time.monotonic() - begin:.0f} s after the test began")
        self.check_order_of_boot()
        self.assertEqual(len(containers("worker")), 3)
        self.assertEqual(len(self.order(30)), 3)
        compose("up", "-d", "--scale", "worker=3")
        self.check_removal()

    def check_order_of_boot(self):
        first = first_since_boot()
        for service, before in (("app", ("db", "cache")), ("worker", ("db", "cache")), ("web", ("app",))):
            for other in before:
                self.assertLess(first[f"start {other}"], first[f"health_status: healthy {other}"])
                self.assertLess(first[f"health_status: healthy {other}"], first[f"start {service}"], f"{other} healthy before {service}")


if __name__ == "__main__":
    if sys.argv[1:] == ["up"]:
        up()
    else:
        unittest.main(argv=sys.argv[:1] + (["Again"] if sys.argv[1:] == ["again"] else ["Application"]))
