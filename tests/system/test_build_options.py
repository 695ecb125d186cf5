#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What else builds can do: squashing, steps from other images, named contexts, outputs, the same image twice."""
import io
import json
import os
import shutil
import stat
import subprocess
import tarfile
import time
import unittest

import builds
import hosted
import registries
import trees
from hosted import run

CLIENTS = ("docker", "berth")


def layers_of(image):
    return trees.inspect(image)["RootFS"]["Layers"]


def tree_of(image):
    """All files of an image, as a container of it has them."""
    run("docker", "create", "--name", "looked-at", image, "true")
    try:
        data = run("docker", "export", "looked-at", text=False)
    finally:
        run("docker", "rm", "looked-at")
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        return {member.name: (member.type, member.mode, member.uid, member.gid, int(member.mtime), member.linkname,
                              archive.extractfile(member).read() if member.isreg() else b"", member.pax_headers.get("SCHILY.xattr.user.x"))
                for member in archive if member.name != ".dockerenv"}


class Options(builds.Case):
    def setUp(self):
        super().setUp()
        self.top = self.context
        self.context = self.top / "context"
        self.context.mkdir()
        self.addCleanup(lambda: self.assertEqual(run("docker", "ps", "-aq"), ""))

    def put(self, path, text, mode=0o644):
        path = self.top / path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(mode)

    def test_a_container_that_is_kept(self):
        """It can be started again, though nothing of it was synced while it was a step."""
        self.put("context/Dockerfile", "FROM busybox\nRUN echo made >>/made\n")
        run("docker", "build", "--rm=false", "--no-cache", "-q", "-t", "kept:1", str(self.context))
        [identifier] = run("docker", "ps", "-aq").split()
        self.addCleanup(run, "docker", "rm", "-f", identifier)
        for count in (2, 3):
            run("docker", "start", "-a", identifier)
            with tarfile.open(fileobj=io.BytesIO(run("docker", "cp", f"{identifier}:/made", "-", text=False))) as archive:
                self.assertEqual(archive.extractfile("made").read(), b"made\n" * count)
        self.assertEqual(run("docker", "run", "--rm", "kept:1", "cat", "/made"), "made\n")

    # --- squash ---

    ODD = ("FROM busybox AS base\nRUN mkdir -p /d/sub && echo 1 >/d/one && echo 2 >/d/two && echo s >/d/sub/s && ln -s one /d/link\n"
           "FROM base\nRUN rm /d/one /d/link && rm -r /d/sub && echo three >/d/three && ln /d/three /d/again && chmod 2750 /d\n"
           "RUN mkdir /d/sub && echo t >/d/sub/t && chown 5:6 /d/sub && rm /d/three && echo >/d/one\n"
           "RUN rm -r /d/two && mkdir /d/two && rm /d/one && mkdir -p /new/a && echo x >/new/a/x\n"
           "RUN rm -r /new && mkdir /new && echo y >/new/y && rm /bin/ls && mkfifo /new/fifo && setfattr -n user.x -v 1 /new/y || true\n"
           "ENV A=b\nCOPY . /context/\n")

    def test_squash(self):
        """The same files and configuration in one layer upon the base's."""
        self.put("context/file", "f")
        self.build_text("berth", self.ODD, "-t", "long:1")
        self.build_text("berth", self.ODD, "--target", "base", "-t", "base:1")
        text = self.build_text("berth", self.ODD, "--squash", "-t", "short:1")
        self.assertIn("Using cache", text)
        base, short, full = layers_of("base:1"), layers_of("short:1"), layers_of("long:1")
        self.assertEqual((short[:-1], len(full)), (base, len(base) + 5))
        self.assertEqual(tree_of("short:1"), tree_of("long:1"))
        self.assertEqual(trees.inspect("short:1")["Config"], trees.inspect("long:1")["Config"])
        history = hosted.call("GET", "/images/short:1/history").json()
        merged = "merge " + trees.inspect("long:1")["Id"]
        self.assertTrue(history[0]["Comment"].startswith(merged), history[0])
        self.assertEqual([entry["Size"] for entry in history[1:7]], [0] * 6)
        top = os.path.dirname(trees.layer_tree("short:1"))
        names = set(os.listdir(top + "/fs/d"))
        self.assertLessEqual({"again", "sub", "two", "one"}, names)
        self.assertFalse(os.path.exists(top + "/fs/new/a"))

    def test_squash_of_a_whole_tree(self):
        """Upon nothing nothing is hidden, and empty directories that every container has stay."""
        with tarfile.open(self.context / "tree.tar", "w") as archive:
            for name in ("proc", "dev", "etc"):
                entry = tarfile.TarInfo(name)
                entry.type, entry.mode = tarfile.DIRTYPE, 0o755
                archive.addfile(entry)
        self.put("context/a", "a")
        self.build_text("berth", "FROM scratch\nADD tree.tar /\nCOPY a /b\nCOPY a /c\n", "--squash", "-t", "whole:1")
        self.assertEqual(len(layers_of("whole:1")), 1)
        self.assertEqual(sorted(os.listdir(trees.layer_tree("whole:1"))), ["b", "c", "dev", "etc", "proc"])

    # --- steps of other images ---

    def test_cache_from(self):
        dockerfile = "FROM busybox\nENV A=b\nCOPY file /file\nRUN cat /proc/sys/kernel/random/uuid >/once\nRUN echo {} >/last\n"
        for client in CLIENTS:
            self.put("context/file", client)
            self.build_text(client, dockerfile.format(1), "-t", "source:1")
            run("docker", "save", "-o", "/tmp/source.tar", "source:1")
            run("docker", "rmi", "source:1")
            run("docker", "builder", "prune", "-af")
            run("docker", "load", "-i", "/tmp/source.tar")
            self.assertNotIn("Using cache", self.build_text(client, dockerfile.format(3)))
            run("docker", "builder", "prune", "-af")
            text = self.build_text(client, dockerfile.format(2), "--cache-from", "source:1", "-t", "again:1")
            self.assertEqual(text.count("Using cache"), 3)
            self.assertEqual(layers_of("again:1")[:-1], layers_of("source:1")[:-1])
            self.assertNotEqual(layers_of("again:1")[-1], layers_of("source:1")[-1])
            text = self.build_text(client, dockerfile.format(1), "--cache-from", "source:1", "-t", "again:1")
            self.assertEqual((text.count("Using cache"), layers_of("again:1")), (4, layers_of("source:1")))
            self.put("context/file", "other")
            text = self.build_text(client, dockerfile.format(1), "--cache-from", "source:1")
            self.assertEqual(text.count("Using cache"), 1)
            self.assertIn("[Warning] no steps come from localhost:1/nosuch",
                          self.build_text(client, dockerfile.format(1), "--cache-from", "localhost:1/nosuch"))

    def test_cache_from_a_registry(self):
        """What docker's option for an inline cache asks for is there in any image."""
        registry = registries.Registry(registries.PLAIN)
        registry.start()
        self.addCleanup(registry.stop)
        self.put("context/file", "f")
        name, argument = "localhost:5000/cached:1", ("--build-arg", "BUILDKIT_INLINE_CACHE=1")
        dockerfile = "FROM busybox\nCOPY file /file\nRUN cat /proc/sys/kernel/random/uuid >/once\nLABEL a=b\n"
        for client in CLIENTS:
            text = self.build_text(client, dockerfile, *argument, "-t", name)
            self.assertNotIn("BUILDKIT_INLINE_CACHE", text)
            run(client, "push", "-q", name)
            layers = layers_of(name)
            run("docker", "rmi", name)
            run("docker", "builder", "prune", "-af")
            text = self.build_text(client, dockerfile + "RUN echo more >/more\n", *argument, "--cache-from", name, "-t", "again:1")
            self.assertEqual((text.count("Using cache"), layers_of("again:1")[:-1]), (3, layers))
            run("docker", "rmi", "again:1", name)
            run("docker", "builder", "prune", "-af")

    def test_cache_from_knows_what_no_command_tells(self):
        """What is mounted for a command, where its network is, and how files are copied."""
        def again(dockerfile):
            run("docker", "builder", "prune", "-af")
            return self.build_text("berth", dockerfile, "--cache-from", "source:1").count("Using cache")
        self.put("context/d/file", "one")
        for dockerfile, others in (
                ("FROM busybox\nRUN --mount=type=bind,source=d,target=/m cp /m/file /file\n", ()),
                ("FROM busybox\nRUN --network=none ip addr >/addresses\n", ("FROM busybox\nRUN ip addr >/addresses\n",)),
                ("FROM busybox\nRUN <<END\n#!/bin/sh\necho a >/a\nEND\n", ("FROM busybox\nRUN <<END\n#!/bin/sh\necho b >/a\nEND\n",)),
                ("FROM busybox\nCOPY --parents d/file /c/\n", ("FROM busybox\nCOPY d/file /c/\n",)),
                ("FROM busybox\nCOPY d/file /c/\n", ("FROM busybox\nCOPY --parents d/file /c/\n",))):
            with self.subTest(dockerfile=dockerfile):
                self.build_text("berth", dockerfile, "-t", "source:1")
                run("docker", "save", "-o", "/tmp/source.tar", "source:1")
                run("docker", "rmi", "source:1")
                run("docker", "load", "-i", "/tmp/source.tar")
                self.assertEqual(again(dockerfile), 1)
                for other in others:
                    self.assertEqual(again(other), 0)
                if "mount" in dockerfile:
                    self.put("context/d/file", "two")
                    self.assertEqual(again(dockerfile), 0)
                run("docker", "builder", "prune", "-af")
                run("docker", "rmi", "source:1")

    def test_cache_from_buildkit(self):
        """Its images say what was run in words of their own, and not what was copied."""
        self.put("context/file", "f")
        start = "FROM busybox\nENV A=b C=\"d e\"\nARG V=1\nWORKDIR /w/x\nRUN cat /proc/sys/kernel/random/uuid >/once\nEXPOSE 80\n"
        dockerfile = start + 'RUN ["cp", "/once", "/twice"]\nCOPY file /file\nRUN echo end >/end\n'
        words = ["ENV A=b C=d e", "ARG V=1", "WORKDIR /w/x", "RUN |1 V=1 /bin/sh -c cat /proc/sys/kernel/random/uuid >/once # buildkit",
                 "EXPOSE map[80/tcp:{}]", "RUN |1 V=1 cp /once /twice # buildkit", "COPY file /file # buildkit",
                 "RUN |1 V=1 /bin/sh -c echo end >/end # buildkit"]
        self.build_text("berth", dockerfile, "-t", "source:1")
        layers = layers_of("source:1")
        self.say("source:1", words)
        run("docker", "builder", "prune", "-af")
        text = self.build_text("berth", dockerfile, "--cache-from", "source:1", "-t", "again:1")
        self.assertIn("[Warning] source:1 was built by BuildKit", text)
        self.assertEqual((text.count("Using cache"), layers_of("again:1")[:-2]), (6, layers[:-2]))
        for before, after, count in (("A=b", "A=c", 0), ("V=1", "V=2", 3), ("uuid", "boot_id", 3), ("EXPOSE 80", "USER 0", 4)):
            run("docker", "builder", "prune", "-af")
            run("docker", "rmi", "-f", "again:1", status=None)
            text = self.build_text("berth", dockerfile.replace(before, after), "--cache-from", "source:1", "-t", "again:1")
            self.assertEqual(text.count("Using cache"), count, text)

    def say(self, image, words):
        """Loads the image again, with these words for the last entries of its history."""
        run("docker", "save", "-o", "/tmp/source.tar", image)
        run("docker", "rmi", image)
        with tarfile.open("/tmp/source.tar") as archive:
            files = {member.name: archive.extractfile(member).read() for member in archive if member.isreg()}
        manifest = json.loads(files["manifest.json"])
        config = json.loads(files[manifest[0]["Config"]])
        for entry, text in zip(config["history"][-len(words):], words, strict=True):
            entry.update(created_by=text, comment="buildkit.dockerfile.v0")
        config["moby.buildkit.cache.v0"] = "W10="
        files["config.json"] = json.dumps(config).encode()
        manifest[0]["Config"] = "config.json"
        with tarfile.open("/tmp/changed.tar", "w") as archive:
            for name in ("manifest.json", "config.json", *manifest[0]["Layers"]):
                member = tarfile.TarInfo(name)
                content = json.dumps(manifest).encode() if name == "manifest.json" else files[name]
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
        run("docker", "load", "-i", "/tmp/changed.tar")

    # --- named contexts ---

    def test_named_contexts(self):
        self.put("more/a", "more")
        self.put("more/b.log", "log")
        self.put("more/.dockerignore", "*.log\n")
        self.put("context/own", "own")
        dockerfile = ("FROM named AS base\nFROM base\nCOPY --from=more . /more/\nCOPY . /own/\nCOPY --from=IMAGE /etc/passwd /passwd\n"
                      "RUN --mount=type=bind,from=more,target=/m cat /m/a >/seen\n")
        arguments = ("--build-context", f"more={self.top}/more", "--build-context", "named=docker-image://busybox",
                     "--build-context", "image=docker-image://busybox:latest", "-t", "named:1")
        self.build_text("berth", dockerfile, *arguments)
        self.assertEqual(run("docker", "run", "--rm", "named:1", "sh", "-c", "ls -A /more /own; cat /seen; wc -l </passwd").split(),
                         ["/more:", ".dockerignore", "a", "/own:", "Dockerfile", "own",
                          "more" + run("docker", "run", "--rm", "busybox", "sh", "-c", "wc -l </etc/passwd").strip()])
        text = self.build_text("berth", dockerfile, *arguments)
        self.assertEqual(text.count("Using cache"), 4)
        self.put("more/a", "changed")
        text = self.build_text("berth", dockerfile, *arguments)
        self.assertEqual(text.count("Using cache"), 0)
        self.assertEqual(run("docker", "run", "--rm", "named:1", "cat", "/seen"), "changed")

    def test_a_named_directory_as_base(self):
        self.put("root/etc/a", "a")
        self.build_text("berth", "FROM tree\nLABEL a=b\n",
                   "--build-context", f"tree={self.top}/root", "-t", "tree:1")
        self.assertEqual([path for path, entry in tree_of("tree:1").items() if entry[0] == tarfile.REGTYPE], ["etc/a"])

    def test_a_context_comes_before_a_stage(self):
        self.put("more/a", "context")
        self.build_text("berth", "FROM busybox AS more\nRUN exit 1\nFROM busybox\nCOPY --from=more /a /a\n",
                   "--build-context", f"more={self.top}/more", "-t", "before:1")
        self.assertEqual(run("docker", "run", "--rm", "before:1", "cat", "/a"), "context")

    def test_refused_contexts(self):
        for value, text in (("x", "expected key=value"), ("x=/nosuch", "not found"), ("x=oci-layout:///a", "OCI layouts"),
                            ("x=https://nowhere.example/x.tar", "neither a directory"), (f"x={__file__}", "no directory")):
            self.assertIn(text, self.build_text("berth", "FROM busybox\n", "--build-context", value, status=1))
        for contexts in ({"x": {"Prefix": "../x"}}, {"x": {"Prefix": ".."}}, {"x": {"Prefix": ".link"}}, {"x": {}}, {"x": 1}):
            with self.subTest(contexts=contexts):
                data = io.BytesIO()
                with tarfile.open(fileobj=data, mode="w") as archive:
                    link = tarfile.TarInfo(".link")
                    link.type, link.linkname = tarfile.SYMTYPE, "/etc"
                    archive.addfile(link)
                    file = tarfile.TarInfo("Dockerfile")
                    file.size = 13
                    archive.addfile(file, io.BytesIO(b"FROM busybox\n"))
                answer = hosted.call("POST", "/build?contexts=" + json.dumps(contexts).replace(" ", "").replace('"', "%22"),
                                     data.getvalue(), ("Content-Type: application/x-tar",))
                self.assertEqual((answer.status, "neither a directory" in answer.json()["message"]), (400, True), answer.body)

    # --- outputs ---

    def test_outputs(self):
        dockerfile = "FROM busybox AS b\nRUN mkdir /out && echo hi >/out/file && ln -s file /out/link && chmod 700 /out\nFROM scratch\nCOPY --from=b /out /\n"
        self.build_text("berth", dockerfile, "-o", f"{self.top}/local")
        local = self.top / "local"
        self.assertEqual(sorted(path.name for path in local.iterdir()), ["file", "link"])
        self.assertEqual(((local / "file").read_text(), os.readlink(local / "link")), ("hi\n", "file"))
        self.build_text("berth", dockerfile, "-o", f"type=tar,dest={self.top}/out.tar")
        with tarfile.open(self.top / "out.tar") as archive:
            self.assertEqual(sorted(archive.getnames()), ["file", "link"])
        data = subprocess.run(("berth", "build", "-o", "-", str(self.context)), capture_output=True, check=True).stdout
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            self.assertEqual(sorted(archive.getnames()), ["file", "link"])
        self.build_text("berth", dockerfile, "-o", f"type=docker,dest={self.top}/image.tar")
        self.assertIn("Loaded image ID", run("docker", "load", "-i", f"{self.top}/image.tar"))
        for value, text in (("type=oci,dest=x", "invalid output type"), ("type=local", "dest is required"), ("type=local,dest=-", "is a directory"),
                            ("type=tar,to=x", "unknown key"), ("type=tar,dest=/nosuch/x", "open /nosuch/x")):
            self.assertIn(text, self.build_text("berth", dockerfile, "-o", value, status=1))

    # --- the same twice ---

    def test_source_date_epoch(self):
        dockerfile = ("FROM busybox\nARG SOURCE_DATE_EPOCH\nRUN mkdir -p /d/e && echo a >/d/a && ln -s a /d/l && mkfifo /d/p && rm /bin/ls\n"
                      "COPY file /new/place/\nWORKDIR /made/here\nRUN touch -d @5 /d/old && touch /d/a\n")
        self.put("context/file", "f")
        for client in CLIENTS:
            images = []
            for _ in range(2):
                self.build_text(client, dockerfile, "--no-cache", "--build-arg", "SOURCE_DATE_EPOCH=1000000000", "-t", "epoch:1")
                images.append(trees.inspect("epoch:1"))
                time.sleep(1.1)
            self.assertEqual(images[0]["Id"], images[1]["Id"])
            self.assertEqual(images[0]["Created"], "2001-09-09T01:46:40Z")
            for digest in images[0]["RootFS"]["Layers"][-4:]:
                for directory, names, files in os.walk(f"{trees.LAYERS}/{digest[7:27]}/fs"):
                    for name in names + files:
                        st = os.lstat(os.path.join(directory, name))
                        if not stat.S_ISCHR(st.st_mode):
                            self.assertLessEqual(st.st_mtime, 1000000000, name)
            self.assertEqual(tree_of("epoch:1")["d/old"][4], 5)

    # --- the cache ---

    def test_what_is_done_again(self):
        """Exactly the steps that depend on what has changed, and none for times alone."""
        dockerfile = ("FROM busybox AS one\nCOPY a /a\nRUN cat /a >/a2\nFROM busybox AS two\nCOPY b /b\nRUN cat /b >/b2\n"
                      "FROM busybox\nCOPY --from=one /a2 /\nCOPY --from=two /b2 /\nRUN --mount=type=bind,source=c,target=/c cat /c >/c2\n"
                      "RUN --mount=type=bind,from=two,source=/b2,target=/m cat /m >/m2\n")
        for name in "abc":
            self.put(f"context/{name}", name)

        def again():
            text = self.build_text("berth", dockerfile)
            done, at = [], 0
            for line in text.splitlines():
                if line.startswith("Step "):
                    at = int(line[5:].split("/")[0])
                elif line.startswith(" ---> Using cache"):
                    done.append(at)
            return [step for step in (2, 3, 5, 6, 8, 9, 10, 11) if step not in done]
        self.assertEqual(again(), [2, 3, 5, 6, 8, 9, 10, 11])
        self.assertEqual(again(), [])
        self.put("context/a", "other")
        self.assertEqual(again(), [2, 3, 8, 9, 10, 11])
        self.put("context/c", "other")
        self.assertEqual(again(), [10, 11])
        self.put("context/b", "other")
        self.assertEqual(again(), [5, 6, 9, 10, 11])
        for name in "abc":
            os.utime(self.context / name, (1, 1))
        self.assertEqual(again(), [])
        self.put("context/unused", "new")
        self.assertEqual(again(), [])
        (self.context / "c").chmod(0o600)
        self.assertEqual(again(), [10, 11])

    def test_times_of_a_checkout(self):
        """git checkout there and back gives every file a new time, and does no step again."""
        if not shutil.which("git"):
            self.skipTest("no git")
        git = ("git", "-C", str(self.context), "-c", "user.name=a", "-c", "user.email=a@b.c")
        self.put("context/src/a", "1")
        dockerfile = "FROM busybox\nCOPY src /src\nRUN --mount=type=bind,target=/all cat /all/src/a >/b\n"
        (self.context / ".dockerignore").write_text(".git\n")
        (self.context / "Dockerfile").write_text(dockerfile)
        for command in (("init", "-q"), ("add", "."), ("commit", "-qm", "1"), ("checkout", "-qb", "x")):
            run(*git, *command)
        self.put("context/src/a", "2")
        run(*git, "commit", "-qam", "2")
        self.assertNotIn("Using cache", self.build_text("berth", dockerfile))
        run(*git, "checkout", "-q", "-")
        self.assertEqual(self.build_text("berth", dockerfile).count("Using cache"), 0)
        run(*git, "checkout", "-q", "-")
        self.assertEqual(self.build_text("berth", dockerfile).count("Using cache"), 2)


if __name__ == "__main__":
    unittest.main()
