"""An identity provider changes its keys while people look: nothing is restarted, nobody is cut off
before the old key is taken away, and everybody who holds to it is then."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, Final
from urllib.request import urlopen

import pytest
import pytest_asyncio
from joserfc import jwt
from joserfc.jwk import ECKey, Key, OKPKey

from e2e.callers import PURPOSE, failure_of, stored_until, window
from e2e.harness import WALL, Deployment, Installation, until
from e2e.house import SECOND_US, House, at_work
from vigie.access.v1 import access_service_pb2, access_service_pb2_grpc
from vigie.audit.v1 import audit_service_pb2, audit_service_pb2_grpc
from vigie.evidence.v1 import evidence_service_pb2, evidence_service_pb2_grpc
from vigie.ingest.v1 import live_pb2, live_pb2_grpc, streams_pb2, streams_pb2_grpc
from vigie.platform.grpc.client import ClientError
from vigie.recording.v1 import recording_pb2, recording_pb2_grpc
from vigie.registry.v1 import cameras_pb2, cameras_pb2_grpc

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(600),
]
CAMERA: Final = "cam-provider"
GOOD: Final = "vigie_access_jwks_file_good"
ISSUER: Final = "https://identity.test/"
OLD: Final = OKPKey.generate_key("Ed25519")
NEW: Final = ECKey.generate_key("P-256")
KEYS: Final[dict[str, tuple[Key, str]]] = {"old": (OLD, "Ed25519"), "new": (NEW, "ES256")}


def token_of(person: str, kid: str) -> str:
    """As the provider would sign one."""
    key, algorithm = KEYS[kid]
    claims = {"iss": ISSUER, "aud": "vigie", "sub": person, "exp": int(time.time()) + 3600}
    return jwt.encode({"alg": algorithm, "kid": kid}, claims, key, algorithms=[algorithm])


def publish(house: House, *kids: str) -> None:
    """Have the provider's file name these keys."""
    keys = [KEYS[kid][0].as_dict(private=False) | {"kid": kid} for kid in kids]
    file = _file(house.vigie.folder.parent)
    aside = file.with_suffix(".new")
    aside.write_text(json.dumps({"keys": keys}))
    aside.replace(file)


def _file(folder: Path) -> Path:
    return folder / "provider.jwks.json"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house(
    deployment: Deployment, tmp_path_factory: pytest.TempPathFactory, footage_folder: Path
) -> AsyncIterator[House]:
    folder = tmp_path_factory.mktemp("provider")
    file = _file(folder)
    file.write_text(json.dumps({"keys": [OLD.as_dict(private=False) | {"kid": "old"}]}))
    settings = {"access": {"jwks_file": f'"{file}"', "jwks_issuer": f'"{ISSUER}"'}}
    async with at_work(
        deployment, (CAMERA,), folder, footage_folder, settings, stored_us=2 * SECOND_US
    ) as made:
        yield made


Call = Callable[[Installation, str], Awaitable[object]]


async def _registry(vigie: Installation, kid: str) -> object:
    token = token_of("operateur", kid)
    stub = vigie.stub(cameras_pb2_grpc.CameraServiceStub, "registry", token=token)
    return await stub.GetCamera(cameras_pb2.GetCameraRequest(name=f"cameras/{CAMERA}"))


async def _access(vigie: Installation, kid: str) -> object:
    token = token_of("operateur", kid)
    stub = vigie.stub(access_service_pb2_grpc.AccessServiceStub, "access", token=token)
    return await stub.WhoAmI(access_service_pb2.WhoAmIRequest())


async def _ingest(vigie: Installation, kid: str) -> object:
    token = token_of("operateur", kid)
    stub = vigie.stub(streams_pb2_grpc.StreamServiceStub, "ingest", token=token)
    return await stub.ListStreams(streams_pb2.ListStreamsRequest())


async def _recording(vigie: Installation, kid: str) -> object:
    token, now_us = token_of("operateur", kid), WALL.now_us()
    stub = vigie.stub(recording_pb2_grpc.RecordingServiceStub, "recording", token=token)
    asked = window(now_us - SECOND_US, now_us)
    return await stub.GetTimeline(
        recording_pb2.GetTimelineRequest(cameras=[f"cameras/{CAMERA}"], window=asked)
    )


async def _evidence(vigie: Installation, kid: str) -> object:
    token = token_of("enqueteur", kid)
    stub = vigie.stub(evidence_service_pb2_grpc.EvidenceServiceStub, "evidence", token=token)
    return await stub.ListEvidenceRequests(evidence_service_pb2.ListEvidenceRequestsRequest())


async def _audit(vigie: Installation, kid: str) -> object:
    token = token_of("controle", kid)
    stub = vigie.stub(audit_service_pb2_grpc.AuditServiceStub, "audit", token=token)
    return await stub.SearchAccesses(audit_service_pb2.SearchAccessesRequest(page_size=1))


CALLS: Final[tuple[Call, ...]] = (_registry, _access, _ingest, _recording, _evidence, _audit)


async def reason_of(call: Call, vigie: Installation, kid: str) -> str:
    """The reason for which a call is refused; empty: it is answered."""
    try:
        failure = await failure_of(call(vigie, kid))
    except AssertionError:
        return ""
    return failure.reason


async def all_say(vigie: Installation, kid: str, wanted: str) -> None:
    """Wait until every service answers so."""

    async def said() -> bool:
        return all([await reason_of(call, vigie, kid) == wanted for call in CALLS])

    await until(said, f"every service says {wanted or 'yes'} to the {kid} key")


async def watch(vigie: Installation, kid: str, seen: asyncio.Event) -> ClientError:
    """Look at the live picture until the product ends it."""
    stub = vigie.stub(live_pb2_grpc.LiveServiceStub, "ingest", token=token_of("operateur", kid))
    call: Any = stub.WatchLive(
        live_pb2.WatchLiveRequest(camera=f"cameras/{CAMERA}", purpose=PURPOSE)
    )

    async def looked() -> None:
        async for _ in call:
            seen.set()

    return await failure_of(looked())


async def test_a_provider_changes_its_keys_while_people_look(house: House) -> None:
    vigie, watching = house.vigie, {kid: asyncio.Event() for kid in KEYS}
    await all_say(vigie, "old", "")
    assert await reason_of(_registry, vigie, "new") == "TOKEN_INVALID"
    old = asyncio.create_task(watch(vigie, "old", watching["old"]))
    await asyncio.wait_for(watching["old"].wait(), 30)

    publish(house, "old", "new")
    await all_say(vigie, "new", "")
    await all_say(vigie, "old", "")
    new = asyncio.create_task(watch(vigie, "new", watching["new"]))
    await asyncio.wait_for(watching["new"].wait(), 30)
    assert not old.done(), "who holds to the old key is not cut off while it is there"

    publish(house, "new")
    await all_say(vigie, "old", "TOKEN_INVALID")
    assert (await asyncio.wait_for(old, 30)).reason == "TOKEN_INVALID"
    await all_say(vigie, "new", "")
    watching["new"].clear()
    await asyncio.wait_for(watching["new"].wait(), 30)
    assert not new.done()
    new.cancel()
    await asyncio.gather(new, return_exceptions=True)
    await stored_until(vigie, (CAMERA,), house.begun_us, WALL.now_us())


def file_is_good(vigie: Installation) -> set[str]:
    """What the processes say of the file."""
    found = set()
    for address in vigie.http_addresses():
        with urlopen(f"http://{address}/metrics") as answer:
            lines = answer.read().decode().splitlines()
        found |= {line.split()[1] for line in lines if line.startswith(f"{GOOD} ")}
    return found


async def test_a_broken_file_of_keys_changes_nothing(house: House) -> None:
    vigie = house.vigie

    async def all_tell(what: str) -> bool:
        return await asyncio.to_thread(file_is_good, vigie) == {what}

    _file(vigie.folder.parent).write_text("{}")
    await until(lambda: all_tell("0.0"), "every process tells that the file is broken")
    await all_say(vigie, "new", "")
    publish(house, "new")
    await until(lambda: all_tell("1.0"), "every process tells that it is good again")
