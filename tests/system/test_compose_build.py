#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Compose builds what it runs: two services of one Dockerfile, whose stages share a base, with arguments and a target."""
import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import unittest

import hosted
from hosted import run, wait_until

APPLICATION = """
services:
  web:
    build: {context: app, target: web, args: {GREETING: hello, WHO: web}, labels: [made=here]}
    image: shop-web:1
    depends_on: [worker]
  worker:
    build: {context: app, dockerfile: Dockerfile, target: worker, args: [WHO=worker]}
    command: ["sleep", "600"]
"""
DOCKERFILE = """
FROM busybox AS base
ARG GREETING=hi
COPY common /common
RUN cat /common >/base && echo "$GREETING" >>/base
FROM base AS web
ARG WHO
ENV WHO=$WHO
RUN echo "$WHO" >/who
CMD ["sh", "-c", "cat /base /who; exec sleep 600"]
FROM base AS worker
ARG WHO
RUN echo "$WHO" >/who
FROM base AS never
RUN exit 1
"""


class ComposeBuild(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        run("docker", "load", "-i", "/root/busybox.tar")

    def setUp(self):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="shop"))
        self.addCleanup(shutil.rmtree, self.directory)
        self.addCleanup(hosted.call, "POST", "/build/prune?all=1")
        (self.directory / "app").mkdir()
        (self.directory / "compose.yaml").write_text(APPLICATION)
        (self.directory / "app/Dockerfile").write_text(DOCKERFILE)
        (self.directory / "app/common").write_text("common\n")
        self.addCleanup(self.compose, "down", "--rmi", "all", "-t", "0")

    def compose(self, *arguments, status=0):
        result = subprocess.run(("docker", "compose", "-p", "shop", "--project-directory", self.directory, *arguments),
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120, check=False,
                                env={**os.environ, "DOCKER_BUILDKIT": "0"})
        text = result.stdout.decode()
        self.assertEqual(result.returncode, status, text[-3000:])
        return text

    def test_build(self):
        text = self.compose("build")
        self.assertIn("Successfully tagged shop-web:1", text)
        self.assertIn("Successfully tagged shop-worker:latest", text)
        self.assertEqual(text.count("Step 1/"), 2)
        self.assertNotIn("never", text)
        web, worker = (json.loads(run("docker", "image", "inspect", name))[0] for name in ("shop-web:1", "shop-worker"))
        self.assertEqual((web["Config"]["Labels"]["made"], "WHO=web" in web["Config"]["Env"]), ("here", True))
        # The base is the same where the arguments are: of GREETING it is not.
        self.assertEqual(web["RootFS"]["Layers"][:2], worker["RootFS"]["Layers"][:2])
        self.assertNotEqual(web["RootFS"]["Layers"][2], worker["RootFS"]["Layers"][2])
        self.assertEqual(run("docker", "run", "--rm", "shop-worker", "cat", "/base", "/who"), "common\nhi\nworker\n")
        again = self.compose("build")
        self.assertNotIn("Running in", again)

    def test_shared_base(self):
        """The base that both have is done once, also where both are built at a time."""
        (self.directory / "compose.yaml").write_text(APPLICATION.replace("GREETING: hello, ", ""))
        (self.directory / "app/Dockerfile").write_text(DOCKERFILE.replace("RUN cat /common", "RUN cat /proc/sys/kernel/random/uuid /common"))
        self.compose("build", "web")
        self.compose("build", "worker")
        layers = [json.loads(run("docker", "image", "inspect", name))[0]["RootFS"]["Layers"][:3] for name in ("shop-web:1", "shop-worker")]
        self.assertEqual(*layers)

    def test_up_builds(self):
        self.compose("up", "-d", "--build")
        wait_until(lambda: "web" in self.compose("logs", "web"), 20, "output")
        self.assertIn("common", self.compose("logs", "web"))
        first = run("docker", "inspect", "shop-web-1", "--format", "{{.Id}} {{.Image}}")
        self.compose("up", "-d", "--build")
        self.assertEqual(run("docker", "inspect", "shop-web-1", "--format", "{{.Id}} {{.Image}}"), first)
        (self.directory / "app/common").write_text("changed\n")
        self.compose("up", "-d", "--build")
        self.assertNotEqual(run("docker", "inspect", "shop-web-1", "--format", "{{.Id}} {{.Image}}"), first)
        self.assertEqual(self.compose("exec", "-T", "worker", "cat", "/base"), "changed\nhi\n")

    def test_failure(self):
        (self.directory / "app/Dockerfile").write_text(DOCKERFILE.replace('RUN echo "$WHO" >/who', "RUN exit 4"))
        self.assertIn("returned a non-zero code: 4", self.compose("build", status=4))


if __name__ == "__main__":
    unittest.main()
