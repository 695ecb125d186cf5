#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Pausing, processes and changes of containers."""
import json
import os
import threading

import engine
from engine import Case, call, succeed


def status(identifier):
    return succeed("GET", f"/containers/{identifier}/json")["State"]


class Pause(Case):
    def test_pause(self):
        with self.running() as container:
            self.assertEqual(call("POST", f"/containers/{container}/pause").status, 204)
            state = status(container)
            self.assertEqual((state["Status"], state["Paused"], state["Running"]), ("paused", True, True))
            entry = succeed("GET", "/containers/json", filters='{"status":["paused"]}')[0]
            self.assertEqual((entry["Id"], entry["State"]), (container, "paused"))
            self.assertRegex(entry["Status"], r"^Up .* \(Paused\)$")
            self.assertEqual(succeed("GET", "/containers/json", filters='{"status":["running"]}'), [])
            info = succeed("GET", "/info")
            self.assertEqual((info["ContainersPaused"], info["ContainersRunning"]), (1, 0))
            self.refuse(409, "POST", f"/containers/{container}/pause", text="is already paused")
            self.refuse(409, "POST", f"/containers/{container}/exec", {"Cmd": ["true"]}, text="is paused, unpause the container before exec")
            self.refuse(409, "POST", f"/containers/{container}/start", text="cannot start a paused container, try unpause instead")
            answer = call("POST", f"/containers/{container}/attach", stream=1)
            self.assertIn(b"is paused, unpause the container before attach", answer.body)
            self.refuse(409, "DELETE", f"/containers/{container}", text="container is paused and must be unpaused first")
            self.assertEqual(call("POST", f"/containers/{container}/unpause").status, 204)
            self.assertEqual(status(container)["Status"], "running")
            self.refuse(500, "POST", f"/containers/{container}/unpause", text="is not paused")

    def test_end_of_a_paused_one(self):
        for path, query in (("stop", {"t": 1}), ("kill", {}), ("kill", {"signal": "TERM"})):
            with self.running("sh", "-c", "trap 'exit 3' TERM; while :; do sleep 0.1; done") as container:
                succeed("POST", f"/containers/{container}/pause")
                self.assertEqual(call("POST", f"/containers/{container}/{path}", **query).status, 204)
                self.assertEqual(succeed("POST", f"/containers/{container}/wait")["StatusCode"], 137 if path == "kill" and not query else 3)
                state = status(container)
                self.assertEqual((state["Status"], state["Paused"]), ("exited", False))

    def test_removal_of_a_paused_one(self):
        with self.running() as container:
            succeed("POST", f"/containers/{container}/pause")
            self.assertEqual(call("DELETE", f"/containers/{container}", force=True).status, 204)

    def test_one_that_does_not_run(self):
        container = engine.create("true")
        for what in ("pause", "unpause"):
            self.refuse(404, "POST", f"/containers/nosuch/{what}", text="No such container: nosuch")
        self.refuse(409, "POST", f"/containers/{container}/pause", text="is not running")
        self.refuse(500, "POST", f"/containers/{container}/unpause", text="is not paused")


class Top(Case):
    def test_top(self):
        with self.running("sh", "-c", "sleep 611 & sleep 612; true") as container:
            engine.wait_until(lambda: str(succeed("GET", f"/containers/{container}/top")["Processes"]).count("'sleep ") == 2,
                              what="the shell's children")
            top = succeed("GET", f"/containers/{container}/top")
            self.assertEqual(top["Titles"], ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"])
            self.assertEqual(sorted(process[-1] for process in top["Processes"]), ["sh -c sleep 611 & sleep 612; true", "sleep 611", "sleep 612"])
            top = succeed("GET", f"/containers/{container}/top", ps_args="-o pid,comm")
            self.assertEqual(top["Titles"], ["PID", "COMMAND"])
            self.assertEqual(sorted(process[1] for process in top["Processes"]), ["sh", "sleep", "sleep"])
            self.assertEqual(len(succeed("GET", f"/containers/{container}/top", ps_args="faux")["Processes"]), 3)

    def test_refusals(self):
        with self.running() as container:
            self.refuse(500, "GET", f"/containers/{container}/top", text="Couldn't find PID field in ps output", ps_args="-o comm")
            self.refuse(500, "GET", f"/containers/{container}/top", text="ps: ", ps_args="--nosuch")
            self.refuse(500, "GET", f"/containers/{container}/top", text='specifying "ppid=PID" is not allowed', ps_args="-o pid -o ppid=PID")
        self.refuse(404, "GET", "/containers/nosuch/top", text="No such container: nosuch")
        self.refuse(409, "GET", f"/containers/{engine.create('true')}/top", text="is not running")


class Changes(Case):
    def test_changes(self):
        script = "mkdir -p /new/deep; echo a >/new/deep/file; rm /etc/group; echo x >>/etc/passwd; ln -s /etc /new/link; chmod 700 /home"
        container = engine.start("sh", "-c", script)
        self.assertEqual(succeed("POST", f"/containers/{container}/wait")["StatusCode"], 0)
        found = {entry["Path"]: entry["Kind"] for entry in succeed("GET", f"/containers/{container}/changes")}
        self.assertEqual(found, {"/etc": 0, "/etc/group": 2, "/etc/passwd": 0, "/new": 1, "/new/deep": 1, "/new/deep/file": 1,
                                 "/new/link": 1, "/home": 0})

    def test_none(self):
        self.assertFalse(succeed("GET", f"/containers/{engine.create('true')}/changes"))
        self.refuse(404, "GET", "/containers/nosuch/changes", text="No such container: nosuch")


class Stats(Case):
    def read(self, container, **query):
        answer = call("GET", f"/containers/{container}/stats", stream="false", **query)
        self.assertEqual((answer.status, answer.headers["content-type"]), (200, "application/json"))
        return answer.json()

    def test_running(self):
        with self.running("sh", "-c", "while :; do :; done", host={"NetworkMode": "bridge"}) as container:
            stats = self.read(container)
            self.assertEqual(stats["id"], container)
            self.assertEqual(stats["name"], engine.inspect(container)["Name"])
            now, before = stats["cpu_stats"], stats["precpu_stats"]
            self.assertGreaterEqual(now["cpu_usage"]["total_usage"], before["cpu_usage"]["total_usage"])
            self.assertGreater(now["system_cpu_usage"], before["system_cpu_usage"])
            self.assertEqual(now["online_cpus"], os.cpu_count())
            self.assertEqual(set(now["throttling_data"]), {"periods", "throttled_periods", "throttled_time"})
            self.assertGreater(stats["read"], stats["preread"])
            self.assertEqual(set(stats["networks"]), {"eth0"})
            self.assertEqual(set(stats["networks"]["eth0"]), {f"{way}_{what}" for way in ("rx", "tx")
                                                             for what in ("bytes", "packets", "errors", "dropped")})
            self.assertEqual(set(stats) - {"networks"}, {
                "read", "preread", "pids_stats", "blkio_stats", "num_procs", "storage_stats", "cpu_stats", "precpu_stats",
                "memory_stats", "name", "id"})

    def test_one_shot(self):
        with self.running() as container:
            stats = self.read(container, **{"one-shot": "true"})
            self.assertEqual(stats["precpu_stats"]["cpu_usage"]["total_usage"], 0)
            self.assertEqual(stats["preread"], "0001-01-01T00:00:00Z")
            self.refuse(400, "GET", f"/containers/{container}/stats", text="cannot have stream=true and one-shot=true",
                        stream="true", **{"one-shot": "true"})

    def test_not_running(self):
        container = engine.create("true")
        stats = self.read(container)
        self.assertEqual((stats["id"], stats["read"]), (container, "0001-01-01T00:00:00Z"))
        self.assertNotIn("networks", stats)
        self.refuse(404, "GET", "/containers/nosuch/stats", text="No such container: nosuch")

    def test_stream(self):
        """It goes on while the container runs and ends with its removal."""
        with self.running() as container:
            remover = threading.Timer(3.5, lambda: call("DELETE", f"/containers/{container}", force=True))
            remover.start()
            lines = call("GET", f"/containers/{container}/stats").body.decode().splitlines()
            remover.join()
        self.assertGreaterEqual(len(lines), 3)
        self.assertTrue(all(json.loads(line)["id"] == container for line in lines))


if __name__ == "__main__":
    engine.main()
