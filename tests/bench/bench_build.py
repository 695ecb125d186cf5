# SPDX-License-Identifier: LGPL-2.1-or-later
"""The rows of bench.py about builds. Each function gets bench.py's names as BENCH. Docker's column is BuildKit's in a row of its
own, and the classic builder's in the next, where only it and Berth are measured."""
import os
import pathlib
import shutil

TOP = pathlib.Path("/var/lib/bench-build")
FILES = int(os.environ.get("BENCH_FILES", 50000))
SMALL = """FROM busybox
ENV A=b
COPY file /file
RUN cat /file >/copied
WORKDIR /work
RUN echo done >result
"""
STAGES = "".join(f"FROM busybox AS s{i}\nENV S={i}\nRUN sleep 0.3; echo {i} >/made\n" for i in range(4)) + \
    "FROM busybox\n" + "".join(f"COPY --from=s{i} /made /made{i}\n" for i in range(4))


def make(name, dockerfile):
    directory = TOP / name
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    (directory / "Dockerfile").write_text(dockerfile)
    (directory / "file").write_text("content\n")
    return directory


def measure_builds(bench, what, directory, *options, rounds=None):
    """With BuildKit, and with the classic builder."""
    def measure(engine):
        return engine.time("build", "-q", "-t", "bench-build", *options, str(directory))
    for builder, name, engines in (("1", "", None), ("0", " (classic)", [bench.DOCKER, bench.BERTH])):
        os.environ["DOCKER_BUILDKIT"] = builder
        for engine in engines or bench.ENGINES:
            measure(engine)
        bench.show(what + name, "ms", bench.alternate(rounds or bench.SLOW, measure, engines))
    del os.environ["DOCKER_BUILDKIT"]


def row_build(bench):
    directory = make("small", SMALL)
    measure_builds(bench, "build of 6 steps, 2 RUN, nothing cached", directory, "--no-cache")
    measure_builds(bench, "the same, all cached", directory, rounds=bench.N)


def row_stages(bench):
    directory = make("stages", STAGES)
    measure_builds(bench, "build of 4 stages of 0.3 s each", directory, "--no-cache")


def row_context(bench):
    directory = make("context", "FROM busybox\nCOPY . /context\nRUN find /context -type f | wc -l >/count\n")
    for number in range(FILES):
        path = directory / f"d{number // 1000}" / f"f{number}"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"{number}\n" * 20)
    measure_builds(bench, f"build of {FILES} files, unchanged", directory)
    shutil.rmtree(TOP)


COMPILE = """FROM toolchain AS build
WORKDIR /src
COPY . .
RUN make -j2 CFLAGS=-O2 program
FROM busybox
COPY --from=build /src/program /program
"""
UNITS = 100


def unit(number):
    """A file of a program, which calls into the next one."""
    functions = "".join(f"""
static unsigned step{i}(unsigned *values, unsigned n)
{{
        unsigned sum = {number * 31 + i};
        for (unsigned k = 0; k < n; k++) {{
                values[k] = values[k] * {i + 3} + (sum >> {i % 7});
                sum ^= k % {i + 2} ? values[k] + {i} : strtoul("{i}", NULL, 10);
        }}
        return sum;
}}
""" for i in range(5))
    calls = "".join(f"        sum += step{i}(values, n);\n" for i in range(5))
    below = f"unit{number + 1}(values, n)" if number + 1 < UNITS else "0"
    return f"""#include <stdio.h>
#include <stdlib.h>
#include <string.h>
unsigned unit{number + 1}(unsigned *values, unsigned n);
{functions}
unsigned unit{number}(unsigned *values, unsigned n)
{{
        unsigned sum = 0;
{calls}        return sum + {below};
}}
"""


def row_compile(bench):
    """A stage that compiles a C program, and one that takes it."""
    for engine in bench.ENGINES:
        engine.time("load", "-i", "/root/toolchain.tar")
    directory = make("compile", COMPILE)
    for number in range(UNITS):
        (directory / f"unit{number}.c").write_text(unit(number))
    (directory / "main.c").write_text("#include <stdio.h>\nunsigned unit0(unsigned *values, unsigned n);\n"
                                      'int main(void) { unsigned values[64] = {0}; printf("%u\\n", unit0(values, 64)); }\n')
    (directory / "Makefile").write_text("program: $(patsubst %.c,%.o,$(wildcard *.c))\n\t$(CC) -o $@ $^\n")
    measure_builds(bench, f"build that compiles {UNITS + 1} C files", directory, "--no-cache", rounds=2)
    shutil.rmtree(TOP)


ROWS = {"build": row_build, "stages": row_stages, "context": row_context, "compile": row_compile}
