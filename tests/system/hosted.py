# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the system tests share: commands, terminals, and the HTTP of tests/api/engine.py. All of it runs as root in a booted
test host, beside an installed Berth."""
import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time

import engine
from engine import Answer, build, send_raw, wait_until  # noqa: F401: for the tests

BERTH = "/run/berth.sock"
REFERENCE = "/run/dockerd.sock"
CONTAINERS = "/var/lib/berth/container"
RUNTIME = "/run/berth/container"
SLICE = "/sys/fs/cgroup/berth.slice"

# In the background of a shell it is ignored, and so it would be by every client that is started here.
signal.signal(signal.SIGINT, signal.default_int_handler)


def run(*command, status=0, data=None, timeout=60, text=True):
    """The output of a command, which has to end with STATUS (None: any)."""
    result = subprocess.run(command, input=data, capture_output=True, timeout=timeout)
    if status is not None and result.returncode != status:
        raise AssertionError(f"{command}: exit {result.returncode}, {result.stdout[-2000:]!r} {result.stderr[-2000:]!r}")
    return result.stdout.decode(errors="replace") if text else result.stdout


def daemon_pid():
    return run("systemctl", "show", "-P", "MainPID", "berth.service").strip()


def processes(group):
    try:
        with open(group + "/cgroup.procs", encoding="ascii") as file:
            return [int(line) for line in file]
    except OSError:
        return []


def holds_scope(pid):
    """It waits in a scope that was made ahead, for the next container."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return b"--hold-scope" in file.read().split(b"\0")
    except OSError:
        return False


def all_scopes():
    try:
        return sorted(name for name in os.listdir(SLICE) if name.endswith(".scope"))
    except FileNotFoundError:
        return []


def spare_scopes():
    """Those that wait for a container."""
    return [name for name in all_scopes()
            if any(holds_scope(pid) for pid in processes(f"{SLICE}/{name}") + processes(f"{SLICE}/{name}/monitor"))]


def scopes():
    """Those of containers."""
    spare = spare_scopes()
    return [name for name in all_scopes() if name not in spare]


def call(method, path, body=b"", headers=(), server=BERTH):
    return engine.call(method, path, body, headers, server)


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


def store_rests(root="/var/lib/berth"):
    """Nothing is on its way into the store or out of it."""
    return not os.path.exists(f"{root}/image/removals") and os.listdir(f"{root}/staging") == []


def load_images():
    for name in ("busybox", "debian"):
        if os.path.exists(f"/root/{name}.tar"):
            run("berth", "load", "-i", f"/root/{name}.tar")


def remove_all(server="/run/docker.sock"):
    for name in run("docker", "-H", f"unix://{server}", "ps", "-aq").split():
        run("docker", "-H", f"unix://{server}", "rm", "-f", name)


def start_reference():
    """dockerd with busybox in it, once a host. False where the host has none."""
    if not os.path.exists("/usr/sbin/dockerd"):
        return False
    docker = ("docker", "-H", f"unix://{REFERENCE}")
    if not os.path.exists(REFERENCE):
        run("systemd-run", "--quiet", "--collect", "--unit=reference-dockerd", "dockerd", "-H", f"unix://{REFERENCE}")
        wait_until(lambda: subprocess.run([*docker, "info"], capture_output=True, check=False).returncode == 0, 60, "dockerd", 0.2)
    run(*docker, "load", "-i", "/root/busybox.tar")
    return True
