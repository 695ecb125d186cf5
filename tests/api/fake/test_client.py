#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the berth client does with terminals, signals, detaching, a daemon that goes away, large streams and hostile
answers, against the fake daemon. BERTH names the program."""
import base64
import fcntl
import io
import json
import os
import pathlib
import pty
import select
import signal
import socket
import struct
import subprocess
import tarfile
import tempfile
import termios
import threading
import time
import unittest

import fake_daemon

BERTH = os.environ.get("BERTH", str(pathlib.Path(__file__).resolve().parents[3] / "build/berth"))


class Terminal:
    """A child on a pseudo-terminal of its own."""

    def __init__(self, words, environment, rows=40, columns=100):
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.before = termios.tcgetattr(slave)
        self.slave = slave
        self.child = subprocess.Popen(words, stdin=slave, stdout=slave, stderr=slave, env=environment,
                                      start_new_session=True,
                                      preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))
        self.output = b""

    def read_until(self, text, timeout=10):
        deadline = time.time() + timeout
        while text not in self.output and time.time() < deadline:
            if select.select([self.master], [], [], 0.1)[0]:
                self.output += os.read(self.master, 65536)
        return text in self.output

    def write(self, data):
        os.write(self.master, data)

    def resize(self, rows, columns):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def raw(self):
        return not termios.tcgetattr(self.slave)[3] & termios.ICANON

    def restored(self):
        return termios.tcgetattr(self.slave) == self.before

    def close(self):
        self.child.kill()
        self.child.wait()
        os.close(self.master)
        os.close(self.slave)


def setUpModule():
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell that runs this in the background has it ignored


class ClientTest(unittest.TestCase):
    def setUp(self):
        self.directory = tempfile.TemporaryDirectory()
        path = f"{self.directory.name}/fake.sock"
        self.server = fake_daemon.serve(path)
        self.environment = dict(os.environ, BERTH_HOST="unix://" + path, DOCKER_CONFIG=self.directory.name + "/config")

    def tearDown(self):
        self.server.shutdown()
        self.server.server_close()
        self.directory.cleanup()

    def berth(self, *words, **options):
        return subprocess.run([BERTH, *words], env=self.environment, capture_output=True, timeout=30, **options)

    def terminal(self, *words, **options):
        terminal = Terminal([BERTH, *words], self.environment, **options)
        self.addCleanup(terminal.close)
        return terminal

    def requests(self, end):
        return [request for request in self.server.engine.requests if request[1].endswith(end)]

    # --- streams ---
    def test_large_output_is_whole(self):
        done = self.berth("run", "busybox", "big", "50000000")
        self.assertEqual((done.returncode, len(done.stdout), done.stderr), (0, 50000000, b""))

    def test_large_input_comes_back(self):
        data = os.urandom(1 << 20) * 16
        done = self.berth("run", "-i", "busybox", "cat", input=data)
        self.assertEqual(done.returncode, 0)
        self.assertTrue(done.stdout == data)

    def test_closed_output_ends_quietly(self):
        child = subprocess.Popen([BERTH, "run", "busybox", "big", "50000000"], env=self.environment,
                                 stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        child.stdout.read(1000)
        child.stdout.close()
        self.assertNotEqual(child.wait(10), 125)
        self.assertNotIn(b"Error", child.stderr.read())
        child.stderr.close()

    def test_load_streams_a_large_file(self):
        path = pathlib.Path(self.directory.name, "image.tar")
        with open(path, "wb") as file:
            file.truncate(300 << 20)
        done = self.berth("load", "-i", str(path))
        self.assertEqual((done.returncode, done.stdout), (0, b"Loaded image: busybox:latest\n"))
        self.assertEqual(self.requests("/images/load")[0][3], {"bytes": 300 << 20})

    def test_load_refuses_a_terminal(self):
        terminal = self.terminal("load")
        self.assertTrue(terminal.read_until(b"requested load from stdin, but stdin is empty"))
        self.assertEqual(terminal.child.wait(5), 1)

    # --- terminals ---
    def test_terminal_is_raw_and_restored(self):
        terminal = self.terminal("run", "-it", "busybox", "cat")
        time.sleep(0.5)
        self.assertTrue(terminal.raw())
        terminal.write(b"hello\x03")
        self.assertTrue(terminal.read_until(b"hello\x03"))
        terminal.write(b"\x10\x11")
        self.assertTrue(terminal.read_until(b"read escape sequence"))
        self.assertEqual(terminal.child.wait(5), 0)
        self.assertTrue(terminal.restored())

    def test_detach_keys_reach_the_daemon(self):
        terminal = self.terminal("run", "-it", "--detach-keys", "ctrl-x,x", "busybox", "cat")
        time.sleep(0.5)
        self.assertIn(("detachKeys", "ctrl-x,x"), self.requests("/attach")[0][2])
        terminal.write(b"\x10\x11abc")
        self.server.engine.find("1".zfill(64)).detach_keys = b"\x18x"
        terminal.write(b"\x18x")
        self.assertTrue(terminal.read_until(b"read escape sequence"))
        self.assertEqual(terminal.child.wait(5), 0)

    def test_size_at_start_and_on_change(self):
        terminal = self.terminal("run", "-it", "busybox", "cat", rows=33, columns=77)
        time.sleep(0.5)
        container = self.server.engine.find("1".zfill(64))
        self.assertEqual(container.body["HostConfig"]["ConsoleSize"], [33, 77])
        self.assertEqual(container.resized, [[33, 77]])
        terminal.resize(20, 60)
        deadline = time.time() + 5
        while len(container.resized) < 2 and time.time() < deadline:
            time.sleep(0.01)
        self.assertEqual(container.resized[-1], [20, 60])

    def test_terminal_is_restored_when_killed(self):
        for extra in ([], ["--sig-proxy=false"]):
            terminal = self.terminal("run", "-it", *extra, "busybox", "cat")
            time.sleep(0.5)
            self.assertTrue(terminal.raw())
            terminal.child.send_signal(signal.SIGTERM)
            if not extra:
                time.sleep(0.3)
                self.assertIn(("signal", "TERM"), self.requests("/kill")[0][2])
                self.assertTrue(terminal.raw())
                terminal.write(b"\x10\x11")
            self.assertEqual(terminal.child.wait(5), -signal.SIGTERM if extra else 0)
            self.assertTrue(terminal.restored())

    def test_terminal_is_restored_when_the_stream_breaks(self):
        terminal = self.terminal("run", "-it", "busybox", "cat")
        time.sleep(0.5)
        container = self.server.engine.find("1".zfill(64))
        container.status = 0
        container.stream.shutdown(socket.SHUT_RDWR)
        container.ended.set()
        terminal.child.wait(5)
        self.assertTrue(terminal.restored())

    def test_eof_of_input_is_passed_on(self):
        done = self.berth("run", "-i", "busybox", "cat", input=b"")
        self.assertEqual((done.returncode, done.stdout), (0, b""))

    # --- signals and status ---
    def test_signal_is_passed_on(self):
        child = subprocess.Popen([BERTH, "run", "busybox", "signal"], env=self.environment, stdout=subprocess.PIPE)
        self.assertEqual(child.stdout.readline(), b"ready\n")
        child.send_signal(signal.SIGINT)
        self.assertEqual(child.stdout.readline(), b"INT\n")
        self.assertEqual(child.wait(5), 143)
        child.stdout.close()

    def test_signal_without_proxy_ends_the_client(self):
        child = subprocess.Popen([BERTH, "run", "--sig-proxy=false", "busybox", "signal"], env=self.environment,
                                 stdout=subprocess.PIPE)
        self.assertEqual(child.stdout.readline(), b"ready\n")
        child.send_signal(signal.SIGINT)
        self.assertEqual(child.wait(5), -signal.SIGINT)
        child.stdout.close()

    def test_wait_survives_a_broken_connection(self):
        done = self.berth("run", "busybox", "drop")
        self.assertEqual((done.returncode, done.stdout, done.stderr), (7, b"still here\n", b""))
        self.assertEqual([dict(request[2])["condition"] for request in self.requests("/wait")],
                         ["next-exit", "not-running"])

    def test_wait_tells_that_the_container_is_gone(self):
        done = self.berth("run", "--rm", "busybox", "gone")
        self.assertEqual((done.returncode, done.stdout), (125, b"still here\n"))
        self.assertIn(b"the container is gone", done.stderr)

    def test_many_containers_at_a_time(self):
        names = [f"c{i}" for i in range(120)]
        done = self.berth("rm", "-f", *names)
        self.assertEqual((done.returncode, done.stdout.decode().split()), (0, names))

    # --- hosts and hostile daemons ---
    def test_no_daemon(self):
        for words, status in ((["ps"], 1), (["run", "x"], 125), (["load", "-i", "/dev/null"], 1), (["rm", "a"], 1)):
            done = subprocess.run([BERTH, "-H", "unix:///nonexistent/x.sock", *words], capture_output=True, timeout=10)
            self.assertEqual(done.returncode, status, words)
            self.assertIn(b"Cannot connect to the Berth daemon at unix:///nonexistent/x.sock", done.stderr)

    def test_host_order(self):
        environment = dict(self.environment, DOCKER_HOST="unix:///nonexistent/y")
        done = subprocess.run([BERTH, "ps", "-q"], env=environment, capture_output=True, timeout=10)
        self.assertEqual(done.returncode, 0)
        environment = dict(environment, DOCKER_HOST=environment["BERTH_HOST"], BERTH_HOST="")
        done = subprocess.run([BERTH, "ps", "-q"], env=environment, capture_output=True, timeout=10)
        self.assertEqual(done.returncode, 0)
        done = subprocess.run([BERTH, "-H", "tcp://x:1", "ps"], capture_output=True, timeout=10)
        self.assertEqual(done.returncode, 1)

    def answer_with(self, data, *words):
        path = f"{self.directory.name}/raw.sock"
        pathlib.Path(path).unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path)
            listener.listen()

            def serve():
                while True:
                    try:
                        connection, _ = listener.accept()
                    except OSError:
                        return
                    with connection:
                        connection.recv(65536)
                        connection.sendall(data)
            threading.Thread(target=serve, daemon=True).start()
            done = subprocess.run([BERTH, *words], env=dict(self.environment, BERTH_HOST="unix://" + path),
                                  capture_output=True, timeout=10)
            listener.shutdown(socket.SHUT_RDWR)
        return done

    def test_nonsense_is_refused(self):
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
        upgraded = b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
        self.assertEqual(self.answer_with(b"SSH-2.0-nonsense\r\n", "ps").returncode, 1)
        self.assertEqual(self.answer_with(b"", "ps").returncode, 1)
        self.assertEqual(self.answer_with(head + b"Content-Length: 10\r\n\r\n[", "ps").returncode, 1)
        for body in (b"", b"null", b"{}", b"[1,null,{}]", b"[{\"Names\":3,\"Ports\":[null],\"Created\":\"x\"}]",
                     b"[{\"Ports\":[{\"IP\":5}],\"Labels\":{\"a\":1}}]"):
            answer = head + b"Content-Length: %d\r\n\r\n" % len(body) + body
            for words in (["ps", "-a"], ["images"], ["inspect", "x"], ["version"], ["info"], ["wait", "x"],
                          ["ps", "--format", "json"], ["run", "x"], ["logs", "x"], ["attach", "x"], ["history", "x"],
                          ["search", "x"], ["stats", "--no-stream", "x"], ["events"], ["top", "x"], ["port", "x"],
                          ["diff", "x"], ["system", "df"], ["system", "df", "-v"], ["network", "ls"], ["volume", "ls"],
                          ["pull", "x"], ["push", "x"], ["exec", "x", "y"], ["cp", "x:/y", self.directory.name],
                          ["commit", "x"], ["update", "-m", "5m", "x"], ["system", "prune", "-f"]):
                done = self.answer_with(answer, *words)
                self.assertIn(done.returncode, (0, 1, 125), (body, words, done.stderr))
        for stream in (b"\x09\0\0\0\0\0\0\x04abcd", b"\x01\0\0\0\xff\xff\xff\xffabc", b"\x01\0"):
            done = self.answer_with(upgraded + stream, "run", "x")
            self.assertEqual(done.returncode, 125)

    def test_errors_without_json(self):
        done = self.answer_with(b"HTTP/1.1 500 Oops\r\nContent-Length: 4\r\n\r\nboom", "ps")
        self.assertEqual(done.stderr, b"Error response from daemon: boom (status 500)\n")

    def test_upload_stops_at_a_refusal(self):
        path = pathlib.Path(self.directory.name, "image.tar")
        with open(path, "wb") as file:
            file.truncate(1 << 30)
        done = self.answer_with(b"HTTP/1.1 403 No\r\nContent-Type: application/json\r\nContent-Length: 20\r\n\r\n"
                                b'{"message":"denied"}', "load", "-i", str(path))
        self.assertEqual((done.returncode, done.stderr), (1, b"Error response from daemon: denied\n"))

    # --- terminals of exec, login, pull and stats ---
    def test_exec_gets_the_size(self):
        terminal = self.terminal("exec", "-it", "web", "tty", rows=33, columns=77)
        self.assertTrue(terminal.read_until(b"[[33, 77]]"), terminal.output)
        self.assertEqual(terminal.child.wait(10), 0)
        self.assertTrue(terminal.restored())

    def test_password_is_not_shown(self):
        terminal = self.terminal("login", "reg.example.com")
        self.assertTrue(terminal.read_until(b"Username: "))
        terminal.write(b"me\n")
        self.assertTrue(terminal.read_until(b"Password: "))
        self.assertFalse(termios.tcgetattr(terminal.slave)[3] & termios.ECHO)
        terminal.write(b"hush\n")
        self.assertTrue(terminal.read_until(b"Login Succeeded"), terminal.output)
        self.assertEqual(terminal.child.wait(10), 0)
        self.assertNotIn(b"hush", terminal.output)
        self.assertTrue(terminal.restored())
        self.assertEqual(self.requests("/auth")[0][3]["password"], "hush")
        config = pathlib.Path(self.environment["DOCKER_CONFIG"], "config.json")
        self.assertEqual(config.stat().st_mode & 0o777, 0o600)

    def test_interrupted_password_restores_the_terminal(self):
        terminal = self.terminal("login", "-u", "me", "reg.example.com")
        self.assertTrue(terminal.read_until(b"Password: "))
        terminal.write(b"\x03")
        self.assertEqual(terminal.child.wait(10), -signal.SIGINT)
        self.assertTrue(terminal.restored())

    def test_login_keeps_what_it_does_not_know(self):
        config = pathlib.Path(self.environment["DOCKER_CONFIG"], "config.json")
        config.parent.mkdir(exist_ok=True)
        config.write_text('{"strange":{"a":[1]},"auths":{"old.example.com":{"auth":"eDp5","email":"e"}}}')
        self.berth("login", "-u", "me", "-p", "secret", "reg.example.com")
        value = json.loads(config.read_text())
        self.assertEqual(value["strange"], {"a": [1]})
        self.assertEqual(value["auths"]["old.example.com"], {"auth": "eDp5", "email": "e"})
        self.assertEqual(value["auths"]["reg.example.com"], {"auth": "bWU6c2VjcmV0"})

    def test_defaults_of_the_config(self):
        config = pathlib.Path(self.environment["DOCKER_CONFIG"], "config.json")
        config.parent.mkdir(exist_ok=True)
        config.write_text(json.dumps({
            "psFormat": "{{.Names}}", "imagesFormat": "i {{.Tag}}", "networksFormat": "n {{.Name}}", "volumesFormat": "v {{.Name}}",
            "statsFormat": "s {{.Name}}", "detachKeys": "ctrl-x,x",
            "proxies": {"default": {"httpProxy": "http://p:1", "noProxy": "a,b"}}}))
        self.assertEqual(self.berth("ps").stdout.splitlines()[0], b"web")
        self.assertRegex(self.berth("ps", "-q").stdout, rb"^[0-9a-f]{12}\n")
        self.assertEqual(self.berth("ps", "--format", "x").stdout.splitlines()[0], b"x")
        self.assertEqual(self.berth("network", "ls").stdout, b"n net9\nn net10\n")
        self.assertEqual(self.berth("volume", "ls").stdout, b"v v9\nv v10\n")
        self.assertEqual(self.berth("images").stdout.splitlines()[0], b"i latest")
        self.assertEqual(self.berth("stats", "--no-stream", "web").stdout, b"s web\n")
        self.berth("run", "-e", "http_proxy=mine", "busybox", "exit", "0")
        self.assertEqual(self.requests("/containers/create")[0][3]["Env"],
                         ["http_proxy=mine", "HTTP_PROXY=http://p:1", "NO_PROXY=a,b", "no_proxy=a,b"])
        self.assertIn(("detachKeys", "ctrl-x,x"), self.requests("/attach")[0][2])
        self.berth("exec", "web", "exit", "0")
        self.assertEqual(self.requests("/exec")[0][3]["DetachKeys"], "ctrl-x,x")

    def test_broken_config_is_not_overwritten(self):
        config = pathlib.Path(self.environment["DOCKER_CONFIG"], "config.json")
        config.parent.mkdir(exist_ok=True)
        config.write_text('{"auths":')
        done = self.berth("login", "-u", "me", "-p", "secret", "reg.example.com")
        self.assertEqual(done.returncode, 1)
        self.assertEqual(config.read_text(), '{"auths":')

    def test_bars_fit_a_narrow_terminal(self):
        terminal = self.terminal("pull", "pullable", rows=10, columns=30)
        self.assertTrue(terminal.read_until(b"docker.io/library/pullable:latest"), terminal.output)
        self.assertEqual(terminal.child.wait(10), 0)
        self.assertIn(b"0123456789ab: Pull complete", terminal.output)
        for line in terminal.output.split(b"\r\n"):
            if b"0123456789ab" in line:
                self.assertLess(len(line.split(b"\033[K")[0].split(b"\r")[-1]), 30, line)

    def test_stats_are_renewed(self):
        terminal = self.terminal("stats", "web")
        self.assertTrue(terminal.read_until(b"4.00%"), terminal.output)
        self.assertIn(b"\033[2J", terminal.output)

    # --- archives of cp ---
    def copy_out(self, *entries):
        """What `cp` makes of an archive with such (name, type, link) in a fresh directory; its parent holds "outside"."""
        data = io.BytesIO()
        with tarfile.open(fileobj=data, mode="w") as archive:
            for name, kind, link in entries:
                info = tarfile.TarInfo(name)
                info.type, info.linkname, info.size = kind, link, 4 if kind == tarfile.REGTYPE else 0
                archive.addfile(info, io.BytesIO(b"evil"))
        stat = base64.b64encode(json.dumps({"name": "x", "mode": 1 << 31 | 0o755}).encode())
        target = pathlib.Path(self.directory.name, "target")
        target.mkdir()
        pathlib.Path(self.directory.name, "outside").write_text("good")
        done = self.answer_with(b"HTTP/1.1 200 OK\r\nX-Docker-Container-Path-Stat: " + stat + b"\r\nContent-Length: %d\r\n"
                                b"\r\n" % len(data.getvalue()) + data.getvalue(), "cp", "web:/x", str(target))
        self.assertEqual(pathlib.Path(self.directory.name, "outside").read_text(), "good")
        return done, target

    def test_archive_cannot_go_up(self):
        done, _ = self.copy_out(("x", tarfile.DIRTYPE, ""), ("x/../../outside", tarfile.REGTYPE, ""))
        self.assertEqual(done.returncode, 1)

    def test_archive_cannot_write_through_a_link(self):
        done, target = self.copy_out(("x", tarfile.DIRTYPE, ""), ("x/link", tarfile.SYMTYPE, "../.."),
                                     ("x/link/outside", tarfile.REGTYPE, ""))
        self.assertEqual(done.returncode, 1)
        self.assertTrue((target / "x/link").is_symlink())

    def test_archive_cannot_link_to_the_outside(self):
        done, _ = self.copy_out(("x", tarfile.DIRTYPE, ""), ("x/hard", tarfile.LNKTYPE, "../outside"))
        self.assertEqual(done.returncode, 1)

    def test_link_at_the_name_of_a_file_is_replaced(self):
        done, target = self.copy_out(("x", tarfile.DIRTYPE, ""), ("x/a", tarfile.SYMTYPE, "../../outside"),
                                     ("x/a", tarfile.REGTYPE, ""))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertFalse((target / "x/a").is_symlink())
        self.assertEqual((target / "x/a").read_text(), "evil")

    def test_absolute_paths_stay_inside(self):
        done, target = self.copy_out(("/x", tarfile.DIRTYPE, ""), ("/x/file", tarfile.REGTYPE, ""))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual((target / "x/file").read_text(), "evil")

    def test_cut_off_archive_is_a_failure(self):
        done = self.answer_with(b"HTTP/1.1 200 OK\r\nX-Docker-Container-Path-Stat: " +
                                base64.b64encode(b'{"mode":420}') + b"\r\nContent-Length: 3\r\n\r\nabc", "cp", "web:/x",
                                self.directory.name)
        self.assertEqual(done.returncode, 1)


if __name__ == "__main__":
    unittest.main()
