#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Logs in files: what is told of them, what is read back, and what is refused."""
import calendar
import time

import engine
from engine import Case, call, create, inspect, run, streams, succeed

TALK = "echo one; echo err >&2; head -c 20000 /dev/zero | tr '\\0' x; echo; sleep 1.1; echo three; printf unfinished"
LONG = b"x" * 20000
DRIVERS = {"json-file": {}, "local": {}}
TURNING = {"json-file": {"max-size": "50k", "max-file": "3", "compress": "true"}, "local": {"max-size": "50k", "max-file": "3"}}


def log_config(driver, **options):
    return {"LogConfig": {"Type": driver, "Config": options}}


def moment(stamp):
    """As queries have it: seconds and nanoseconds."""
    seconds, fraction = stamp.rstrip("Z").split(".")
    return f"{calendar.timegm(time.strptime(seconds, '%Y-%m-%dT%H:%M:%S'))}.{fraction:0<9}"


def logs(identifier, **query):
    answer = call("GET", f"/containers/{identifier}/logs", **{"stdout": 1, "stderr": 1, **query})
    assert answer.status == 200, answer.body
    return streams(answer.body)


class LogDrivers(Case):
    def test_read_back(self):
        for driver in DRIVERS:
            with self.subTest(driver):
                identifier = run("sh", "-c", TALK, host=log_config(driver))
                self.assertEqual(logs(identifier), (b"one\n" + LONG + b"\nthree\nunfinished", b"err\n"))
                self.assertEqual(logs(identifier, stdout=0), (b"", b"err\n"))
                self.assertEqual(logs(identifier, tail=1), (b"unfinished", b""))
                self.assertEqual(logs(identifier, tail=2), (b"three\nunfinished", b""))
                self.assertEqual(logs(identifier, tail=0), (b"", b""))
                self.assertEqual(logs(identifier, follow=1), logs(identifier))

    def test_times(self):
        for driver in DRIVERS:
            with self.subTest(driver):
                identifier = run("sh", "-c", TALK, host=log_config(driver))
                lines = logs(identifier, timestamps=1)[0].splitlines()
                stamps = {text: moment(stamp.decode()) for stamp, text in (line.split(b" ", 1) for line in lines if line.endswith((b"one", b"three")))}
                self.assertEqual(logs(identifier, since=stamps[b"three"])[0], b"three\nunfinished")
                self.assertEqual(logs(identifier, until=stamps[b"one"], stderr=0)[0], b"one\n")
                self.assertEqual(logs(identifier, since=stamps[b"three"], tail=1)[0], b"unfinished")

    def test_what_is_told(self):
        for driver in DRIVERS:
            with self.subTest(driver):
                identifier = run("true", host=log_config(driver))
                told = inspect(identifier)
                self.assertEqual(told["HostConfig"]["LogConfig"], {"Type": driver, "Config": {}})
                self.assertEqual(told["LogPath"].endswith(f"{identifier}-json.log"), driver == "json-file")
                self.assertEqual(told["LogPath"] == "", driver == "local")
        self.assertLessEqual({"json-file", "local", "journald"}, set(succeed("GET", "/info")["Plugins"]["Log"]))

    def test_files_turn(self):
        for driver, options in TURNING.items():
            with self.subTest(driver):
                identifier = run("seq", "20000", host=log_config(driver, **options))
                lines = [int(line) for line in logs(identifier)[0].split()]
                self.assertLess(len(lines), 10000)
                self.assertEqual(lines, list(range(lines[0], 20001)))
                self.assertEqual(logs(identifier, tail=700)[0].split(), [b"%d" % number for number in range(19301, 20001)])

    def test_details(self):
        identifier = create("echo", "text", host=log_config("json-file", labels="who"), Labels={"who": "me"})
        succeed("POST", f"/containers/{identifier}/start", status=204)
        engine.finish(identifier)
        self.assertEqual(logs(identifier, details=1)[0], b"who=me text\n")

    def test_refused_at_once(self):
        for driver, options, text in (("local", {"tag": "x"}, "unknown log opt 'tag' for log driver local"),
                                      ("json-file", {"x": "y"}, "unknown log opt 'x' for json-file log driver"),
                                      ("local", {"mode": "foo"}, "logger: logging mode not supported: foo"),
                                      ("local", {"max-buffer-size": "1m"}, "logger: max-buffer-size option is only supported with 'mode=non-blocking'"),
                                      ("nowhere", {}, 'error looking up logging plugin nowhere: plugin "nowhere" not found')):
            with self.subTest(driver=driver, options=options):
                body = {"Image": "busybox", "Cmd": ["true"], "HostConfig": log_config(driver, **options)}
                self.refuse(400, "POST", "/containers/create", body, text)

    def test_refused_in_the_end(self):
        """dockerd looks at values when the container starts, Berth when it is made."""
        for driver, options, text in (("local", {"max-size": "x"}, "invalid value for max-size: x: invalid size: 'x'"),
                                      ("local", {"max-file": "1"}, "compression cannot be enabled when max file count is 1"),
                                      ("local", {"compress": "x"}, "error reading compress log option: strconv.ParseBool: parsing \"x\": invalid syntax"),
                                      ("json-file", {"max-size": "0"}, "max-size must be a positive number"),
                                      ("json-file", {"max-file": "0"}, "max-file cannot be less than 1")):
            with self.subTest(driver=driver, options=options):
                body = {"Image": "busybox", "Cmd": ["true"], "HostConfig": log_config(driver, **options)}
                answer = call("POST", "/containers/create", body)
                if answer.status == 201:
                    answer = call("POST", f"/containers/{answer.json()['Id']}/start")
                self.assertIn(text, answer.message())
                self.assertGreaterEqual(answer.status, 400)

    def test_no_reading_of_none(self):
        identifier = run("echo", "x", host=log_config("none"))
        self.refuse(501, "GET", f"/containers/{identifier}/logs", text="configured logging driver does not support reading", stdout=1)


if __name__ == "__main__":
    engine.main()
