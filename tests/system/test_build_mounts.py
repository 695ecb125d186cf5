#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Mounts of RUN: files of the context, of stages and images, caches, secrets and agents; and what is left of them."""
import os
import pathlib
import socket
import tempfile
import threading
import time
import unittest

import builds
import hosted
from hosted import run

SECRET = "extraordinarily-private"


def build(*arguments, client="berth", **more):
    return builds.build(client, *arguments, **more)


def files_of(image):
    """The names that the image's own layers have over busybox's."""
    def names(reference):
        name = run("berth", "create", reference, "true").strip()
        try:
            archive = run("berth", "export", name, text=False)
            return set(run("tar", "-tf", "-", data=archive).split())
        finally:
            run("berth", "rm", name)
    return names(image) - names("busybox")


class Mounts(builds.Case):

    def test_bind(self):
        self.write("FROM busybox AS made\nRUN mkdir /d && echo from stage >/d/f\n"
                   "FROM busybox\n"
                   "RUN --mount=type=bind,target=/ctx cat /ctx/a.txt >/1 && ! touch /ctx/x\n"
                   "RUN --mount=type=bind,source=a.txt,target=/one.txt cat /one.txt >/2\n"
                   "RUN --mount=type=bind,from=made,source=/d,target=/deep/er cat /deep/er/f >/3\n"
                   "RUN --mount=type=bind,from=made,source=/d/f,target=/f cat /f >/4\n"
                   "RUN --mount=type=bind,from=busybox,target=/bb ls /bb/bin/busybox >/5\n"
                   "RUN --mount=type=bind,target=/ctx,rw echo more >>/ctx/a.txt && cat /ctx/a.txt >/6\n"
                   "RUN --mount=type=bind,target=/ctx cat /ctx/a.txt >/7\n"
                   "RUN --mount=from=made,source=/d,target=/d,rw echo x >>/d/f && cat /d/f >/8\n", a_txt="text\n")
        build("-t", "bind:1", str(self.context))
        self.assertEqual(run("docker", "run", "--rm", "bind:1", "cat", *(f"/{i}" for i in range(1, 9))),
                         "text\ntext\nfrom stage\nfrom stage\n/bb/bin/busybox\ntext\nmore\ntext\nfrom stage\nx\n")
        self.assertEqual(files_of("bind:1"), {str(i) for i in range(1, 9)})

    def test_bind_that_is_missing(self):
        self.write("FROM busybox\nRUN --mount=type=bind,source=no/such,target=/x true\n")
        self.assertIn("no/such\": not found", build(str(self.context), status=1))
        self.write("FROM busybox\nRUN --mount=type=bind,source=way,target=/x cat /x/hostname\n")
        (self.context / "way").symlink_to("/etc")
        self.assertIn("way\": not found", build(str(self.context), status=1))

    def test_cache_outlives_builds(self):
        line = "RUN --mount=type=cache,target=/root/.cache/x,uid=33,gid=33,mode=0750 " \
               "stat -c '%u %g %a' /root/.cache/x >/owner; echo n >>/root/.cache/x/log; wc -l </root/.cache/x/log >/lines\n"
        for lines in ("1", "2"):
            self.write("FROM busybox\n" + line)
            build("--no-cache", "-t", "cache:1", str(self.context))
            self.assertEqual(run("docker", "run", "--rm", "cache:1", "cat", "/lines", "/owner"), f"{lines}\n33 33 750\n")
        self.assertEqual(files_of("cache:1"), {"lines", "owner"})
        mounts = [item for item in hosted.call("GET", "/system/df").json()["BuildCache"] if item["Type"] == "exec.cachemount"]
        self.assertEqual([(item["InUse"], item["UsageCount"], item["Size"] > 0) for item in mounts], [(False, 2, True)])
        self.assertIn("/root/.cache/x", mounts[0]["Description"])
        run("docker", "builder", "prune", "-af")
        self.assertEqual(os.listdir("/var/lib/berth/build/mount"), [])

    def test_cache_from_a_stage(self):
        self.write("FROM busybox AS seed\nRUN mkdir /s && echo seed >/s/f\nFROM busybox\n"
                   "RUN --mount=type=cache,from=seed,source=/s,target=/c cat /c/f >/out\n")
        build("-t", "seed:1", str(self.context))
        self.assertEqual(run("docker", "run", "--rm", "seed:1", "cat", "/out"), "seed\n")

    def side_by_side(self, sharing):
        """Two builds that would be in the same mount at the same time; whether they were."""
        line = f"RUN --mount=type=cache,id=busy-{sharing},target=/c,sharing={sharing} " \
               "touch /c/$ID; sleep 1; ls /c | wc -l >/seen; rm /c/$ID\n"
        self.write("FROM busybox\nARG ID\n" + line)
        threads = [threading.Thread(target=build, args=("-t", f"busy:{i}", "--build-arg", f"ID={i}", str(self.context)))
                   for i in range(2)]
        for thread in threads:
            thread.start()
        time.sleep(0.8)
        run("docker", "builder", "prune", "-af")
        for thread in threads:
            thread.join()
        return sorted(run("docker", "run", "--rm", f"busy:{i}", "cat", "/seen").strip() for i in range(2))

    def test_cache_is_shared_as_asked(self):
        self.assertEqual(self.side_by_side("locked"), ["1", "1"])
        self.assertEqual(self.side_by_side("private"), ["1", "1"])
        self.assertIn("2", self.side_by_side("shared"))

    def test_tmpfs(self):
        self.write("FROM busybox\nRUN --mount=type=tmpfs,target=/t,size=1m mount | grep ' /t ' >/m; echo x >/t/x\n")
        build("-t", "tmpfs:1", str(self.context))
        self.assertIn("size=1024k", run("docker", "run", "--rm", "tmpfs:1", "cat", "/m"))
        self.assertEqual(files_of("tmpfs:1"), {"m"})

    def test_secrets(self):
        (self.context / "own").write_text(SECRET)
        path = str(self.context / "own")
        with tempfile.TemporaryDirectory() as other:
            (pathlib.Path(other) / "Dockerfile").write_text(
                "FROM busybox\n"
                "RUN --mount=type=secret,id=one wc -c </run/secrets/one >/1; stat -c '%a %u' /run/secrets/one >>/1\n"
                "RUN --mount=type=secret,id=one,target=/etc/own,mode=0444,uid=33 stat -c '%a %u' /etc/own >/2\n"
                "RUN --mount=type=secret,id=two,env=TWO echo ${#TWO} >/3\n"
                "RUN --mount=type=secret,id=none true\n")
            text = build("-t", "secret:1", "--secret", f"id=one,src={path}", "--secret", "id=two,env=TWO", other, TWO=SECRET)
            self.assertIn("[Warning] secret none was not given", text)
            self.assertIn("secret none: not found",
                          build("-", stdin=b"FROM busybox\nRUN --mount=type=secret,id=none,required true\n", status=1))
            size = len(SECRET)
            self.assertEqual(run("docker", "run", "--rm", "secret:1", "cat", "/1", "/2", "/3"), f"{size}\n400 0\n444 33\n{size}\n")
            self.assertEqual(files_of("secret:1"), {"1", "2", "3"})
            self.assertEqual(build("--secret", f"id=one,src={path}", other).count("Using cache"), 4)
        self.assertNotIn(SECRET, run("berth", "history", "--no-trunc", "secret:1") + run("docker", "inspect", "secret:1"))
        run("journalctl", "--sync")
        self.assertNotIn(SECRET, run("journalctl", "--no-pager", "-o", "export"))
        self.assertEqual(run("grep", "-rl", SECRET, "/var/lib/berth", "/run/berth", status=None), "")

    def test_agent(self):
        path = str(self.context / "agent")
        listener = socket.socket(socket.AF_UNIX)
        self.addCleanup(listener.close)
        listener.bind(path)
        listener.listen()
        dockerfile = b"FROM busybox\nRUN --mount=type=ssh test -S $SSH_AUTH_SOCK && echo $SSH_AUTH_SOCK >/where\n"
        build("-t", "ssh:1", "--ssh", "default", "-", stdin=dockerfile, SSH_AUTH_SOCK=path)
        self.assertEqual(run("docker", "run", "--rm", "ssh:1", "cat", "/where"), "/run/buildkit/ssh_agent.0\n")
        self.assertEqual(files_of("ssh:1"), {"where"})
        self.assertIn("not an agent's socket", build("--ssh", "default=/etc/passwd", "-", stdin=dockerfile, status=1))


if __name__ == "__main__":
    unittest.main()
