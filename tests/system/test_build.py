#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Images built from Dockerfiles, by the stock client's classic builder and by berth build."""
import os
import unittest

import builds
import hosted
from builds import build
from hosted import run

CLIENTS = ("docker", "berth")
STAGES = """FROM busybox AS base
ARG WHO=world
ENV GREET=hi
RUN echo "$GREET $WHO" >/made
FROM base AS files
COPY . /context/
WORKDIR /context
RUN ls >/listed
FROM busybox AS last
COPY --from=files /made /listed /out/
LABEL kind=test
USER 1000
CMD ["cat", "/out/made", "/out/listed"]
"""


class Build(builds.Case):
    def test_stages(self):
        for client in CLIENTS:
            self.write(STAGES, a_txt="a", skip_log="no")
            (self.context / ".dockerignore").write_text("*.log\n.dockerignore\n")
            tag = f"built:{client}"
            text = build(client, "-t", tag, "--build-arg", f"WHO={client}", str(self.context))
            self.assertIn(f"Successfully tagged {tag}", text)
            self.assertEqual(run("docker", "run", "--rm", tag), f"hi {client}\nDockerfile\na.txt\n")
            config = hosted.call("GET", f"/images/{tag}/json").json()["Config"]
            self.assertEqual((config["Labels"], config["User"]), ({"kind": "test"}, "1000"))
            self.assertEqual(run("docker", "ps", "-aq"), "")

    def test_cache(self):
        for client in CLIENTS:
            self.write("FROM busybox\nCOPY a.txt /\nRUN cat /a.txt >/b.txt\n", a_txt=client)
            first = build(client, "-q", str(self.context)).strip()
            self.assertEqual(build(client, "-q", str(self.context)).strip(), first)
            again = build(client, str(self.context))
            self.assertEqual(again.count("Using cache"), 2)
            self.assertNotIn("Using cache", build(client, "--no-cache", str(self.context)))
            self.write("FROM busybox\nCOPY a.txt /\nRUN cat /a.txt >/b.txt\n", a_txt="other " + client)
            self.assertNotIn("Using cache", build(client, str(self.context)))

    def test_target(self):
        for client in CLIENTS:
            self.write("FROM busybox AS one\nRUN echo one >/one\nFROM one AS two\nRUN exit 9\n")
            build(client, "--target", "one", "-t", "target:1", str(self.context))
            self.assertEqual(run("docker", "run", "--rm", "target:1", "cat", "/one"), "one\n")

    def test_failures(self):
        for client in CLIENTS:
            text = build(client, "-", stdin=b"FROM busybox\nRUN exit 3\n", status=3)
            self.assertIn("The command '/bin/sh -c exit 3' returned a non-zero code: 3", text)
            text = build(client, "-", stdin=b"FROM busybox\nRUM exit 3\n", status=1)
            self.assertIn("unknown instruction: RUM", text)
            self.write("FROM busybox\nCOPY nosuch /\n")
            self.assertIn("nosuch", build(client, str(self.context), status=1))
        self.assertEqual(run("docker", "ps", "-aq"), "")

    def test_what_is_not_done_is_said(self):
        self.write("FROM busybox\nADD --checksum=sha256:" + "0" * 64 + " a.txt /x\n", a_txt="a")
        self.assertIn("non-HTTP(S) sources", build("berth", str(self.context), status=1))
        self.write("FROM busybox\nADD --keep-git-dir a.txt /x\n", a_txt="a")
        self.assertIn("[Warning] --keep-git-dir", build("berth", str(self.context)))
        answer = hosted.call("POST", "/build?outputs=%5B%7B%22Type%22%3A%22tar%22%7D%5D")
        self.assertEqual((answer.status, "BuildKit" in answer.json()["message"]), (501, True))

    @unittest.skipIf(os.path.exists("/usr/libexec/docker/cli-plugins/docker-buildx"), "with buildx the client asks no engine")
    def test_the_client_chooses_the_builder(self):
        """Left to itself the stock client builds; where it is told to use BuildKit, which is a program of its own, it says what it lacks."""
        self.write("FROM busybox\nRUN echo made >/made\n")
        self.assertEqual(hosted.call("GET", "/_ping").headers["builder-version"], "1")
        text = build("docker", str(self.context), DOCKER_BUILDKIT="")
        for wanted in ("The legacy builder is deprecated", "Successfully built"):
            self.assertIn(wanted, text)
        self.assertIn("buildx component is missing", build("docker", str(self.context), DOCKER_BUILDKIT="1", status=1))

    def test_protocol_of_buildkit(self):
        """Of clients that speak it themselves."""
        for path, wanted in (("/session", "POST /session is not supported"), ("/build?version=2&session=x", "set DOCKER_BUILDKIT=0")):
            answer = hosted.call("POST", path)
            self.assertEqual(answer.status, 501)
            self.assertIn(wanted, answer.message())

    def test_link(self):
        """The same as without, but that nothing below is looked at: a link that is in the way is replaced."""
        self.write("FROM busybox\nRUN mkdir /real && ln -s /real /way\nCOPY --link --chown=www-data a.txt /way/\n"
                   "COPY --link a.txt /new/place\n", a_txt="a")
        build("berth", "-t", "link:1", str(self.context))
        self.assertEqual(run("docker", "run", "--rm", "link:1", "sh", "-c",
                             "stat -c '%F %U' /way /way/a.txt; ls /real; cat /new/place"),
                         "directory www-data\nregular file www-data\na")

    def test_nothing_leads_out_of_the_tree(self):
        """COPY onto a link of the image's that names the host's file system."""
        self.write("FROM busybox\nRUN ln -s /etc/../../../../../root /way\nCOPY a.txt /way/\n", a_txt="stays inside")
        for client in CLIENTS:
            build(client, "-t", "way:1", str(self.context))
            self.assertEqual(run("docker", "run", "--rm", "way:1", "cat", "/root/a.txt"), "stays inside")
            self.assertFalse(os.path.exists("/root/a.txt"))

    def test_usage(self):
        self.write("FROM busybox\nRUN echo kept >/kept\n")
        build("docker", str(self.context))
        usage = hosted.call("GET", "/system/df").json()["BuildCache"]
        self.assertGreater(len(usage), 0)
        run("docker", "builder", "prune", "-af")
        self.assertFalse(hosted.call("GET", "/system/df").json()["BuildCache"])

    def test_prune(self):
        self.write("FROM busybox\nRUN echo kept >/kept\n")
        build("berth", str(self.context))
        self.assertEqual(run("berth", "builder", "prune", "-f", "--keep-storage", "10g"), "Total reclaimed space: 0B\n")
        usage = hosted.call("GET", "/system/df").json()["BuildCache"]
        self.assertGreater(len(usage), 0)
        lines = run("berth", "builder", "prune", "-af", "--filter", "until=0s").splitlines()
        self.assertEqual((lines[0], sorted(lines[1:-2])), ("Deleted build cache objects:", sorted(entry["ID"] for entry in usage)))
        self.assertEqual(run("berth", "builder", "prune", "-f"), "Total reclaimed space: 0B\n")


if __name__ == "__main__":
    unittest.main()
