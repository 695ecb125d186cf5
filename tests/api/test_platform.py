# SPDX-License-Identifier: LGPL-2.1-or-later
"""The platform that a container is to be created for."""
import engine
from engine import call, succeed

CREATE = "/containers/create"


class Platform(engine.Case):
    BODY = {"Image": "busybox", "Cmd": ["true"], "Labels": {engine.LABEL: "1"}}

    def test_another_than_the_images(self):
        for platform in ("linux/arm64", "linux/arm64/v8", "windows/amd64"):
            text = self.refuse(404, "POST", CREATE, self.BODY, "image with reference busybox was found but does not", platform=platform)
            self.assertIn(platform, text)
        self.assertEqual(engine.ours(), [])

    def test_that_of_the_image(self):
        for platform in ("linux/amd64", "linux", ""):
            created = succeed("POST", CREATE, self.BODY, 201, platform=platform)
            self.assertEqual(engine.inspect(created["Id"])["Platform"], "linux")

    def test_no_platform(self):
        self.refuse(400, "POST", CREATE, self.BODY, platform="odd/odd/odd/odd")

    def test_before_the_parameter(self):
        answer = call("POST", "/v1.40" + CREATE, self.BODY, platform="linux/arm64")
        self.assertEqual(answer.status, 201)


if __name__ == "__main__":
    engine.main()
