#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The messages of refused requests (the table of test_errors.py), word for word beside dockerd's. Every difference has to be
listed, with its reason: $ENGINE_SOCKET is Berth's, $REFERENCE_SOCKET is dockerd's."""
import json
import re
import unittest

import engine
import test_errors
from compare_shapes import BERTH, REFERENCE

# Pattern of the request's name, reason.
DIFFERENCES = [
    (r"^json: (single quotes|UTF-16|100,000 \w+ deep|17 MB in chunks)$", "in the words of the parser in use"),
    (r"^field: Memory too large$", "in the words of the parser in use"),
    (r"^name: (name (a%00b|bad%zz)|container with a zero byte)$", "such a target is refused before it is routed"),
    (r"^name: no image named$", "Berth says what is missing"),
    (r"^query: logs (since|until)( too large| with a blank)?$", "as later engines say it"),
    (r"^query: update: swap without memory$", "refused before the runtime has to"),
    (r"^query: version too new$", "the newest version is another one"),
]


def message(answer):
    """None where the answer is no JSON: then there is nothing to compare."""
    try:
        return re.sub(r"[0-9a-f]{64}", "ID", json.loads(answer.body)["message"])
    except (ValueError, KeyError, TypeError):
        return None


class Messages(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        for server in (BERTH, REFERENCE):
            test_errors.make_containers(server)
            cls.addClassCleanup(engine.clean_up, server)

    def test_same_as_dockerd(self):
        unused = set(DIFFERENCES)
        compared = 0
        for name, raw, status in test_errors.TABLE:
            other, _ = test_errors.DIFFERENCES.get(name, (status, ""))
            if status < 400 or other is None or other < 400 or name.startswith("http: "):
                continue
            ours, theirs = (message(test_errors.answer_of(raw, server)) for server in (BERTH, REFERENCE))
            if theirs is None:
                continue
            compared += 1
            with self.subTest(name):
                row = next((row for row in DIFFERENCES if re.search(row[0], name)), None)
                if ours != theirs and row:
                    unused.discard(row)
                else:
                    self.assertEqual(ours, theirs)
        self.assertGreater(compared, 150)
        self.assertEqual(unused, set(), "a difference that is gone leaves the table")


if __name__ == "__main__":
    engine.main()
