# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the system tests share: commands, raw HTTP over a unix socket, dockerd as a reference. All of it runs as root in a
booted test host, beside an installed Berth."""
import fcntl
import json
import os
import pty
import select
import signal
import socket
import struct
import subprocess
import termios
import time

BERTH = "/run/berth.sock"
REFERENCE = os.environ.get("REFERENCE_SOCKET", "/run/dockerd.sock")
CONTAINERS = "/var/lib/berth/container"
RUNTIME = "/run/berth/container"
SLICE = "/sys/fs/cgroup/berth.slice"


def run(*command, status=0, data=None, timeout=60, text=True):
    """The output of a command, which has to end with STATUS (None: any)."""
    result = subprocess.run(command, input=data, capture_output=True, timeout=timeout)
    if status is not None and result.returncode != status:
        raise AssertionError(f"{command}: exit {result.returncode}, {result.stdout[-2000:]!r} {result.stderr[-2000:]!r}")
    return result.stdout.decode(errors="replace") if text else result.stdout


def daemon_pid():
    return run("systemctl", "show", "-P", "MainPID", "berth.service").strip()


def wait_until(condition, seconds=10, what="the condition", pause=0.02):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"after {seconds} s: not {what}")
        time.sleep(pause)


class Answer:
    """One HTTP answer. The status is 0 where the server closed the connection without one."""

    def __init__(self, data):
        head, _, self.body = data.partition(b"\r\n\r\n")
        words = head.split(b"\r\n")[0].split(b" ", 2)
        self.raw = data
        self.head = head.decode("latin-1")
        self.status = int(words[1]) if words[0].startswith(b"HTTP/1.") and len(words) > 1 and words[1].isdigit() else 0
        if "transfer-encoding: chunked" in self.head.lower():
            self.body = unchunk(self.body)

    def json(self):
        return json.loads(self.body)

    def message(self):
        """An error's text, which has to be JSON of the documented shape."""
        value = self.json()
        assert isinstance(value, dict) and isinstance(value.get("message"), str) and value["message"], value
        return value["message"]


def unchunk(data):
    plain = b""
    while data:
        size, _, data = data.partition(b"\r\n")
        length = int(size.split(b";")[0], 16)
        if length == 0:
            break
        plain += data[:length]
        data = data[length + 2:]
    return plain


def send_raw(path, raw, seconds=8, half_close=False):
    """Sends bytes, or pieces with pauses between them, and reads until the server closes."""
    pieces = [raw] if isinstance(raw, bytes) else raw
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(seconds)
        connection.connect(path)
        try:
            for piece in pieces:
                if isinstance(piece, float):
                    time.sleep(piece)
                else:
                    connection.sendall(piece)
            if half_close:
                connection.shutdown(socket.SHUT_WR)
        except (BrokenPipeError, ConnectionResetError):
            pass  # refused early: the answer is there to read
        received = b""
        try:
            while data := connection.recv(65536):
                received += data
        except ConnectionResetError:
            pass
        return received


def build(method, path, body=b"", headers=(), version="HTTP/1.1"):
    """A request of one exchange, with what HEADERS does not say itself."""
    if not isinstance(body, bytes):
        body = json.dumps(body).encode()
    names = [header.split(":")[0].lower() for header in headers]
    lines = [f"{method} {path} {version}", *headers]
    if "host" not in names:
        lines.append("Host: d")
    if "connection" not in names:
        lines.append("Connection: close")
    if body and "content-type" not in names:
        lines.append("Content-Type: application/json")
    if "content-length" not in names and "transfer-encoding" not in names and (body or method == "POST"):
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def call(method, path, body=b"", headers=(), server=BERTH):
    return Answer(send_raw(server, build(method, path, body, headers)))


class Terminal:
    """A client on a pseudo-terminal, driven like a person would."""

    def __init__(self, *command):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execvp(command[0], command)
        self.seen = b""

    def type(self, text):
        os.write(self.fd, text.encode())

    def resize(self, rows, columns):
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        os.kill(self.pid, signal.SIGWINCH)

    def expect(self, text, seconds=15):
        end = time.monotonic() + seconds
        while text.encode() not in self.seen:
            left = end - time.monotonic()
            if left <= 0 or not select.select([self.fd], [], [], left)[0]:
                raise AssertionError(f"no {text!r} in {self.seen!r}")
            try:
                self.seen += os.read(self.fd, 65536)
            except OSError:
                raise AssertionError(f"ended without {text!r}: {self.seen!r}") from None
        self.seen = self.seen.split(text.encode(), 1)[1]

    def status(self):
        end = time.monotonic() + 15
        while time.monotonic() < end:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                os.close(self.fd)
                return os.waitstatus_to_exitcode(status)
            if select.select([self.fd], [], [], 0.05)[0]:
                try:
                    os.read(self.fd, 65536)
                except OSError:
                    pass
        raise AssertionError("the client does not end")


def load_images():
    for name in ("busybox", "debian"):
        if os.path.exists(f"/root/{name}.tar"):
            run("berth", "load", "-i", f"/root/{name}.tar")


def start_reference():
    """Starts dockerd, once a host, with busybox in it. False where the host has none."""
    if not os.path.exists("/usr/sbin/dockerd"):
        return False

    def answers():
        try:
            return call("GET", "/_ping", server=REFERENCE).status == 200
        except OSError:
            return False

    if not answers():
        run("systemd-run", "--quiet", "--collect", "--unit=reference-dockerd", "dockerd", "-H", f"unix://{REFERENCE}")
        wait_until(answers, 60, "an answer of dockerd's", 0.1)
    run("docker", "-H", f"unix://{REFERENCE}", "load", "-i", "/root/busybox.tar")
    return True


def remove_all(server="/run/docker.sock"):
    for name in run("docker", "-H", f"unix://{server}", "ps", "-aq").split():
        run("docker", "-H", f"unix://{server}", "rm", "-f", name)
