#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Links of the default bridge: second names of containers, by which others know them."""
import engine
from engine import Case, call, succeed

P = engine.PREFIX
BRIDGE = {"NetworkMode": "bridge"}


def links(reference):
    return engine.inspect(reference)["HostConfig"]["Links"]


def names(**query):
    """Of each container those that a list shows."""
    return {entry["Id"]: entry["Names"] for entry in succeed("GET", "/containers/json", **query)}


def variables(identifier):
    """Of the container's program, those that tell of links."""
    made = succeed("POST", f"/containers/{identifier}/exec", {"Cmd": ["env"], "AttachStdout": True}, status=201)["Id"]
    answer = call("POST", f"/exec/{made}/start", {"Detach": False})
    return [line for line in engine.streams(answer.body)[0].decode().splitlines() if line.startswith("STORE_")]


class Links(Case):
    def linked(self, *wanted, name="web", **host):
        return self.running("sleep", "600", name=name, host={**BRIDGE, "Links": list(wanted), **host})

    def target(self, name="db", **host):
        return self.running("sleep", "600", name=name, host={**BRIDGE, **host})

    def restart(self, identifier):
        self.assertEqual(call("POST", f"/containers/{identifier}/restart", t=0).status, 204)

    def test_a_name_of_the_target(self):
        with self.target() as db, self.linked(f"{P}db:store") as web:
            name = f"{P}web/store"
            self.assertEqual(engine.inspect(name)["Id"], db)
            self.assertEqual(call("POST", f"/containers/{name}/exec", {"Cmd": ["true"]}).status, 201)
            self.assertEqual(call("GET", f"/containers/{name}/top").status, 200)
            self.assertEqual(names(), {web: [f"/{P}web"], db: [f"/{P}db", f"/{name}"]})
            self.assertEqual(names(filters='{"name":["store"]}'), {}, "only its own is looked for")
            for wrong in (f"{P}web/stor", f"{P}web/store/x", f"{web[:12]}/store", f"{P}db/store"):
                self.refuse(404, "GET", f"/containers/{wrong}/json", text=f"No such container: {wrong}")
            with self.linked(f"{name}:again", name="another") as other:
                self.assertEqual(links(other), [f"/{P}db:/{P}another/again"])
                self.assertEqual(names()[db], [f"/{P}another/again", f"/{P}db", f"/{name}"], "sorted")
            self.assertEqual(names()[db], [f"/{P}db", f"/{name}"])
            self.assertEqual(call("POST", f"/containers/{web}/kill").status, 204)
            self.assertEqual(names(all=1)[db], [f"/{P}db", f"/{name}"])
            succeed("DELETE", f"/containers/{name}", force=1, status=204)
            self.refuse(404, "GET", f"/containers/{db}/json")
            self.refuse(404, "GET", f"/containers/{name}/json", text=f"No such container: {name}")

    def test_renaming(self):
        """Of the target, which the link follows, and of the one that has it."""
        with self.target() as db, self.linked(f"{P}db:store") as web:
            succeed("POST", f"/containers/{db}/rename", name=f"{P}data", status=204)
            self.assertEqual(links(web), [f"/{P}data:/{P}web/store"])
            self.restart(web)
            self.assertEqual(links(web), [f"/{P}data:/{P}web/store"])
            self.assertEqual(variables(web), [f"STORE_NAME=/{P}web/store"])
            with open(engine.inspect(web)["HostsPath"], encoding="ascii") as file:
                line, = [line.split() for line in file if "\tstore " in line]
            self.assertEqual((line[0], line[1], line[3]), (engine.inspect(db)["NetworkSettings"]["IPAddress"], "store", f"{P}data"))
            succeed("POST", f"/containers/{web}/rename", name=f"{P}shop", status=204)
            self.assertEqual(links(web), [f"/{P}data:/{P}shop/store"])
            self.assertEqual(engine.inspect(f"{P}shop/store")["Id"], db)
            self.refuse(404, "GET", f"/containers/{P}web/store/json")
            with self.target() as db2:  # has the first one's name now
                self.restart(web)
                self.assertEqual((links(web), engine.inspect(f"{P}shop/store")["Id"]), ([f"/{P}data:/{P}shop/store"], db))
                self.assertNotEqual(db, db2)

    def test_a_target_that_does_not_run(self):
        with self.target() as db, self.linked(f"{P}db:store") as web:
            text = f"Cannot link to a non running container: /{P}db AS /{P}web/store"
            for identifier in (web, db):
                self.assertEqual(call("POST", f"/containers/{identifier}/kill").status, 204)
                engine.finish(identifier)
            self.refuse(500, "POST", f"/containers/{web}/start", text=text)
            state = engine.inspect(web)["State"]
            self.assertEqual((state["Running"], state["Error"]), (False, text))
            self.refuse(500, "POST", f"/containers/{web}/restart", text=text)
            succeed("POST", f"/containers/{db}/start", status=204)
            succeed("POST", f"/containers/{web}/start", status=204)
            self.assertEqual(variables(web), [f"STORE_NAME=/{P}web/store"])
            self.assertEqual(call("POST", f"/containers/{web}/kill").status, 204)
            engine.finish(web)
            succeed("DELETE", f"/containers/{db}", force=1, status=204)
            self.assertEqual(links(web), [f"/{P}db:/{P}web/store"])
            self.refuse(500, "POST", f"/containers/{web}/start", text=text)
            with self.target():
                status = engine.differs(204, 500, "after a restart of the daemon dockerd, too, links to who has the name now")
                self.assertEqual(call("POST", f"/containers/{web}/start").status, status)

    def test_a_target_elsewhere(self):
        with self.target(NetworkMode="none"):
            made = engine.create("true", name="web", host={**BRIDGE, "Links": [f"{P}db:store"]})
            self.refuse(500, "POST", f"/containers/{made}/start", text=f"Cannot link to /{P}db, as it does not belong to the default network")

    def test_forms(self):
        with self.target() as db:
            for wanted, expected in (([f"{P}db"], [f"{P}db"]), ([f"/{P}db"], [f"{P}db"]), ([f"/{P}db:/x/y"], ["y"]),
                                     ([f"{P}db:x/y"], ["x/y"]), ([f"{P}db:/x/y"], ["x/y"]), ([f"{db[:12]}:id"], ["id"]), ([f"{P}db:"], []),
                                     ([f"{P}db:a", f"{P}db:a"], ["a"]), ([f"{P}db:a", f"{P}db:b"], ["a", "b"])):
                for mode in ("bridge", "none"):
                    made = engine.create("true", name="web", host={"NetworkMode": mode, "Links": wanted})
                    self.assertEqual(links(made) and sorted(links(made)), [f"/{P}db:/{P}web/{alias}" for alias in expected] or None, (wanted, mode))
                    succeed("DELETE", f"/containers/{made}", status=204)
            for wrong, status, text in (("nosuch:x", 400, "could not get container for nosuch: No such container: nosuch"),
                                        ("", 500, "empty string specified for links"), (":x", 400, "could not get container for : "),
                                        (f"{P}db:a:b", 500, f"bad format for links: {P}db:a:b")):
                self.refuse(status, "POST", "/containers/create", {"Image": "busybox", "HostConfig": {**BRIDGE, "Links": [wrong]}}, text=text)

    def test_a_link_is_taken_back(self):
        db, web = P + "db", P + "web"
        with self.target(), \
                self.linked(f"{db}:store", f"/{db}:/x/other") as container:
            def hosts():
                with open(engine.inspect(container)["HostsPath"], encoding="ascii") as file:
                    return [line.split()[1] for line in file if "172." in line]
            self.assertEqual(sorted(links(container)), [f"/{db}:/{web}/other", f"/{db}:/{web}/store"])
            self.assertEqual(sorted(hosts())[-2:], ["other", "store"])
            self.refuse(500, "DELETE", f"/containers/{web}", link=1, text="Conflict, cannot remove the default link name of the container")
            for path in (f"{web}/nosuch", f"nosuch/{db}"):
                self.refuse(404, "DELETE", f"/containers/{path}", link=1, text=f"No such container: {path}")
            succeed("DELETE", f"/containers/{web}/store", link=1, status=204)
            self.assertEqual(links(container), [f"/{db}:/{web}/other"])
            self.assertIn("other", hosts())
            self.assertNotIn("store", hosts())
            self.refuse(404, "DELETE", f"/containers/{web}/store", link=1)
            succeed("DELETE", f"/containers/{web}/other", link=1, status=204)
            self.assertIsNone(links(container))
            self.assertTrue(engine.inspect(container)["State"]["Running"])


if __name__ == "__main__":
    engine.main()
