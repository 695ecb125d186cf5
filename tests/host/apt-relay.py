#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Lets apt in a test host that has no network reach the archives of the machine outside.

Usage: apt-relay.py PID PORT URI...

The listening socket is made in the network namespace of PID, on its loopback; connections go out from the network
namespace this program was started in. Nothing listens outside. Only addresses below the given URIs are fetched. Goes to
the background once it listens, prints its pid, and ends when PID does.
"""

import ctypes
import http.server
import os
import select
import socket
import sys
import threading
import urllib.error
import urllib.parse
import urllib.request

CLONE_NEWNET = 0x40000000
PASSED_ON = ("If-Modified-Since", "If-Range", "Range", "User-Agent", "Cache-Control")
PASSED_BACK = ("Content-Length", "Content-Type", "Content-Range", "Last-Modified", "Accept-Ranges", "ETag", "Location")


def enter_network(descriptor):
    if ctypes.CDLL(None, use_errno=True).setns(descriptor, CLONE_NEWNET) != 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))


def listen_in(pid, port):
    """A socket stays in the namespace it was made in, whatever becomes of the thread that made it."""
    own = os.open("/proc/self/ns/net", os.O_RDONLY)
    other = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY)
    enter_network(other)
    try:
        return socket.create_server(("127.0.0.1", port))
    finally:
        enter_network(own)
        os.close(own)
        os.close(other)


def go_to_background():
    child = os.fork()
    if child:
        print(child, flush=True)
        os._exit(0)
    os.setsid()
    null = os.open("/dev/null", os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)


def end_with(pidfd):
    select.select([pidfd], [], [])
    os._exit(0)


class Relay(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    allowed = ()

    def log_message(self, *_):
        pass

    def do_GET(self):
        if not any(self.path.startswith(uri) for uri in self.allowed):
            self.send_error(403, "not one of this machine's apt archives")
            return
        headers = {name: self.headers[name] for name in PASSED_ON if name in self.headers}
        try:
            answer = urllib.request.urlopen(urllib.request.Request(self.path, headers=headers), timeout=60)
        except urllib.error.HTTPError as error:
            answer = error
        except OSError as error:
            self.send_error(502, str(error))
            return
        with answer:
            self.pass_back(answer)

    def pass_back(self, answer):
        self.send_response(answer.status)
        for name in PASSED_BACK:
            if name in answer.headers:
                self.send_header(name, answer.headers[name])
        if "Content-Length" not in answer.headers and answer.status not in (204, 304):
            self.send_header("Connection", "close")
            self.close_connection = True
        self.end_headers()
        while chunk := answer.read(1 << 16):
            self.wfile.write(chunk)

    def do_CONNECT(self):
        """For archives that are reached by https: the bytes are the business of both ends."""
        host, _, port = self.path.rpartition(":")
        if host not in {urllib.parse.urlsplit(uri).hostname for uri in self.allowed if uri.startswith("https:")}:
            self.send_error(403, "not one of this machine's apt archives")
            return
        try:
            upstream = socket.create_connection((host, int(port)), timeout=60)
        except OSError as error:
            self.send_error(502, str(error))
            return
        self.send_response(200)
        self.end_headers()
        self.close_connection = True
        with upstream:
            copier = threading.Thread(target=copy, args=(upstream, self.connection), daemon=True)
            copier.start()
            copy(self.connection, upstream)
            copier.join()


def copy(source, target):
    try:
        while data := source.recv(1 << 16):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def main():
    pid, port, allowed = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
    pidfd = os.pidfd_open(pid)
    listener = listen_in(pid, port)
    go_to_background()
    Relay.allowed = tuple(uri.rstrip("/") + "/" for uri in allowed)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Relay, bind_and_activate=False)
    server.socket.close()
    server.socket = listener
    threading.Thread(target=end_with, args=(pidfd,), daemon=True).start()
    server.serve_forever()


if __name__ == "__main__":
    main()
