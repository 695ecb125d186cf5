#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Images: load, import, list, inspect, history, tag, removal and its conflicts."""
import engine
from engine import PREFIX, Answer, Case, build, call, create, image_archive, layer_tar, load, run, send_raw, streams, succeed

CONFIG = {"Env": ["A=b"], "Cmd": ["/a"], "Labels": {"x": "y"}, "WorkingDir": "/w"}


def make(tag, files=None, config=None, **members):
    """Loads an image of one layer; gives its ID."""
    archive, identifier = image_archive([PREFIX + tag], [files or {"file": tag.encode()}], config or CONFIG, **members)
    answer = load(archive)
    assert answer.status == 200 and "Loaded image" in answer.body.decode(), answer.body
    return identifier


def listed(**query):
    """The suite's tags that a list shows, in its order."""
    return [tag.removeprefix(PREFIX) for image in succeed("GET", "/images/json", **query) for tag in image["RepoTags"] or []
            if tag.startswith(PREFIX)]


def remove(name, **query):
    return call("DELETE", f"/images/{name}", **query)


class Load(Case):
    def test_answer(self):
        archive, identifier = image_archive([PREFIX + "a:1", PREFIX + "b:2"], [{"x": b"1"}], CONFIG)
        answer = Answer(send_raw(engine.SOCKET, build("POST", "/images/load", archive, ("Content-Type: application/x-tar",))))
        self.assertEqual((answer.status, answer.headers["content-type"]), (200, "application/json"))
        texts = [line["stream"] for line in answer.lines() if "stream" in line]
        self.assertEqual(texts, [f"Loaded image: {PREFIX}a:1\n", f"Loaded image: {PREFIX}b:2\n"])
        self.assertEqual(succeed("GET", f"/images/{PREFIX}b:2/json")["Id"], identifier)

    def test_without_tags(self):
        archive, identifier = image_archive(None, [{"x": b"untagged"}], CONFIG)
        self.addCleanup(remove, identifier)
        self.assertIn({"stream": f"Loaded image ID: {identifier}\n"}, load(archive).lines())
        self.assertEqual(succeed("GET", f"/images/{identifier}/json")["RepoTags"], [])

    def test_moves_a_tag(self):
        first = make("a:1", {"x": b"1"})
        self.addCleanup(remove, first)
        second = make("a:1", {"x": b"2"})
        self.assertNotEqual(first, second)
        self.assertEqual(succeed("GET", f"/images/{PREFIX}a:1/json")["Id"], second)
        self.assertEqual(succeed("GET", f"/images/{first}/json")["RepoTags"], [])

    def test_twice(self):
        self.assertEqual(make("a:1"), make("a:1"))
        self.assertEqual(listed(), ["a:1"])

    def test_chunked_body(self):
        archive, identifier = image_archive([PREFIX + "a:1"], [{"x": b"chunks"}], CONFIG)
        body = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in (archive[i:i + 5000] for i in range(0, len(archive), 5000)))
        raw = build("POST", "/images/load?quiet=1", body + b"0\r\n\r\n", ("Transfer-Encoding: chunked", "Content-Type: x/tar"))
        self.assertEqual(Answer(send_raw(engine.SOCKET, raw)).status, 200)
        self.assertEqual(succeed("GET", f"/images/{PREFIX}a:1/json")["Id"], identifier)

    def test_nonsense(self):
        """Tells of an error, one way or the other, and leaves nothing."""
        archive = image_archive([PREFIX + "a:1"], [{"x": b"1"}])[0]
        for body in (b"", b"nonsense" * 1000, archive[:len(archive) // 2], layer_tar({"manifest.json": b"{"}),
                     layer_tar({"manifest.json": b'[{"Config": "nosuch.json", "Layers": []}]'}), layer_tar({"x": b"y"})):
            answer = load(body)
            failed = answer.status >= 400 or any("error" in line for line in answer.lines())
            self.assertTrue(failed or not body, (body[:40], answer.raw))
        self.assertEqual(listed(), [])

    def test_wrong_layer(self):
        """A layer that is not the one its image names."""
        archive, _ = image_archive([PREFIX + "a:1"], [{"x": b"1111"}])
        answer = load(archive.replace(b"1111", b"2222"))
        self.assertTrue(answer.status >= 400 or any("error" in line for line in answer.lines()), answer.raw)
        self.assertEqual(listed(), [])

    def test_runs(self):
        with open(engine.BUSYBOX, "rb") as archive:
            load(archive.read())
        identifier = run("cat", "/etc/passwd")
        output = streams(call("GET", f"/containers/{identifier}/logs", stdout=True).body)[0]
        self.assertIn(b"root:x:0:0:", output)


class Import(Case):
    def send(self, body, **query):
        path = engine.target("/images/create", {"fromSrc": "-", **query})
        return Answer(send_raw(engine.SOCKET, build("POST", path, body, ("Content-Type: application/x-tar",))))

    def test_import(self):
        answer = self.send(layer_tar({"file": b"x"}), repo=PREFIX + "i", tag="1", message="made by hand")
        identifier = answer.lines()[-1]["status"]
        self.assertRegex(identifier, "^sha256:[0-9a-f]{64}$")
        image = succeed("GET", f"/images/{PREFIX}i:1/json")
        self.assertEqual((image["Id"], image["Comment"], image["Os"]), (identifier, "made by hand", "linux"))
        self.assertEqual(len(image["RootFS"]["Layers"]), 1)
        history = succeed("GET", f"/images/{PREFIX}i:1/history")
        self.assertEqual([(step["Id"], step["Comment"]) for step in history], [(identifier, "made by hand")])

    def test_changes(self):
        path = engine.target("/images/create", {"fromSrc": "-", "repo": PREFIX + "i"}) + "".join(
            "&changes=" + change.replace(" ", "%20").replace('"', "%22") for change in
            ('CMD ["a","b"]', "ENV A=1", "WORKDIR /w", "LABEL k=v", "EXPOSE 80", "USER 5", "ENTRYPOINT /e", "VOLUME /v",
             "STOPSIGNAL SIGINT"))
        answer = Answer(send_raw(engine.SOCKET, build("POST", path, layer_tar({"f": b"changes"}))))
        self.skip_if_missing(answer)
        self.assertNotIn("error", answer.lines()[-1])
        config = succeed("GET", f"/images/{PREFIX}i:latest/json")["Config"]
        self.assertEqual((config["Cmd"], config["WorkingDir"], config["User"]), (["a", "b"], "/w", "5"))
        self.assertIn("A=1", config["Env"])
        self.assertEqual((config["Labels"], config["ExposedPorts"], config["Volumes"]), ({"k": "v"}, {"80/tcp": {}}, {"/v": {}}))
        self.assertEqual((config["Entrypoint"], config["StopSignal"]), (["/bin/sh", "-c", "/e"], "SIGINT"))

    def test_refused(self):
        for query in ({"repo": "UPPER"}, {"repo": PREFIX + "i", "tag": "-x"}, {"repo": PREFIX + "i", "changes": "NOSUCH x"},
                      {"repo": PREFIX + "i", "changes": "RUN x"}):
            answer = self.send(layer_tar({"f": b"refused"}), **query)
            self.assertTrue(answer.status >= 400 or any("error" in line for line in answer.lines()), (query, answer.raw))


class Show(Case):
    def test_inspect(self):
        identifier = make("a:1", config={**CONFIG, "User": "u", "ExposedPorts": {"80/tcp": {}}}, author="Somebody", comment="said",
                          docker_version="1.2", variant="v8")
        image = succeed("GET", f"/images/{PREFIX}a:1/json")
        self.assertEqual((image["Id"], image["RepoTags"], image["RepoDigests"]), (identifier, [f"{PREFIX}a:1"], []))
        self.assertEqual((image["Author"], image["Comment"], image["DockerVersion"]), ("Somebody", "said", "1.2"))
        self.assertEqual((image["Architecture"], image["Variant"], image["Os"]), ("amd64", "v8", "linux"))
        self.assertEqual(image["Created"], "2024-05-06T07:08:09.123456789Z")
        self.assertEqual((image["Config"]["Env"], image["Config"]["Cmd"]), (["A=b"], ["/a"]))
        self.assertEqual(image["Config"]["Labels"], {"x": "y"})
        self.assertEqual((image["RootFS"]["Type"], len(image["RootFS"]["Layers"])), ("layers", 1))
        self.assertEqual(image["Size"], len("a:1"))

    def test_names(self):
        identifier = make("a:latest")
        for name in (PREFIX + "a", PREFIX + "a:latest", f"docker.io/library/{PREFIX}a", identifier, identifier[7:], identifier[7:19]):
            self.assertEqual(succeed("GET", f"/images/{name}/json")["Id"], identifier, name)
        self.refuse(404, "GET", f"/images/{PREFIX}a:nosuch/json", text=f"No such image: {PREFIX}a:nosuch")

    def test_versions(self):
        make("a:1", container_config={"Cmd": ["/c"]})
        for minor in (24, 43, 44, 45):
            image = succeed("GET", f"/v1.{minor}/images/{PREFIX}a:1/json")
            entry = [entry for entry in succeed("GET", f"/v1.{minor}/images/json") if entry["Id"] == image["Id"]][0]
            self.assertEqual(image.get("VirtualSize"), image["Size"] if minor < 44 else None)
            self.assertEqual(entry.get("VirtualSize"), entry["Size"] if minor < 44 else None)
            self.assertEqual(image.get("ContainerConfig", {}).get("Cmd"), ["/c"] if minor < 45 else None)
            self.assertEqual(image["Config"]["Hostname"], "")

    def test_history(self):
        archive, identifier = image_archive([PREFIX + "a:1", PREFIX + "a:2"], [{"x": b"1"}, {"y": b"22"}], CONFIG, history=[
            {"created": "2024-05-06T07:08:09Z", "created_by": "one", "comment": "first"},
            {"created": "2024-05-06T07:08:10Z", "created_by": "two", "empty_layer": True},
            {"created": "2024-05-06T07:08:11Z", "created_by": "three"}])
        load(archive)
        history = succeed("GET", f"/images/{PREFIX}a:1/history")
        self.assertEqual([(step["CreatedBy"], step["Size"], step["Comment"]) for step in history],
                         [("three", 2, ""), ("two", 0, ""), ("one", 1, "first")])
        self.assertEqual([step["Created"] for step in history], [1714979291, 1714979290, 1714979289])
        self.assertEqual([step["Id"] for step in history], [identifier, "<missing>", "<missing>"])
        self.assertEqual(sorted(history[0]["Tags"]), [f"{PREFIX}a:1", f"{PREFIX}a:2"])
        self.assertEqual(history[1]["Tags"], None)

    def test_list(self):
        make("old:1", created="2020-01-01T00:00:00Z")
        make("new:1", created="2022-01-01T00:00:00Z")
        make("mid:1", created="2021-01-01T00:00:00Z", config={"Labels": {"k": "1", "l": "2"}})
        self.assertEqual(listed(), ["new:1", "mid:1", "old:1"])
        for filters, expected in (
                ({"reference": [PREFIX + "old"]}, ["old:1"]), ({"reference": [PREFIX + "*"]}, ["new:1", "mid:1", "old:1"]),
                ({"reference": [PREFIX + "*:2"]}, []), ({"reference": [PREFIX + "old:1", PREFIX + "new"]}, ["new:1", "old:1"]),
                ({"label": ["k"]}, ["mid:1"]), ({"label": ["k=1", "l=2"]}, ["mid:1"]), ({"label": ["k=2"]}, []),
                ({"before": [PREFIX + "mid:1"]}, ["old:1"]), ({"since": [PREFIX + "mid:1"]}, ["new:1"]),
                ({"until": ["2021-06-01T00:00:00Z"]}, ["mid:1", "old:1"]), ({"dangling": ["true"]}, []),
                ({"dangling": ["false"]}, ["new:1", "mid:1", "old:1"]), ({"dangling": ["0"], "label": ["k"]}, ["mid:1"])):
            self.assertEqual(listed(filters=filters), expected, filters)
        entry = [image for image in succeed("GET", "/v1.45/images/json") if image["RepoTags"] == [PREFIX + "mid:1"]][0]
        self.assertEqual((entry["Created"], entry["Labels"], entry["Containers"]), (1609459200, {"k": "1", "l": "2"}, -1))
        self.assertEqual((entry["ParentId"], entry["SharedSize"], entry["Size"]), ("", -1, len("mid:1")))

    def test_shared_size(self):
        """An image's layers that are in another image, too."""
        for tag, layers in (("one:1", [{"x": b"12345"}, {"y": b"1"}]), ("two:1", [{"x": b"12345"}, {"z": b"22"}])):
            load(image_archive([PREFIX + tag], layers)[0])
        for size, query in ((5, {"shared-size": True}), (-1, {})):
            sizes = {image["RepoTags"][0]: image["SharedSize"] for image in succeed("GET", "/images/json", **query) if image["RepoTags"]}
            self.assertEqual((sizes[PREFIX + "one:1"], sizes[PREFIX + "two:1"]), (size, size))

    def test_dangling(self):
        archive, identifier = image_archive(None, [{"x": b"dangling"}], CONFIG)
        self.addCleanup(remove, identifier)
        load(archive)
        for filters, there in (({}, True), ({"dangling": ["true"]}, True), ({"dangling": ["false"]}, False),
                               ({"reference": ["*"]}, False)):
            found = [image for image in succeed("GET", "/images/json", filters=filters) if image["Id"] == identifier]
            self.assertEqual(len(found), int(there), filters)
        found = [image for image in succeed("GET", "/v1.42/images/json") if image["Id"] == identifier][0]
        self.assertEqual((found["RepoTags"], found["RepoDigests"]), (["<none>:<none>"], ["<none>@<none>"]))


class Tag(Case):
    def test_tag(self):
        identifier = make("a:1")
        for source, repository, tag, name in ((PREFIX + "a:1", PREFIX + "b", "2", PREFIX + "b:2"),
                                              (identifier, PREFIX + "c", None, PREFIX + "c:latest"),
                                              (identifier[7:20], f"localhost:5000/{PREFIX}d/e", "v1.0-x", f"localhost:5000/{PREFIX}d/e:v1.0-x"),
                                              (PREFIX + "a:1", PREFIX + "f:9", None, PREFIX + "f:9")):
            answer = call("POST", f"/images/{source}/tag", repo=repository, tag=tag)
            self.assertEqual((answer.status, answer.body), (201, b""))
            self.assertEqual(succeed("GET", f"/images/{name}/json")["Id"], identifier)
        self.addCleanup(remove, f"localhost:5000/{PREFIX}d/e:v1.0-x")
        self.assertEqual(len(succeed("GET", f"/images/{identifier}/json")["RepoTags"]), 5)

    def test_moves(self):
        make("a:1")
        other = make("b:1")
        self.assertEqual(call("POST", f"/images/{PREFIX}b:1/tag", repo=PREFIX + "a", tag="1").status, 201)
        self.assertEqual(succeed("GET", f"/images/{PREFIX}a:1/json")["Id"], other)

    def test_last_tag_time(self):
        identifier = make("a:1")
        call("POST", f"/images/{identifier}/tag", repo=PREFIX + "b")
        self.assertGreater(succeed("GET", f"/images/{identifier}/json")["Metadata"]["LastTagTime"], "2024")

    def test_refused(self):
        self.refuse(404, "POST", f"/images/{PREFIX}nosuch/tag", repo="x", text=f"No such image: {PREFIX}nosuch:latest")
        self.refuse(400, "POST", "/images/busybox/tag", repo="UPPER",
                    text="invalid reference format: repository name (library/UPPER) must be lowercase")
        self.refuse(400, "POST", "/images/busybox/tag", repo="x", tag="a b", text="invalid tag format")


class Remove(Case):
    def test_remove(self):
        archive, identifier = image_archive([PREFIX + "a:1"], [{"x": b"1"}, {"y": b"removed"}], CONFIG)
        load(archive)
        items = succeed("DELETE", f"/images/{PREFIX}a:1")
        self.assertEqual(items[:2], [{"Untagged": f"{PREFIX}a:1"}, {"Deleted": identifier}])
        self.assertEqual(len(items), 4, "and each layer")
        self.assertTrue(all(item["Deleted"].startswith("sha256:") for item in items[2:]))
        self.refuse(404, "GET", f"/images/{identifier}/json")

    def test_one_of_several_tags(self):
        identifier = make("a:1")
        call("POST", f"/images/{identifier}/tag", repo=PREFIX + "b")
        self.assertEqual(succeed("DELETE", f"/images/{PREFIX}a:1"), [{"Untagged": f"{PREFIX}a:1"}])
        self.assertEqual(succeed("GET", f"/images/{identifier}/json")["RepoTags"], [f"{PREFIX}b:latest"])

    def test_by_id(self):
        identifier = make("a:1")
        call("POST", f"/images/{identifier}/tag", repo=PREFIX + "b")
        message = self.refuse(409, "DELETE", f"/images/{identifier}")
        self.assertEqual(message, f"conflict: unable to delete {identifier[7:19]} (must be forced) - image is referenced in multiple "
                         "repositories")
        items = succeed("DELETE", f"/images/{identifier}", force=True)
        self.assertEqual([item["Untagged"] for item in items if "Untagged" in item], [f"{PREFIX}a:1", f"{PREFIX}b:latest"])
        self.refuse(404, "GET", f"/images/{identifier}/json")

    def test_of_a_stopped_container(self):
        identifier = make("a:1")
        container = create("x", Image=PREFIX + "a:1")
        message = self.refuse(409, "DELETE", f"/images/{PREFIX}a:1")
        self.assertEqual(message, f'conflict: unable to remove repository reference "{PREFIX}a:1" (must force) - container '
                         f"{container[:12]} is using its referenced image {identifier[7:19]}")
        message = self.refuse(409, "DELETE", f"/images/{identifier}")
        self.assertEqual(message, f"conflict: unable to delete {identifier[7:19]} (must be forced) - image is being used by stopped "
                         f"container {container[:12]}")
        self.assertEqual(succeed("DELETE", f"/images/{PREFIX}a:1", force=True)[0], {"Untagged": f"{PREFIX}a:1"})

    def test_container_outlives_its_image(self):
        """What is removed by force is gone for everybody but the containers made of it."""
        archive, identifier = image_archive([PREFIX + "gone:1"], [{"file": b"content"}], CONFIG)
        with open(engine.BUSYBOX, "rb") as file:
            busybox = file.read()
        load(busybox)
        base = run("sh", "-c", "echo kept >/kept")
        image = succeed("POST", "/commit", container=base, repo=PREFIX + "gone", tag="2")["Id"]
        container = create("cat", "/kept", Image=PREFIX + "gone:2")
        items = succeed("DELETE", f"/images/{PREFIX}gone:2", force=True)
        self.assertEqual(items, [{"Untagged": f"{PREFIX}gone:2"}, {"Deleted": image}])
        self.assertNotIn(image, [entry["Id"] for entry in succeed("GET", "/images/json", all=True)])
        for name in (image, image[7:], image[7:19], PREFIX + "gone:2"):
            self.refuse(404, "GET", f"/images/{name}/json")
            self.refuse(404, "POST", "/containers/create", {"Image": name, "Cmd": ["x"]})
        for count in (1, 2):
            call("POST", f"/containers/{container}/start")
            self.assertEqual(succeed("POST", f"/containers/{container}/wait")["StatusCode"], 0)
            self.assertEqual(streams(call("GET", f"/containers/{container}/logs", stdout=True).body)[0], b"kept\n" * count)
        self.assertEqual(succeed("GET", f"/containers/{container}/json")["Image"], image)
        self.assertIn(b"kept", call("GET", f"/containers/{container}/export").body)
        self.assertEqual(call("DELETE", f"/containers/{container}").status, 204)
        # The same image can be had again, also while the container is there.
        for removed in (True, False):
            load(archive)
            container = create("x", Image=PREFIX + "gone:1")
            self.assertEqual(len(succeed("DELETE", f"/images/{PREFIX}gone:1", force=True)), 2)
            if removed:
                call("DELETE", f"/containers/{container}")
            self.assertIn("Loaded image", load(archive).body.decode())
            self.assertEqual(succeed("GET", f"/images/{PREFIX}gone:1/json")["Id"], identifier)
            call("DELETE", f"/containers/{container}")
            self.assertEqual(len(succeed("DELETE", f"/images/{PREFIX}gone:1")), 3, "with its layer")

    def test_of_a_running_container(self):
        call("POST", "/images/busybox/tag", repo=PREFIX + "running")
        with self.running(Image=PREFIX + "running") as container:
            message = self.refuse(409, "DELETE", f"/images/{self.busybox}", force=True)
            self.assertEqual(message, f"conflict: unable to delete {self.busybox[7:19]} (cannot be forced) - image is being used by "
                             f"running container {container[:12]}")
            self.assertEqual(succeed("DELETE", f"/images/{PREFIX}running", force=True), [{"Untagged": f"{PREFIX}running:latest"}])

    def test_unknown(self):
        self.refuse(404, "DELETE", f"/images/{PREFIX}nosuch", text=f"No such image: {PREFIX}nosuch:latest")

    def test_layers_of_others_stay(self):
        load(image_archive([PREFIX + "a:1"], [{"x": b"shared"}, {"y": b"1"}])[0])
        load(image_archive([PREFIX + "b:1"], [{"x": b"shared"}, {"z": b"2"}])[0])
        items = succeed("DELETE", f"/images/{PREFIX}a:1")
        self.assertEqual(len([item for item in items if "Deleted" in item]), 2, "the image and its own layer")
        self.assertEqual(len(succeed("GET", f"/images/{PREFIX}b:1/json")["RootFS"]["Layers"]), 2)


if __name__ == "__main__":
    engine.main()
