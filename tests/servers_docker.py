"""Docker, for servers that the environment does not name.

Without Docker, or where an image cannot be had, the test is skipped aloud. A container that does
not come up is a failure: else a mistake in how it is started would look like a machine without
Docker.
"""

import contextlib
import functools
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from testcontainers.core.container import DockerContainer

IMAGES: Final = {
    "VIGIE_TEST_KAFKA": "apache/kafka:4.1.0",
    "VIGIE_TEST_S3": "minio/minio:RELEASE.2025-09-07T16-13-09Z",
    "VIGIE_TEST_SEAWEED_S3": "chrislusf/seaweedfs:4.48",
    "VIGIE_TEST_POSTGRES": "postgres:17",
}
"""Variable that would name the server -> image; ``<variable>_IMAGE`` names another one."""


def image_of(variable: str) -> str:
    """The image of a server, in Docker, pulled where it is not there; else the test is skipped."""
    from docker.errors import DockerException, ImageNotFound
    from testcontainers.core.docker_client import DockerClient

    image = os.environ.get(f"{variable}_IMAGE", IMAGES[variable])
    why = f"no server: wants the server {variable}"
    if missing := _without_docker():
        pytest.skip(f"{why}, or Docker ({missing})")
    images = DockerClient().client.images
    try:
        images.get(image)
    except ImageNotFound:
        try:
            images.pull(image)
        except DockerException as error:
            pytest.skip(f"{why}, or the image {image} in Docker ({type(error).__name__})")
    return image


_PROBE: Final = """
from testcontainers.core.docker_client import DockerClient
try:
    DockerClient()
except Exception as error:
    print(type(error).__name__)
"""


@functools.cache
def _without_docker() -> str:
    """What a missing daemon raises; empty: there is one.

    Asked in a process of its own: the client leaves the socket by which it found nobody open, and
    some later test would be blamed for it.
    """
    probe = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _PROBE], capture_output=True, text=True, check=True
    )
    return probe.stdout.strip()


@contextlib.contextmanager
def running(container: "DockerContainer") -> Iterator[tuple[str, int]]:
    """Start a container and wait until it is ready; host and port of its first port; remove it."""
    try:
        container.start()
        (port, *_) = container.ports
        yield container.get_container_host_ip(), int(container.get_exposed_port(int(port)))
    finally:
        container.stop()
