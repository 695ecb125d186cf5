#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""POST /build, /build/prune and /build/cancel."""
import io
import json
import tarfile
import uuid

import engine
from engine import Case, call, succeed


def context(dockerfile, name="Dockerfile", **files):
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w") as archive:
        for path, text in {name: dockerfile, **files}.items():
            header = tarfile.TarInfo(path)
            header.size = len(text)
            archive.addfile(header, io.BytesIO(text.encode()))
    return output.getvalue()


def build(content, name="Dockerfile", files=None, **query):
    """The answer, and its messages."""
    answer = call("POST", "/build", context(content, name, **(files or {})), ("Content-Type: application/x-tar",),
                  **{"version": 1, "rm": 1, **query})
    lines = [json.loads(line) for line in answer.body.decode().splitlines() if line.strip()] if answer.status == 200 else []
    return answer, lines


def text_of(lines):
    return "".join(line.get("stream", "") for line in lines)


class Build(Case):
    def built(self, content, **more):
        answer, lines = build(content, **more)
        self.assertEqual(answer.status, 200, answer.body[-500:])
        self.assertEqual([line for line in lines if "error" in line], [])
        return lines

    def test_stream(self):
        lines = self.built("FROM busybox\nENV A=b\nRUN echo said\n", t="api-built:1", nocache=1)
        text = text_of(lines)
        self.assertRegex(text, r"^Step 1/3 : FROM busybox\n ---> [0-9a-f]{12}\nStep 2/3 : ENV A=b\n ---> Running in [0-9a-f]{12}\n")
        self.assertRegex(text, r"\nsaid\n ---> Removed intermediate container [0-9a-f]{12}\n ---> [0-9a-f]{12}\n")
        self.assertRegex(text, r"Successfully built [0-9a-f]{12}\nSuccessfully tagged api-built:1\n$")
        ids = [line["aux"]["ID"] for line in lines if "aux" in line]
        self.assertEqual(ids[-1], succeed("GET", "/images/api-built:1/json")["Id"])
        succeed("DELETE", "/images/api-built:1")

    def test_parameters(self):
        self.built("FROM busybox AS one\nARG X\nARG Y=2\nENV Z=$X$Y\nFROM one\nRUN exit 1\n", name="own/File", dockerfile="own/File",
                   target="one", t="api-built:2", buildargs={"X": "1"}, labels={"k": "v"})
        config = succeed("GET", "/images/api-built:2/json")["Config"]
        self.assertEqual(("Z=12" in config["Env"], config["Labels"]), (True, {"k": "v"}))
        succeed("DELETE", "/images/api-built:2")

    def test_quiet(self):
        lines = self.built("FROM busybox\nLABEL quiet=1\n", q=1)
        self.assertRegex(text_of(lines), r"^sha256:[0-9a-f]{64}\n$")

    def test_cache(self):
        # dockerd's cache is all the images there are.
        dockerfile = f"FROM busybox\nLABEL once={uuid.uuid4()}\nCOPY f /f\nRUN cat /f >/g\n"
        succeed("POST", "/build/prune", all=1)
        self.built(dockerfile, files={"f": "1"})
        self.assertEqual(text_of(self.built(dockerfile, files={"f": "1"})).count("Using cache"), 3)
        self.assertEqual(text_of(self.built(dockerfile, files={"f": "2"})).count("Using cache"), 1)

    def test_a_command_that_fails(self):
        answer, lines = build("FROM busybox\nRUN exit 7\n")
        self.assertEqual(answer.status, 200)
        message = "The command '/bin/sh -c exit 7' returned a non-zero code: 7"
        self.assertEqual(lines[-1], {"errorDetail": {"code": 7, "message": message}, "error": message})

    def test_refusals(self):
        for content, query, status, text in (
                ("FROM busybox\nRUM x\n", {}, 400, "unknown instruction: RUM"),
                ("", {}, 400, "cannot be empty"),
                ("FROM busybox\n", {"dockerfile": "nosuch"}, 500, "Cannot locate specified Dockerfile: nosuch"),
                ("FROM busybox\n", {"t": "UPPER"}, 500, "must be lowercase"),
                ("FROM busybox\n", {"buildargs": "x"}, 400, "error reading build args"),
                ("FROM busybox\n", {"target": "nosuch"}, 400, "nosuch")):
            answer, _ = build(content, **query)
            with self.subTest(content=content, query=query):
                self.assertEqual(answer.status, status, answer.body)
                self.assertIn(text, answer.json()["message"])


def tearDownModule():  # noqa: N802 -- unittest's name
    """Untagged images would be children of those that other tests remove."""
    succeed("POST", "/build/prune", all=1)
    succeed("POST", "/images/prune", filters={"dangling": ["true"]})


class Cache(Case):
    def test_prune(self):
        build("FROM busybox\nRUN echo prune >/f\n")
        answer = succeed("POST", "/build/prune", all=1)
        self.assertIn("SpaceReclaimed", answer)
        self.assertFalse(succeed("GET", "/system/df").get("BuildCache"))

    def test_cancel(self):
        self.refuse(400, "POST", "/build/cancel")


if __name__ == "__main__":
    engine.main()
