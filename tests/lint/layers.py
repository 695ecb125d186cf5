#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Checks that no module includes the contract of one it may not use (the table is the Makefile's USES_*)."""
import pathlib
import re
import sys

root = pathlib.Path(__file__).resolve().parents[2]
makefile = (root / "Makefile").read_text()
uses = {m: set(u.split()) for m, u in re.findall(r"^USES_(\w+) :=(.*)$", makefile, re.M)}
for _ in uses:
    for used in uses.values():
        for name in [n for n in used if n.startswith("$(USES_")]:
            used.discard(name)
            used |= uses[name[7:-1]]

OWNER = {
    "http": "http", "http-client": "http", "mount": "mount", "unit": "unit", "store": "store", "journal": "journal", "logfile": "logfile",
    "platform": "store", "digest": "store", "registry": "registry",
    "change": "dockerfile", "dockerfile": "dockerfile", "ignore": "dockerfile", "build": "build",
    "network": "network", "runtime": "runtime", "engine": "engine", "spec": "engine", "api": "api",
}
# monitor.h and config.h are data formats, not modules; the rest is util's.
bad = 0
checked = 0
for source in sorted((root / "src").glob("*/*.[ch]")):
    module = source.parent.name
    for header in re.findall(r'^#include "berth/([\w-]+)\.h"', source.read_text(), re.M):
        owner = OWNER.get(header, "util")
        checked += 1
        if header in ("monitor", "config") or owner in (module, "util") or owner in uses[module]:
            continue
        print(f"{source.relative_to(root)}: src/{module} may not use {owner} (berth/{header}.h)")
        bad += 1
print(f"layers: {checked} includes checked, {bad} forbidden")
sys.exit(bad > 0 or checked == 0)
