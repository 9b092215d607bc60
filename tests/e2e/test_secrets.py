"""I11: the password of a camera is seen on the wire to that camera, and nowhere else."""

import base64
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import grpc.aio
import pytest

from e2e import estate
from e2e.harness import Cameras, Installation
from vigie.registry.v1 import cameras_pb2, cameras_pb2_grpc

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="session")]


def disguises() -> list[bytes]:
    """Forms in which the password might leak."""
    plain = estate.PASSWORD.encode()
    login = b"vigie:" + plain
    realm = f"vigie:Simulated camera:{estate.PASSWORD}".encode()
    return [
        plain,
        base64.b64encode(login),
        base64.b64encode(plain).rstrip(b"="),
        plain.hex().encode(),
        hashlib.md5(realm, usedforsecurity=False).hexdigest().encode(),
        hashlib.sha256(realm).hexdigest().encode(),
    ]


def files_of(vigie: Installation) -> Iterator[Path]:
    """Logs, database with its events, spool, keys, objects and their records."""
    for path in vigie.folder.rglob("*"):
        if path.is_file():
            yield path


async def test_no_file_of_the_installation_holds_it(
    vigie: Installation, recorded: tuple[int, int]
) -> None:
    looked = 0
    for path in files_of(vigie):
        content = path.read_bytes()
        looked += 1
        for disguise in disguises():
            assert disguise not in content, path
    assert looked > 50


async def test_no_command_line_and_no_environment_holds_it(
    vigie: Installation, cameras: Cameras
) -> None:
    processes = [*vigie.process_ids(), cameras.plain.process_id]
    for process in processes:
        for name in ("cmdline", "environ"):
            content = Path(f"/proc/{process}/{name}").read_bytes()
            assert estate.PASSWORD.encode() not in content
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            assert estate.PASSWORD.encode() not in path.read_bytes()
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
    assert os.getpid() not in processes


async def test_no_answer_of_the_api_holds_it(vigie: Installation) -> None:
    stub = vigie.stub(cameras_pb2_grpc.CameraServiceStub, "registry", person="administration")
    one = await stub.GetCamera(cameras_pb2.GetCameraRequest(name="cameras/cam-digest"))
    assert one.has_credentials
    answers = [
        one,
        await stub.ListCameras(cameras_pb2.ListCamerasRequest(page_size=100)),
        await stub.ListCameraRevisions(
            cameras_pb2.ListCameraRevisionsRequest(name="cameras/cam-digest")
        ),
        await stub.ProbeCamera(cameras_pb2.ProbeCameraRequest(name="cameras/cam-digest")),
    ]
    exported = [chunk async for chunk in stub.ExportCameras(cameras_pb2.ExportCamerasRequest())]
    watched = await first_messages(stub)
    for answer in (*answers, *exported, *watched):
        for disguise in disguises():
            assert disguise not in answer.SerializeToString(), type(answer)


async def first_messages(
    stub: cameras_pb2_grpc.CameraServiceStub,
) -> list[cameras_pb2.WatchCamerasResponse]:
    """What a watcher is told to begin with."""
    found: list[cameras_pb2.WatchCamerasResponse] = []
    call: grpc.aio.UnaryStreamCall = stub.WatchCameras(cameras_pb2.WatchCamerasRequest())
    async for message in call:
        found.append(message)
        if message.is_checkpoint:
            call.cancel()
            return found
    return found


async def test_metrics_do_not_hold_it(vigie: Installation) -> None:
    from urllib.request import urlopen

    for address in vigie.http_addresses():
        with urlopen(f"http://{address}/metrics") as answer:
            content = answer.read()
        assert b"vigie_" in content
        for disguise in disguises():
            assert disguise not in content
