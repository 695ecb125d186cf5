#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Compares the options of each command in `berth COMMAND --help`, in its man page and in the bash completion, and the
commands themselves in `berth --help`, berth(1) and the completion.

usage: check-man.py [PROGRAM]"""
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = sys.argv[1] if len(sys.argv) > 1 else str(ROOT / "build/berth")
COMPLETION = ROOT / "src/client/completion/berth"
# Commands that share another's page.
SHARED = {f"{group} inspect": "inspect" for group in ("container", "image", "network", "volume")}


def get_help(path):
    return subprocess.run([PROGRAM, *path.split(), "--help"], capture_output=True, text=True, check=True).stdout


def sections(text):
    """The parts of a help text by heading."""
    result, name = {}, None
    for line in text.splitlines():
        if re.fullmatch(r"[A-Z][A-Za-z ]*:", line):
            name = line[:-1]
            result[name] = []
        elif line.startswith("  ") and name:
            result[name].append(line)
        elif line:
            name = None
    return result


def help_options(lines):
    options = set()
    for line in lines:
        if match := re.match(r"  (?:(-\S), |    )(--\S+)", line):
            options |= {match[2], *([match[1]] if match[1] else [])}
    return options


def man_options(page):
    text = page.read_text().split(".SH OPTIONS", 1)[1].split("\n.SH ", 1)[0].replace("\\-", "-")
    heads = re.findall(r"^\.TP\n(.*)$", text, re.M)
    return {option for head in heads for option in re.findall(r"\\fB(--?[\w-]+)\\fR", head)}


def completion_tables():
    script = f"""source {COMPLETION}
for key in "${{!_berth_options[@]}}"; do echo "options|$key|${{_berth_options[$key]}}" | tr -s '\\n ' ' '; echo; done
for key in "${{!_berth_groups[@]}}"; do echo "group|$key|${{_berth_groups[$key]}}" | tr -s '\\n ' ' '; echo; done
for key in "${{!_berth_letters[@]}}"; do echo "letters|$key|${{_berth_letters[$key]}}"; done
echo "flags||$_berth_flags"
echo "valued||$_berth_valued"
echo "commands||"$_berth_commands
"""
    output = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)
    if output.returncode != 0 or output.stderr:
        sys.exit(f"the completion cannot be read: {output.stderr}")
    tables = {}
    for line in output.stdout.splitlines():
        if line.count("|") >= 2:
            kind, key, value = line.split("|", 2)
            tables.setdefault(kind, {})[key] = value.split()
    return tables


def main():
    problems = []

    def compare(what, got, wanted):
        for word in sorted(wanted - got):
            problems.append(f"{what}: {word} is missing")
        for word in sorted(got - wanted):
            problems.append(f"{what}: {word} does not exist")

    tables = completion_tables()
    main_help = sections(get_help(""))
    commands = {line.split()[0] for line in main_help["Commands"]}
    groups = {line.split()[0] for line in main_help["Management Commands"]}
    compare("completion, commands", set(tables["commands"][""]) - {"help"}, commands | groups)
    compare("berth.1", man_options(ROOT / "man/berth.1") - {"--help"}, help_options(main_help["Global Options"]))
    compare("completion, berth", set(tables["options"]["berth"]) - {"--help"},
            help_options(main_help["Global Options"]))
    paths = set(commands)
    for group in groups:
        listed = {line.split()[0] for line in sections(get_help(group))["Commands"]}
        missing = listed - set(tables["group"].get(group, []))
        problems.extend(f"completion, berth {group}: {name} is missing" for name in missing)
        for name in tables["group"].get(group, []):
            first = subprocess.run([PROGRAM, group, name, "--help"], capture_output=True, text=True, check=False)
            if first.returncode != 0:
                problems.append(f"completion, berth {group}: {name} does not exist")
        for name in listed:
            aliases = sections(get_help(f"{group} {name}")).get("Aliases")
            if not aliases or not any(alias.split()[1:] == [command] for command in commands
                                      for alias in aliases[0].strip().split(", ")):
                paths.add(f"{group} {name}")
    pages = set()
    for path in sorted(paths):
        lines = sections(get_help(path)).get("Options", [])
        wanted = help_options(lines)
        page = ROOT / "man" / f"berth-{SHARED.get(path, path).replace(' ', '-')}.1"
        pages.add(page.name)
        if not page.exists():
            problems.append(f"{page.name} is missing")
        elif path not in SHARED:
            compare(page.name, man_options(page) - {"--help"}, wanted)
        if path not in tables["options"] and wanted:
            problems.append(f"completion, berth {path}: no options")
        elif path in tables["options"]:
            compare(f"completion, berth {path}", set(tables["options"][path]) - {"--help"}, wanted)
        for line in lines:
            match = re.match(r"  (?:-(\S), |    )--(\S+)( \S+)?", line)
            if not match:
                continue
            takes_value = bool(match[3])
            flag = f"--{match[2]}" in tables["flags"][""] and not (
                path in ("run", "create", "network connect") and f"--{match[2]}" in tables["valued"][""])
            if takes_value == flag:
                problems.append(f"completion, berth {path}: --{match[2]} takes {'a' if takes_value else 'no'} value")
            letters = "".join(tables["letters"].get(path, []))
            if match[1] and takes_value != (match[1] in letters):
                problems.append(f"completion, berth {path}: -{match[1]} takes {'a' if takes_value else 'no'} value")
    compare("man", {page.name for page in (ROOT / "man").glob("berth-*.1")}, pages)
    text = (ROOT / "man/berth.1").read_text().replace("\\-", "-")
    compare("berth.1, commands", set(re.findall(r"^\.TP\n\.BR (berth-\S+) \(1\)", text, re.M)),
            {name.removesuffix(".1") for name in pages})
    print("\n".join(problems) or f"{len(paths)} commands, their pages and the completion agree")
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())
