#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Images that RUN steps make of Debian packages, whose own scripts run in them: nginx, redis, postgresql, an application in
Python, and a program in C that is compiled in one stage and copied into another. Each is run and used. Runs as root in a
booted host that has packages/ and debian.tar."""
import json
import os
import pathlib
import re
import shutil
import tempfile
import unittest
import urllib.request

import hosted
from hosted import run, wait_until

PACKAGES = pathlib.Path("/root/packages")
INSTALL = "DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends /packages/*.deb"

WEB = f"""\
FROM debian:13
COPY packages /packages
RUN {INSTALL} && rm -r /packages
COPY page /var/www/html/index.html
EXPOSE 80
CMD ["nginx", "-g", "daemon off;"]
"""
CACHE = f"""\
FROM debian:13
RUN --mount=type=bind,source=packages,target=/packages {INSTALL}
USER redis
CMD ["redis-server", "--bind", "127.0.0.1", "--save", ""]
"""
DB = f"""\
FROM debian:13
RUN --mount=type=bind,source=packages,target=/packages {INSTALL}
USER postgres
CMD ["sh", "-c", "exec pg_ctlcluster --foreground $(pg_lsclusters -h | cut -d ' ' -f 1-2) start"]
"""
APP = f"""\
FROM debian:13 AS python
COPY packages /packages
RUN {INSTALL} && rm -r /packages
FROM python
WORKDIR /app
COPY app.py .
ENV GREETING=hello
CMD ["python3", "app.py"]
"""
APP_SOURCE = """\
import http.server, json, os
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps({"path": self.path, "greeting": os.environ["GREETING"]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
http.server.HTTPServer(("", 8000), Handler).serve_forever()
"""
PROGRAM = f"""\
FROM debian:13 AS tools
RUN --mount=type=bind,source=packages,target=/packages {INSTALL}
FROM tools AS compiled
WORKDIR /source
COPY source .
RUN make
FROM busybox
COPY --from=compiled /source/program /bin/program
ENTRYPOINT ["program"]
"""
SOURCE = {
    "Makefile": "CFLAGS = -O2 -Wall -Werror\nLDFLAGS = -static\nprogram: main.o words.o\n\t$(CC) $(LDFLAGS) -o $@ $^\nmain.o words.o: words.h\n",
    "words.h": "const char *word(int number);\n",
    "words.c": '#include "words.h"\nconst char *word(int number)\n{\n\treturn number == 1 ? "one" : "many";\n}\n',
    "main.c": '#include <stdio.h>\n#include "words.h"\nint main(int argc, char **argv)\n{\n\t(void) argv;\n\treturn puts(word(argc - 1)) < 0;\n}\n',
}


class Packages(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        for name in ("debian", "busybox"):
            run("docker", "load", "-q", "-i", f"/root/{name}.tar")
        cls.directory = tempfile.TemporaryDirectory(dir="/var/tmp")
        cls.addClassCleanup(cls.directory.cleanup)

    def tearDown(self):
        hosted.remove_all()

    def context(self, name, dockerfile, files=()):
        path = pathlib.Path(self.directory.name, name)
        shutil.copytree(PACKAGES / name, path / "packages")
        (path / "Dockerfile").write_text(dockerfile)
        for file, text in dict(files).items():
            (path / file).parent.mkdir(exist_ok=True)
            (path / file).write_text(text)
        return path

    def build(self, client, name, path):
        return run(client, "build", "-t", f"made/{name}", *(("--progress=plain",) if client == "berth" else ()), str(path), timeout=600)

    def start(self, name, *options):
        return run("docker", "run", "-d", "--name", name, *options, f"made/{name}").strip()

    def port(self, name, port):
        return run("docker", "port", name, str(port)).splitlines()[0]

    def get(self, name, port, path="/"):
        address = f"http://{self.port(name, port)}{path}"
        answers = []

        def answered():
            try:
                with urllib.request.urlopen(address, timeout=5) as answer:
                    answers.append(answer.read().decode())
            except OSError:
                return False
            return True
        wait_until(answered, 60, f"an answer of {name}")
        return answers[0]

    def test_web(self):
        self.build("docker", "web", self.context("web", WEB, {"page": "a page of ours\n"}))
        self.start("web", "-p", "127.0.0.1::80")
        self.assertEqual(self.get("web", 80), "a page of ours\n")
        self.assertIn('"GET / HTTP/1.1" 200', run("docker", "exec", "web", "cat", "/var/log/nginx/access.log"))
        self.assertNotIn("packages", run("docker", "run", "--rm", "made/web", "ls", "/"))

    def test_cache(self):
        self.build("docker", "cache", self.context("cache", CACHE))
        self.start("cache")
        wait_until(lambda: run("docker", "exec", "cache", "redis-cli", "ping", status=None).strip() == "PONG", 60, "redis")
        self.assertEqual(run("docker", "exec", "cache", "redis-cli", "set", "key", "value").strip(), "OK")
        self.assertEqual(run("docker", "exec", "cache", "redis-cli", "get", "key").strip(), "value")
        self.assertRegex(run("docker", "top", "cache", "-o", "pid,comm"), "redis-server")

    def test_db(self):
        self.build("berth", "db", self.context("db", DB))
        self.start("db")
        wait_until(lambda: "accepting" in run("docker", "exec", "db", "pg_isready", status=None), 60, "postgresql")
        run("docker", "exec", "db", "psql", "-qc", "create table numbers as select n from generate_series(1, 1000) n")
        self.assertEqual(run("docker", "exec", "db", "psql", "-Atc", "select sum(n) from numbers").strip(), "500500")
        run("docker", "restart", "db")
        wait_until(lambda: "accepting" in run("docker", "exec", "db", "pg_isready", status=None), 60, "postgresql again")
        self.assertEqual(run("docker", "exec", "db", "psql", "-Atc", "select count(*) from numbers").strip(), "1000")

    def test_app(self):
        self.build("docker", "app", self.context("app", APP, {"app.py": APP_SOURCE}))
        self.start("app", "-p", "127.0.0.1::8000", "-e", "GREETING=good day")
        self.assertEqual(json.loads(self.get("app", 8000, "/somewhere")), {"path": "/somewhere", "greeting": "good day"})

    def test_program(self):
        path = self.context("toolchain", PROGRAM, {f"source/{name}": text for name, text in SOURCE.items()})
        self.build("docker", "program", path)
        self.assertEqual([run("docker", "run", "--rm", "made/program", *words) for words in (("x",), ("x", "y"))], ["one\n", "many\n"])
        # Nothing of the compiler is in what is run.
        layers = json.loads(run("docker", "inspect", "made/program", "busybox"))
        self.assertEqual(layers[0]["RootFS"]["Layers"][:-1], layers[1]["RootFS"]["Layers"])
        first = layers[0]["Id"]
        self.assertNotIn("Running in", self.build("docker", "program", path))
        for file in (path / "source").iterdir():  # as a new checkout leaves them
            os.utime(file, (1000000000, 1000000000))
        self.assertNotIn("Running in", self.build("docker", "program", path))
        self.assertEqual(json.loads(run("docker", "inspect", "made/program"))[0]["Id"], first)
        (path / "source/words.c").write_text(SOURCE["words.c"].replace("many", "a lot"))
        again = self.build("docker", "program", path)
        executed = re.findall(r"^Step \d+/\d+ : (.*)\n ---> Running in", again, re.M)
        self.assertEqual(executed, ["RUN make", 'ENTRYPOINT ["program"]'], again)
        self.assertEqual(run("docker", "run", "--rm", "made/program"), "a lot\n")


if __name__ == "__main__":
    unittest.main()
