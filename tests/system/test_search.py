#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Searches of an index that is made up, and speaks as the Hub does: what the client is told, by the daemon and by dockerd, and
what both clients make of it."""
import base64
import json
import os
import subprocess
import unittest
import urllib.parse

import hosted
import registry_servers as registries
from hosted import BERTH, REFERENCE, run

PORT = 5063
HERE = f"127.0.0.1:{PORT}"
CONFIG = "/etc/berth/daemon.json"
FOUND = [{"name": "alpine", "description": "small", "is_official": True, "is_automated": False, "star_count": 10000},
         {"name": "me/alpine", "description": "mine", "is_official": False, "is_automated": True, "star_count": 3},
         {"name": "you/long", "description": "This goes on\nand on, so that nobody would read it to its end in a table",
          "is_official": False, "is_automated": False, "star_count": 2},
         {"name": "you/just", "description": "Of forty-five characters, which are all shown", "is_official": False,
          "is_automated": False, "star_count": 1},
         {"name": "they/ünïcode", "description": "Größe und Länge, die man in Zeichen zählt, nicht in Bytes", "is_official": False,
          "is_automated": False, "star_count": 0},
         {"name": "they/silent", "description": "", "is_official": True, "is_automated": False, "star_count": 0}]


class Index(registries.Handler):
    """GET /v1/search?q=&n=, and the greeting, which is asked for before some searches."""

    def handle_method(self):
        url = urllib.parse.urlsplit(self.path)
        self.server.seen.append((self.path, self.headers.get("Authorization")))
        if self.server.broken:
            status, body = self.server.broken
            self.answer(status, body)
        elif url.path != "/v1/search":
            self.answer(200, b"{}", X_Docker_Registry_Standalone="true")
        else:
            found = FOUND[:int(urllib.parse.parse_qs(url.query)["n"][0])]
            self.answer(200, json.dumps({"num_results": len(found), "query": "x", "results": found}).encode())


class TestSearch(unittest.TestCase):
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        registries.prepare_address()
        cls.index = registries.serve("0.0.0.0", PORT, Index, seen=[], broken=None)
        cls.reference = hosted.start_reference()

    @classmethod
    def tearDownClass(cls):
        registries.stop(cls.index)
        if os.path.exists(CONFIG):
            os.remove(CONFIG)
        run("systemctl", "stop", "berth.service")

    def setUp(self):
        self.index.seen, self.index.broken = [], None

    def both(self, query):
        """What both daemons answer, which is the same."""
        answers = [hosted.call("GET", f"/v1.45/images/search?{query}", server=server) for server in (BERTH, REFERENCE)[:1 + self.reference]]
        told = [(answer.status, answer.json()) for answer in answers]
        self.assertEqual(told, told[:1] * len(told), query)
        return told[0]

    def names(self, **filters):
        status, found = self.both(f"term={HERE}/alpine&filters=" + urllib.parse.quote(json.dumps(filters)))
        self.assertEqual(status, 200, found)
        return [item["name"] for item in found]

    def test_fields(self):
        status, found = self.both(f"term={HERE}/alpine")
        # Nothing is automated any more.
        self.assertEqual((status, found), (200, [{**item, "is_automated": False} for item in FOUND]))

    def test_limit(self):
        for limit in (1, 2, 100):
            status, found = self.both(f"term={HERE}/alpine&limit={limit}")
            self.assertEqual((status, [item["name"] for item in found]), (200, [item["name"] for item in FOUND[:limit]]))
        self.both(f"term={HERE}/alpine")
        asked = [path for path, _ in self.index.seen if "search" in path]
        self.assertEqual({path.split("&n=")[1] for path in asked}, {"1", "2", "100", "25"})

    def test_filters(self):
        every = [item["name"] for item in FOUND]
        official = ["alpine", "they/silent"]
        self.assertEqual(self.names(**{"is-official": ["true"]}), official)
        self.assertEqual(self.names(**{"is-official": {"true": True}}), official)
        self.assertEqual(self.names(**{"is-official": ["0"]}), [name for name in every if name not in official])
        self.assertEqual(self.names(**{"is-automated": ["true"]}), [])
        self.assertEqual(self.names(**{"is-automated": ["false"]}), every)
        self.assertEqual(self.names(stars=["2"]), every[:3])
        self.assertEqual(self.names(stars=["2", "3"]), every[:2])
        self.assertEqual(self.names(stars=["1"], **{"is-official": ["true"]}), ["alpine"])

    def test_refusals(self):
        for filters in ({"no": ["1"]}, {"stars": ["x"]}, {"is-official": ["perhaps"]}, {"is-official": []}, {"is-automated": ["perhaps"]}):
            status, _ = self.both(f"term={HERE}/x&filters=" + urllib.parse.quote(json.dumps(filters)))
            self.assertEqual(status, 400, filters)
        # In which order dockerd names them is a matter of chance.
        two = hosted.call("GET", f"/v1.45/images/search?term={HERE}/x&filters=" + urllib.parse.quote('{"is-official":["true","false"]}'))
        self.assertEqual((two.status, two.message()), (400, "invalid filter 'is-official=[true false]'"))
        self.assertEqual(self.both(f"term={HERE}/x&limit=101")[0], 400)
        # Here dockerd answers with nothing.
        self.assertEqual(hosted.call("GET", f"/v1.45/images/search?term={HERE}/x&limit=-1").status, 400)
        self.assertEqual(self.both(f"term=http://{HERE}/x")[0], 400)

    def test_broken_index(self):
        for broken in ((500, b"no"), (404, b"{}"), (200, b"no JSON")):
            self.index.broken = broken
            self.assertNotEqual(hosted.call("GET", f"/v1.45/images/search?term={HERE}/x").status, 200, broken)

    def test_endpoint_and_login(self):
        """The Hub's place is taken by what the configuration says, and it is told who asks."""
        os.makedirs(os.path.dirname(CONFIG), exist_ok=True)
        with open(CONFIG, "w", encoding="ascii") as file:
            json.dump({"search-endpoint": f"http://{registries.ADDRESS}:{PORT}/v1/"}, file)
        run("systemctl", "stop", "berth.service")
        header = base64.urlsafe_b64encode(b'{"username":"u","password":"p"}').decode()
        answer = hosted.call("GET", "/v1.45/images/search?term=a%20b&limit=7", headers=[f"X-Registry-Auth: {header}"])
        self.assertEqual((answer.status, len(answer.json())), (200, len(FOUND)))
        self.assertEqual(self.index.seen[-1], ("/v1/search?q=a%20b&n=7", "Basic " + base64.b64encode(b"u:p").decode()))
        self.assertIn("me/alpine", run("docker", "search", "alpine"))
        self.assertEqual(self.index.seen[-1], ("/v1/search?q=alpine&n=25", None))

    def test_clients(self):
        """Both clients print the same, of either daemon."""
        fields = ("Name", "Description", "StarCount", "IsOfficial", "IsAutomated")
        variants = [[], ["--no-trunc"], ["--limit", "2"], ["--filter", "is-official=true"], ["-f", "stars=2", "-f", "is-official=false"],
                    ["--format", "json"], ["--format", "{{json .}} {{.Name}}"], ["--format", "table {{.Name}}\t{{.IsAutomated}}"], ["--format", "table {{.Name}}\t{{.StarCount}}"],
                    *(["--format", f"{{{{.{field}}}}}"] for field in fields), *(["--no-trunc", "--format", f"{{{{json .{field}}}}}"] for field in fields)]
        for variant in variants:
            with self.subTest(variant):
                told = {(client, server): run(client, "-H", f"unix://{server}", "search", *variant, f"{HERE}/alpine")
                        for client in ("docker", "berth") for server in (BERTH, REFERENCE)[:1 + self.reference]}
                self.assertEqual(len(set(told.values())), 1, told)
        wrong = [subprocess.run((client, "search", *arguments), capture_output=True, check=False)
                 for client in ("docker", "berth") for arguments in ((), ("--limit", "101", f"{HERE}/x"), ("-f", "no=1", f"{HERE}/x"))]
        self.assertTrue(all(result.returncode and result.stderr for result in wrong), wrong)


if __name__ == "__main__":
    unittest.main()
