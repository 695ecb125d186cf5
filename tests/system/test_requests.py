#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What clients that are slow, cut off or too large cost Berth's daemon: nothing. tests/api/test_errors.py has the requests
that every engine has to refuse."""
import socket
import time
import unittest

import hosted
from hosted import build


class Requests(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        hosted.remove_all()

    @classmethod
    def tearDownClass(cls):
        hosted.remove_all()

    def setUp(self):
        self.assertEqual(hosted.call("GET", "/_ping").status, 200)
        self.pid = hosted.daemon_pid()

    def tearDown(self):
        self.assertEqual(hosted.call("GET", "/_ping").body, b"OK")
        self.assertEqual(hosted.daemon_pid(), self.pid, "the daemon is another one now")

    def test_too_large_is_refused_unsent(self):
        raw = build("POST", "/containers/create", b"", ("Expect: 100-continue", "Content-Length: 99000000"))
        self.assertTrue(hosted.send_raw(hosted.BERTH, raw).startswith(b"HTTP/1.1 413"))

    def test_cut_off(self):
        """A client that goes in the middle gets nothing, and costs nothing."""
        raw = build("POST", "/containers/create", b'{"Image": "nosuch"}')
        for size in range(0, len(raw), 7):
            self.assertEqual(hosted.send_raw(hosted.BERTH, raw[:size], half_close=True), b"", raw[:size])

    def test_many_slow_clients(self):
        """500 clients that stop in the middle of a request keep nobody else from being served."""
        slow = []
        for _ in range(500):
            connection = socket.socket(socket.AF_UNIX)
            connection.connect(hosted.BERTH)
            connection.sendall(b"POST /containers/create HTTP/1.1\r\nContent-Length: 100\r\n\r\n{")
            slow.append(connection)
        start = time.monotonic()
        self.assertEqual(hosted.call("GET", "/containers/json").status, 200)
        self.assertLess(time.monotonic() - start, 1)
        for connection in slow:
            connection.close()


if __name__ == "__main__":
    unittest.main()
