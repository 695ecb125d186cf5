#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The engine as a whole: _ping, version, info, negotiation of versions."""
import os

import engine
from engine import Case, call, differs, succeed

NEWEST = differs("1.51", "1.45", "each engine speaks the versions it knows")
OLDEST = "1.24"


class System(Case):
    def test_ping(self):
        for path in ("/_ping", f"/v{NEWEST}/_ping", f"/v{OLDEST}/_ping"):
            for method, body in (("GET", b"OK"), ("HEAD", b"")):
                answer = call(method, path)
                self.assertEqual((answer.status, answer.body), (200, body))
                self.assertEqual(answer.headers["api-version"], NEWEST)
                self.assertEqual(answer.headers["ostype"], "linux")
                self.assertEqual(answer.headers["docker-experimental"], "false")
                self.assertEqual(answer.headers["cache-control"], "no-cache, no-store, must-revalidate")
                self.assertEqual(answer.headers["pragma"], "no-cache")
                self.assertEqual(answer.headers["content-type"], "text/plain; charset=utf-8")
                self.assertEqual(answer.headers["swarm"], "inactive")
                self.assertIn(answer.headers["builder-version"], ("1", "2"))

    def test_headers_of_every_answer(self):
        for path in ("/version", "/containers/nosuch/json", "/nosuch"):
            headers = call("GET", path).headers
            self.assertEqual(headers["content-type"], "application/json")
            if path != "/nosuch":
                self.assertEqual((headers["api-version"], headers["ostype"]), (NEWEST, "linux"))

    def test_version(self):
        version = succeed("GET", "/version")
        self.assertEqual((version["ApiVersion"], version["MinAPIVersion"], version["Os"]), (NEWEST, OLDEST, "linux"))
        component = version["Components"][0]
        self.assertEqual(component["Name"], "Engine")
        self.assertEqual(component["Version"], version["Version"])
        self.assertEqual(component["Details"]["ApiVersion"], NEWEST)
        self.assertEqual(version["KernelVersion"], os.uname().release)

    def test_every_version_answers(self):
        for minor in range(int(OLDEST[2:]), int(NEWEST[2:]) + 1):
            for path in ("/version", "/info", "/containers/json", "/images/json"):
                self.assertEqual(call("GET", f"/v1.{minor}{path}").status, 200)

    def test_other_versions(self):
        too_new, too_old = int(NEWEST[2:]) + 1, int(OLDEST[2:]) - 1
        self.refuse(400, "GET", f"/v1.{too_new}/version", text=f"client version 1.{too_new} is too new. "
                    f"Maximum supported API version is {NEWEST}")
        self.refuse(400, "GET", f"/v1.{too_old}/version", text=f"client version 1.{too_old} is too old. "
                    f"Minimum supported API version is {OLDEST}, please upgrade your client to a newer version")

    def test_info(self):
        info = succeed("GET", "/info")
        before = {key: info[key] for key in ("Containers", "ContainersRunning", "ContainersStopped", "Images")}
        engine.create("true")
        with self.running():
            info = succeed("GET", "/info")
            self.assertEqual(info["Containers"], before["Containers"] + 2)
            self.assertEqual(info["ContainersRunning"], before["ContainersRunning"] + 1)
            self.assertEqual(info["ContainersStopped"], before["ContainersStopped"] + 1)
        self.assertEqual(info["ContainersPaused"], 0)
        self.assertEqual((info["OSType"], info["CgroupDriver"], info["CgroupVersion"]), ("linux", "systemd", "2"))
        self.assertEqual(info["NCPU"], len(os.sched_getaffinity(0)))
        self.assertEqual(info["KernelVersion"], os.uname().release)
        with open("/proc/meminfo", encoding="ascii") as meminfo:
            self.assertEqual(info["MemTotal"], int(meminfo.readline().split()[1]) * 1024)
        with open("/sys/fs/cgroup/cgroup.controllers", encoding="ascii") as controllers:
            self.assertEqual(info["MemoryLimit"], "memory" in controllers.read().split())
        self.assertIn(info["DefaultRuntime"], info["Runtimes"])
        self.assertIn(info["LoggingDriver"], info["Plugins"]["Log"])
        self.assertEqual(info["Swarm"]["LocalNodeState"], "inactive")
        self.assertEqual(info["ID"], succeed("GET", "/info")["ID"])
        with open("/proc/sys/net/ipv4/ip_forward", encoding="ascii") as forwarding:
            self.assertEqual(info["IPv4Forwarding"], forwarding.read().strip() == "1")

    def test_info_of_old_versions(self):
        info = succeed("GET", "/v1.24/info")
        self.assertEqual(info["ExecutionDriver"], "<not supported>")
        self.assertIn("seccomp", info["SecurityOptions"])
        self.assertNotIn("ExecutionDriver", succeed("GET", "/v1.25/info"))
        self.assertIn("name=seccomp,profile=builtin", succeed("GET", "/v1.25/info")["SecurityOptions"])

    def test_unknown_routes(self):
        for method, path in (("GET", "/nosuch"), ("POST", "/version"), ("DELETE", "/info"), ("GET", "/containers"),
                             ("GET", "/containers/a/b/json"), ("PUT", "/images/json"), ("GET", f"/v{NEWEST}/nosuch")):
            status = differs((404,), (404, 405), "dockerd says of some routes that they know other methods")
            self.assertIn(call(method, path).status, status, (method, path))


if __name__ == "__main__":
    engine.main()
