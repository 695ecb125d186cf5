#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""WebSockets that outlive the daemon, and the processes that translate for them. Runs as root in a booted host."""
import os
import signal
import unittest

import hosted
from hosted import daemon_pid, run, wait_until
from websocket import BINARY, CLOSE, PING, PONG, WebSocket

ALL = {"stream": 1, "stdin": 1, "stdout": 1, "stderr": 1}


def kill_daemon():
    pid = daemon_pid()
    if pid != "0":
        os.kill(int(pid), signal.SIGKILL)
        wait_until(lambda: daemon_pid() not in ("0", pid), 30, "a new daemon")


def translators():
    """The processes of the service but the daemon itself."""
    with open("/sys/fs/cgroup/system.slice/berth.service/cgroup.procs", encoding="ascii") as file:
        return {int(line) for line in file} - {int(daemon_pid())}


class WebSockets(unittest.TestCase):
    def setUp(self):
        hosted.load_images()
        hosted.remove_all()
        self.addCleanup(hosted.remove_all)

    def attach(self, name):
        client = WebSocket(f"/containers/{name}/attach/ws", server=hosted.BERTH, **ALL)
        self.assertEqual(client.answer.status, 101)
        self.addCleanup(client.socket.close)
        return client

    def test_over_the_daemons_death(self):
        run("docker", "run", "-dit", "--name", "shell", "busybox", "sh")
        client = self.attach("shell")
        client.send(b"echo before-$((1 + 1))\r")
        client.expect(b"before-2\r\n")
        kill_daemon()
        client.send(b"echo after-$((2 + 2))\r")
        client.expect(b"after-4\r\n")
        client.send(b"still there?", PING)
        while (answer := client.read())[0] == BINARY:  # the shell's prompt
            pass
        self.assertEqual(answer, (PONG, b"still there?"))
        kill_daemon()
        client.send(b"exit 3\r")
        self.assertEqual(client.read_all()[1], 1000)
        self.assertEqual(run("docker", "wait", "shell"), "3\n")

    def test_over_the_daemons_death_before_the_start(self):
        run("docker", "create", "-i", "--name", "later", "busybox", "cat")
        client = self.attach("later")
        kill_daemon()
        run("docker", "start", "later")
        client.send(b"hello\n")
        self.assertEqual(client.expect(b"\n"), b"hello\n")
        kill_daemon()
        client.send(b"again\n")
        self.assertEqual(client.expect(b"\n"), b"again\n")

    def test_the_daemon_exits_when_idle_all_the_same(self):
        run("docker", "run", "-di", "--name", "cat", "busybox", "cat")
        client = self.attach("cat")
        run("systemctl", "stop", "berth.service", "berth.socket", status=None)
        client.send(b"alone\n")
        self.assertEqual(client.expect(b"\n"), b"alone\n")
        run("systemctl", "start", "berth.socket")

    def test_nothing_is_left_of_it(self):
        run("docker", "run", "-di", "--name", "cat", "busybox", "cat")
        before = translators()
        clients = [self.attach("cat") for _ in range(5)]
        wait_until(lambda: len(translators() - before) == 5, 30, "five of them")
        clients[0].send(b"\x03\xe8", CLOSE)  # one that closes as it should
        self.assertEqual(clients[0].read_all()[1], 1000)
        clients[1].socket.close()  # one that goes
        clients[2].send(b"x", masked=False)  # one that is thrown out
        self.assertEqual(clients[2].read_all()[1], 1002)
        for client in (clients[0], clients[2]):
            client.socket.close()
        wait_until(lambda: len(translators() - before) == 2, 30, "those gone")
        run("docker", "kill", "cat")
        self.assertEqual(clients[3].read_all()[1], 1000)
        for client in clients:
            client.socket.close()
        wait_until(lambda: not translators() - before, 30, "all of them gone")

    def test_a_client_that_reads_late(self):
        """The program waits for it meanwhile, as for one that reads a pipe late, and it gets all."""
        run("docker", "run", "-di", "--name", "talk", "busybox", "sh", "-c", "read line; seq 1 400000; echo >/done")
        client = self.attach("talk")
        client.send(b"go\n")
        wait_until(lambda: "seq" in run("docker", "top", "talk"), 30, "it writing")
        data, reason = client.read_all()
        self.assertEqual(data.split(), [b"%d" % number for number in range(1, 400001)])
        self.assertEqual(reason, 1000)


if __name__ == "__main__":
    unittest.main()
