import importlib
import pkgutil
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import grpc.aio
import pytest

import vigie
from unit.access.conftest import Desk
from vigie.access.metrics import METRICS
from vigie.access.permissions import PERMISSIONS, ROLES, SERVICE_PERMISSIONS
from vigie.access.v1 import access_service_pb2 as pb
from vigie.access.v1.access_service_pb2_grpc import AccessServiceStub
from vigie.common.v1 import access_pb2
from vigie.platform.grpc.bearer import FixedToken
from vigie.platform.grpc.client import ClientError, open_channel
from vigie.platform.grpc.host import GrpcHost
from vigie.platform.grpc.record import MemoryAccessRecorder
from vigie.platform.grpc.settings import GrpcConfig
from vigie.platform.metrics import naming_faults

SPECIAL = {"authenticated", "public"}


def declared_permissions() -> dict[str, access_pb2.MethodAccess]:
    """What every method of every contract declares."""
    found: dict[str, access_pb2.MethodAccess] = {}
    root = Path(vigie.__file__).parent
    for package in sorted(root.glob("*/v1")):
        for module in pkgutil.iter_modules([str(package)]):
            if not module.name.endswith("_pb2"):
                continue
            stubs = importlib.import_module(f"vigie.{package.parent.name}.v1.{module.name}")
            for service in stubs.DESCRIPTOR.services_by_name.values():
                for method in service.methods:
                    options = method.GetOptions()
                    found[method.full_name] = options.Extensions[access_pb2.access]
    return found


def test_every_method_declares_a_permission_of_the_catalogue() -> None:
    names = {spec.name for spec in PERMISSIONS}
    declared = declared_permissions()
    assert len(declared) > 50
    for method, access in declared.items():
        assert access.permission in names | SPECIAL, method
        assert access.record != access_pb2.RECORD_KIND_UNSPECIFIED, method
        if access.internal:
            assert access.permission in SERVICE_PERMISSIONS, method


def test_every_permission_is_needed_carried_and_described() -> None:
    used = {access.permission for access in declared_permissions().values()}
    carried = SERVICE_PERMISSIONS.union(*ROLES.values())
    names = [spec.name for spec in PERMISSIONS]
    assert names == sorted(set(names))
    assert carried <= set(names)
    for spec in PERMISSIONS:
        assert spec.name in used, spec.name
        assert spec.name in carried, spec.name
        assert spec.description_en.endswith(".")
        assert spec.description_fr.endswith(".")
        assert spec.internal == (not any(spec.name in role for role in ROLES.values()))


def test_duties_are_separate() -> None:
    footage = {"live.watch", "footage.play", "footage.clip", "footage.snapshot"}
    assert not ROLES["administrator"] & (footage | {"audit.read", "evidence.approve"})
    assert not ROLES["auditor"] & footage
    assert not {name for name in ROLES["auditor"] if name.endswith((".write", ".operate"))}
    assert "evidence.approve" not in ROLES["investigator"]
    assert "evidence.request" not in ROLES["supervisor"]
    assert not SERVICE_PERMISSIONS & footage


def test_metrics_are_named_regularly() -> None:
    assert naming_faults(METRICS) == []


class Served:
    def __init__(self, desk: Desk, host: GrpcHost, recorder: MemoryAccessRecorder) -> None:
        self.desk = desk
        self.host = host
        self.recorder = recorder
        self.channels: list[grpc.aio.Channel] = []

    def stub(self, token: str) -> AccessServiceStub:
        channel = open_channel(self.host.internal_address, source=FixedToken(token))
        self.channels.append(channel)
        return AccessServiceStub(channel)

    def person(self, subject: str, ttl_seconds: float = 60) -> AccessServiceStub:
        return self.stub(self.desk.module.issuer.create_token(subject, ttl_seconds))


@pytest.fixture
async def served(desk: Desk) -> AsyncIterator[Served]:
    recorder = MemoryAccessRecorder()
    host = GrpcHost(
        GrpcConfig(listen=("127.0.0.1:0",)),
        services=desk.module.services(),
        authenticator=desk.module.authenticator,
        recorder=recorder,
        wall_clock=desk.wall,
        monotonic_clock=desk.monotonic,
        metrics=desk.metrics,
    )
    await host.start()
    made = Served(desk, host, recorder)
    yield made
    for channel in made.channels:
        await channel.close(grace=None)
    await host.stop(timeout_seconds=1)


async def test_who_am_i(served: Served) -> None:
    me = await served.person("investigator-1").WhoAmI(pb.WhoAmIRequest())
    assert (me.subject, me.display_name) == ("investigator-1", "Enquêteur 1")
    assert (me.agency, me.agency_display_name) == ("agencies/gendarmerie", "Gendarmerie")
    assert list(me.roles) == ["investigator", "operator"]
    grants = {grant.permission: list(grant.zones) for grant in me.grants}
    assert grants["footage.play"] == ["zones/zone-a", "zones/zone-b", "zones/zone-c"]
    assert grants["live.watch"] == ["zones/zone-c"]
    assert me.token_expire_time.ToMicroseconds() == served.desk.wall.now_us() + 60_000_000
    assert served.recorder.entries == []


async def test_the_catalogue_is_paged(served: Served) -> None:
    stub = served.person("operator-1")
    names: list[str] = []
    token = ""
    while True:
        page = await stub.ListPermissions(pb.ListPermissionsRequest(page_size=10, page_token=token))
        names += [item.name for item in page.permissions]
        token = page.next_page_token
        if not token:
            break
    assert names == [f"permissions/{spec.name}" for spec in PERMISSIONS]


async def test_people_are_for_those_who_may_see_them_and_it_is_recorded(served: Served) -> None:
    page = await served.person("auditor-1").ListPeople(pb.ListPeopleRequest(page_size=2))
    assert [person.name for person in page.people] == ["people/auditor-1", "people/investigator-1"]
    assert page.people[1].roles[0].zones == ["zones/zone-a", "zones/zone-b"]
    assert page.people[1].state == pb.PERSON_STATE_ACTIVE
    rest = await served.person("auditor-1").ListPeople(
        pb.ListPeopleRequest(page_size=2, page_token=page.next_page_token)
    )
    assert [person.name for person in rest.people] == ["people/operator-1"]
    assert not rest.next_page_token
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await served.person("operator-1").ListPeople(pb.ListPeopleRequest())
    error = ClientError.of(caught.value)
    assert (error.reason, error.metadata["permission"]) == ("PERMISSION_DENIED", "access.read")
    decisions = [(entry.subject, entry.allowed) for entry in served.recorder.entries]
    assert decisions == [("auditor-1", True), ("auditor-1", True), ("operator-1", False)]


async def test_an_expired_token_is_refused_and_recorded_under_its_name(served: Served) -> None:
    stub = served.person("operator-1", 60)
    served.desk.wall.advance(61)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.WhoAmI(pb.WhoAmIRequest())
    assert ClientError.of(caught.value).reason == "TOKEN_EXPIRED"
    (entry,) = served.recorder.entries
    assert (entry.subject, entry.agency, entry.reason) == (
        "operator-1",
        "police-municipale",
        "TOKEN_EXPIRED",
    )
