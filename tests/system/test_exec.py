#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Further processes in containers: on terminals, over the daemon's death, refused, and many at once (BERTH_MANY, 100). Runs as
root in a booted host."""
import concurrent.futures
import json
import os
import re
import signal
import socket
import statistics
import subprocess
import time
import unittest

import hosted
from hosted import Terminal, call, daemon_pid, run, wait_until

CLIENTS = ("docker", "berth")
MANY = int(os.environ.get("BERTH_MANY", "100"))
AT_ONCE = 100


def kill_daemon():
    """Gone, and another one there."""
    pid = int(daemon_pid())
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: daemon_pid() not in ("0", str(pid)), 30, "a new daemon")


def create_exec(container, *command, **more):
    answer = call("POST", f"/containers/{container}/exec", {"Cmd": list(command), "AttachStdout": True, "AttachStderr": True, **more})
    assert answer.status == 201, answer.body
    return answer.json()["Id"]


def inspect(identifier):
    return call("GET", f"/exec/{identifier}/json").json()


def start_detached(identifier):
    return call("POST", f"/exec/{identifier}/start", {"Detach": True})


def zombies():
    """Monitors that have ended and that nobody has waited for."""
    return [line for line in run("ps", "-C", "berth-monitor", "-o", "stat=,pid=,ppid=", status=None).splitlines() if line.startswith("Z")]


def attempt(*command):
    """Exit status, output and errors."""
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    return result.returncode, result.stdout, result.stderr


class Case(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        hosted.load_images()
        hosted.remove_all()
        run("docker", "run", "-d", "--name", "host", "-e", "OF=container", "-w", "/usr", "busybox", "sleep", "10000")

    @classmethod
    def tearDownClass(cls):
        hosted.remove_all()


class Terminals(Case):
    def open(self, client, *arguments):
        terminal = Terminal(client, "exec", "-it", *arguments)
        terminal.expect("# ")
        return terminal

    def test_typing_resizing_and_the_exit_code(self):
        for client in CLIENTS:
            with self.subTest(client):
                terminal = self.open(client, "host", "sh")
                terminal.resize(41, 133)
                deadline = time.monotonic() + 30
                while True:  # the client passes the size on in its own time
                    terminal.type("echo size-$(stty size | tr ' ' x)-\r")
                    terminal.expect("\nsize-")
                    try:
                        terminal.expect("41x133-", 1)
                        break
                    except AssertionError:
                        self.assertLess(time.monotonic(), deadline, "the program sees the new size")
                terminal.type("tty; echo $TERM; exit 43\r")
                terminal.expect("/dev/pts/")
                terminal.expect("xterm")
                self.assertEqual(terminal.status(), 43)

    def test_the_size_is_there_from_the_start(self):
        for client in CLIENTS:
            with self.subTest(client):
                terminal = Terminal("sh", "-c", f"stty rows 17 cols 71; exec {client} exec -it host sh -c "
                                                "'while [ \"$(stty size)\" != \"17 71\" ]; do sleep 0.1; done; echo at last'")
                terminal.expect("at last", 30)
                self.assertEqual(terminal.status(), 0)

    def test_signals_by_keys(self):
        for client in CLIENTS:
            with self.subTest(client):
                terminal = self.open(client, "host", "sh")
                terminal.type("sleep 1000\r")
                wait_until(lambda: "sleep 1000\n" in run("docker", "exec", "host", "ps", "-o", "args") + "\n", 30, "the sleep")
                terminal.type("\x03")
                terminal.expect("# ")
                terminal.type("echo status-$?\r")
                terminal.expect("status-130")
                # The shell's line editor is there again when it prompts; a key pressed before is another.
                terminal.type("sh -c 'echo re''ady; exit 1'\r")
                terminal.expect("ready")
                terminal.expect("# ")
                terminal.type("\x04")
                self.assertEqual(terminal.status(), 1)

    def test_detach_keys(self):
        for client in CLIENTS:
            for options, keys in (((), "\x10\x11"), (("--detach-keys", "ctrl-a,x"), "\x01x"), (("--detach-keys", "q"), "q")):
                with self.subTest(client=client, options=options):
                    mark = f"/mark-{client}-{len(options)}-{ord(keys[0])}"
                    terminal = self.open(client, *options, "host", "sh")
                    terminal.type(f"trap '' HUP; while [ ! -e {mark} ]; do sleep 0.1; done; echo done >{mark}\r")
                    terminal.expect("\n")
                    time.sleep(0.2)
                    terminal.type(keys)
                    terminal.status()  # that of a program that still runs, as the client sees it
                    run("docker", "exec", "host", "touch", mark)
                    wait_until(lambda: run("docker", "exec", "host", "cat", mark) == "done\n", 30, "the program going on")

    def test_other_keys_are_typed(self):
        terminal = self.open("docker", "--detach-keys", "ctrl-a,x", "host", "sh")
        terminal.type("cat | od -c\r")
        terminal.expect("\n")
        time.sleep(0.2)
        terminal.type("\x01y\x10\x11z\r")  # ctrl-q is the terminal's own: it goes on
        time.sleep(0.2)
        terminal.type("\x04")
        terminal.expect("001   y 020   z  \\n")
        terminal.type("exit 4\r")
        self.assertEqual(terminal.status(), 4)

    def test_over_the_daemons_death(self):
        for client in CLIENTS:
            with self.subTest(client):
                terminal = self.open(client, "host", "sh")
                kill_daemon()
                terminal.type("echo still $((40 + 2))\r")
                terminal.expect("still 42")
                kill_daemon()
                terminal.type("exit 7\r")
                self.assertEqual(terminal.status(), 7)


class Streams(Case):
    def test_over_the_daemons_death(self):
        for client in CLIENTS:
            with self.subTest(client):
                with subprocess.Popen([client, "exec", "-i", "host", "sh", "-c", "echo up; read line; echo $line; echo bad >&2; exit 9"],
                                      stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
                    self.assertEqual(process.stdout.readline(), b"up\n")
                    kill_daemon()
                    output, errors = process.communicate(b"typed\n", timeout=60)
                self.assertEqual((process.returncode, output, errors), (9, b"typed\n", b"bad\n"))

    def test_half_close(self):
        data = os.urandom(1 << 20)
        for client in CLIENTS:
            with self.subTest(client):
                # The end of the input comes, and output goes on after it.
                output = run(client, "exec", "-i", "host", "sh", "-c", "md5sum; sleep 1; echo after", data=data)
                self.assertRegex(output, r"^[0-9a-f]{32}  -\nafter\n$")
                self.assertEqual(run(client, "exec", "-i", "host", "cat", data=data, text=False), data)
                self.assertEqual(run(client, "exec", "host", "cat", data=data), "", "without -i there is no input")

    def test_what_it_is_given(self):
        script = "echo $OF $A $B; id -u; id -g; pwd; grep CapEff /proc/self/status"
        for client in CLIENTS:
            with self.subTest(client):
                lines = run(client, "exec", "host", "sh", "-c", script).splitlines()
                self.assertEqual(lines[:4], ["container", "0", "0", "/usr"])
                limited = lines[4]
                lines = run(client, "exec", "-e", "A=1", "--env", "B=x y", "-e", "OF=exec", "-u", "33:44", "-w", "/tmp", "host", "sh", "-c",
                            script).splitlines()
                self.assertEqual(lines[:4], ["exec 1 x y", "33", "44", "/tmp"])
                lines = run(client, "exec", "--privileged", "host", "sh", "-c", script).splitlines()
                self.assertNotEqual(lines[4], limited)
                self.assertEqual(int(lines[4].split()[1], 16) & int(limited.split()[1], 16), int(limited.split()[1], 16))
                with open("/root/exec.env", "w", encoding="utf-8") as file:
                    file.write("# a comment\nFROM_FILE=yes\n")
                self.assertEqual(run(client, "exec", "--env-file", "/root/exec.env", "host", "sh", "-c", "echo $FROM_FILE"), "yes\n")

    def test_detached(self):
        for client in CLIENTS:
            with self.subTest(client):
                self.assertEqual(run(client, "exec", "-d", "host", "sh", "-c", f"echo {client} >/detached; exit 3"), "")
                wait_until(lambda: run("docker", "exec", "host", "cat", "/detached", status=None) == client + "\n", 30, "the file")

    def test_inspection(self):
        identifier = create_exec("host", "sh", "-c", "while [ ! -e /end ]; do sleep 0.1; done; exit 5", User="1:1", Tty=True, DetachKeys="ctrl-a")
        one = inspect(identifier)
        self.assertEqual((one["Running"], one["ExitCode"], one["Pid"]), (False, None, 0))
        self.assertEqual(start_detached(identifier).status, 200)
        one = inspect(identifier)
        self.assertEqual((one["Running"], one["ExitCode"]), (True, None))
        self.assertEqual(one["ProcessConfig"]["user"], "1:1")
        self.assertEqual(one["ProcessConfig"]["arguments"][0], "-c")
        self.assertTrue(one["ProcessConfig"]["tty"])
        with open(f"/proc/{one['Pid']}/status", encoding="ascii") as file:
            self.assertRegex(file.read(), r"Uid:\t1\t1\t1\t1")
        full = json.loads(run("docker", "inspect", "host"))[0]
        self.assertIn(identifier, full["ExecIDs"])
        self.assertEqual(full["Id"], one["ContainerID"])
        answer = start_detached(identifier)
        self.assertEqual((answer.status, answer.message()), (409, f"Error: Exec command {identifier} is already running"))
        kill_daemon()
        self.assertTrue(inspect(identifier)["Running"], "as the next daemon sees it")
        run("docker", "exec", "host", "touch", "/end")
        wait_until(lambda: not inspect(identifier)["Running"], 30, "its end")
        self.assertEqual(inspect(identifier)["ExitCode"], 5)
        answer = start_detached(identifier)
        self.assertEqual((answer.status, answer.message()), (409, f"Error: Exec command {identifier} has already run"))
        self.assertNotIn(identifier, json.loads(run("docker", "inspect", "host"))[0]["ExecIDs"] or [])

    def test_what_is_left_of_a_client_that_goes(self):
        """The program goes on, and writes to nobody."""
        with subprocess.Popen(["docker", "exec", "host", "sh", "-c", "echo up; trap '' PIPE; while [ ! -e /go ]; do echo more; sleep 0.1; done; "
                                                                     "echo over >/over"], stdout=subprocess.PIPE) as process:
            process.stdout.readline()
            process.kill()
        run("docker", "exec", "host", "touch", "/go")
        wait_until(lambda: run("docker", "exec", "host", "cat", "/over", status=None) == "over\n", 30, "the program's last word")

    def test_the_container_ends_it(self):
        for client in CLIENTS:
            with self.subTest(client):
                run("docker", "run", "-d", "--name", "short", "busybox", "sleep", "1000")
                with subprocess.Popen([client, "exec", "short", "sh", "-c", "echo up; sleep 1000"], stdout=subprocess.PIPE) as process:
                    process.stdout.readline()
                    run("docker", "kill", "short")
                    self.assertEqual(process.wait(60), 137)
                run("docker", "wait", "short")  # the end of its exec may be known a moment before its own
                run("docker", "rm", "short")


class Refusals(Case):
    """In one container of each engine's; what they say is compared, with IDs taken out."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        if not hosted.start_reference():
            raise unittest.SkipTest("no dockerd here")

    def both(self, *arguments):
        answers = []
        for server in (hosted.REFERENCE, hosted.BERTH):
            status, output, errors = attempt("docker", "-H", f"unix://{server}", *arguments)
            answers.append((status, output, re.sub(r"\b[0-9a-f]{64}\b", "ID", errors)))
        self.assertEqual(answers[0], answers[1], arguments)
        return answers[1]

    def prepare(self, *options):
        for server in (hosted.REFERENCE, hosted.BERTH):
            run("docker", "-H", f"unix://{server}", "rm", "-f", "victim", status=None)
            run("docker", "-H", f"unix://{server}", "run", "-d", "--name", "victim", *options, "busybox", "sleep", "1000")
        self.addCleanup(self.both, "rm", "-f", "victim")

    def test_states(self):
        self.prepare()
        self.both("pause", "victim")
        self.assertEqual(self.both("exec", "victim", "true")[0], 1)
        self.both("unpause", "victim")
        self.assertEqual(self.both("exec", "victim", "true")[0], 0)
        self.both("kill", "victim")
        self.both("wait", "victim")
        self.assertEqual(self.both("exec", "victim", "true")[0], 1)
        self.both("rm", "victim")
        self.assertEqual(self.both("exec", "victim", "true")[0], 1)

    def test_what_can_not_be_started(self):
        self.prepare()
        for arguments in (["nosuch"], ["/etc/passwd"], ["/tmp"], ["/nosuch/at/all"]):
            self.assertIn(self.both("exec", "victim", *arguments)[0], (126, 127), arguments)
        for arguments in (["-u", "nobodyatall"], ["-u", "0:nogroupatall"], ["-w", "relative"], ["-w", "/no/such/place"]):
            self.assertNotEqual(self.both("exec", *arguments, "victim", "true")[0], 0, arguments)

    def test_created_and_then_the_container_stops(self):
        self.prepare()
        answers = []
        for server in (hosted.REFERENCE, hosted.BERTH):
            made = call("POST", "/containers/victim/exec", {"Cmd": ["true"]}, server=server).json()["Id"]
            run("docker", "-H", f"unix://{server}", "pause", "victim")
            paused = call("POST", f"/exec/{made}/start", {"Detach": True}, server=server)
            run("docker", "-H", f"unix://{server}", "unpause", "victim")
            run("docker", "-H", f"unix://{server}", "kill", "victim")
            run("docker", "-H", f"unix://{server}", "wait", "victim")
            stopped = call("POST", f"/exec/{made}/start", {"Detach": True}, server=server)
            answers.append([(answer.status, re.sub(r"\b[0-9a-f]{64}\b", "ID", answer.message())) for answer in (paused, stopped)])
        self.assertEqual(*answers)


class Many(Case):
    def timed(self, what, job, number):
        """Each of them AT_ONCE at a time; prints what the slowest took beside the median."""
        def one(i):
            begin = time.monotonic()
            job(i)
            return time.monotonic() - begin
        with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
            took = list(pool.map(one, range(number)))
        middle, slowest = statistics.median(took), max(took)
        print(f"{what}, {number} at once: median {middle:.2f} s, slowest {slowest:.2f} s, {slowest / middle:.1f} times", flush=True)

    def test_execs(self):
        def attached(i):
            identifier = create_exec("host", "sh", "-c", f"echo {i}; exit {i % 100}")
            answer = call("POST", f"/exec/{identifier}/start", {"Detach": False})
            self.assertIn(f"{i}\n".encode(), answer.raw)
            wait_until(lambda: not inspect(identifier)["Running"], 60, "its end")
            self.assertEqual(inspect(identifier)["ExitCode"], i % 100)
        self.timed("execs", attached, MANY)
        wait_until(lambda: not zombies(), 10, f"the end of monitors: {zombies()}")

    def test_clients(self):
        def client(i):
            self.assertEqual(attempt(CLIENTS[i % 2], "exec", "host", "sh", "-c", f"echo {i}; exit {i % 100}"), (i % 100, f"{i}\n", ""))
        self.timed("exec by clients", client, MANY)

    def test_starts(self):
        names = [f"many-{i}" for i in range(MANY)]
        for name in names:
            body = {"Image": "busybox", "Cmd": ["sleep", "1000"], "HostConfig": {"NetworkMode": "none"}}
            self.assertEqual(call("POST", f"/containers/create?name={name}", body).status, 201)

        def start(i):
            self.assertEqual(call("POST", f"/containers/{names[i]}/start").status, 204)
        self.timed("starts", start, MANY)
        listed = call("GET", "/containers/json").json()
        self.assertEqual(len([one for one in listed if one["Names"][0].startswith("/many-") and one["State"] == "running"]), MANY)

        def remove(i):
            self.assertEqual(call("DELETE", f"/containers/{names[i]}?force=1").status, 204)
        self.timed("removals", remove, MANY)


class Raw(Case):
    def test_input_that_ends_at_once(self):
        """The half-close that comes with the request itself."""
        identifier = create_exec("host", "sh", "-c", "cat; echo over", AttachStdin=True)
        body = json.dumps({"Detach": False}).encode()
        raw = hosted.build("POST", f"/exec/{identifier}/start", body, ["Connection: Upgrade", "Upgrade: tcp"]) + b"early"
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(60)
            connection.connect(hosted.BERTH)
            connection.sendall(raw)
            connection.shutdown(socket.SHUT_WR)
            received = b""
            while data := connection.recv(65536):
                received += data
        self.assertIn(b"early", received)
        self.assertTrue(received.endswith(b"over\n"), received)


if __name__ == "__main__":
    unittest.main()
