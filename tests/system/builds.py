# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the tests of builds share: a build by either client, and a context that is thrown away."""
import os
import pathlib
import subprocess
import tempfile
import unittest

import hosted
from hosted import run


def build(client, *arguments, stdin=None, status=0, timeout=120, **environment):
    """What it said. The docker client uses its classic builder."""
    result = subprocess.run((client, "build", *arguments), input=stdin, capture_output=True, timeout=timeout, check=False,
                            env={**os.environ, "DOCKER_BUILDKIT": "0", **environment})
    text = (result.stdout + result.stderr).decode()
    assert result.returncode == status, (client, arguments, result.returncode, text[-2000:])
    return text


class Case(unittest.TestCase):
    """Each test has a directory, and leaves no cache and nothing in staging."""

    @classmethod
    def setUpClass(cls):
        run("docker", "load", "-q", "-i", "/root/busybox.tar")

    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.context = pathlib.Path(directory.name)
        self.addCleanup(run, "docker", "builder", "prune", "-af")
        self.addCleanup(hosted.wait_until, lambda: not os.listdir("/var/lib/berth/staging"), 10, "staging empty", 0.1)

    def write(self, dockerfile, **files):
        (self.context / "Dockerfile").write_text(dockerfile)
        for name, text in files.items():
            (self.context / name.replace("_", ".")).write_text(text)
        return str(self.context)

    def build_text(self, client, dockerfile, *arguments, status=0):
        (self.context / "Dockerfile").write_text(dockerfile)
        plain = ("--progress=plain",) if client == "berth" else ()
        return build(client, *plain, *arguments, str(self.context), status=status)
