"""A foreign client that knows nothing of our contracts: grpcurl lists, describes and calls.

Whoever shows no token, a wrong one, an expired one or asks for another's zone is refused, and all
of it is on record. Skipped without grpcurl on the PATH or in ``VIGIE_TEST_GRPCURL``.
"""

import asyncio
import json
import os
import re
import shutil
import subprocess
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from joserfc.jwk import OKPKey

from integration.foreign.product import (
    AUDITOR,
    BRIGADE,
    OPERATOR,
    OTHER_ZONE,
    WALL,
    ZONE,
    Product,
)
from vigie.access.issuer import DevelopmentIssuer
from vigie.access.settings import DEVELOPMENT_ISSUER, AccessConfig

GRPCURL = os.environ.get("VIGIE_TEST_GRPCURL") or shutil.which("grpcurl") or ""
SERVICES = {
    "grpc.health.v1.Health",
    "grpc.reflection.v1alpha.ServerReflection",
    "vigie.access.v1.AccessService",
    "vigie.audit.v1.AuditService",
    "vigie.evidence.v1.EvidenceService",
    "vigie.ingest.v1.LiveService",
    "vigie.ingest.v1.ProbeService",
    "vigie.ingest.v1.StreamService",
    "vigie.recording.v1.PlaybackService",
    "vigie.recording.v1.RecordingService",
    "vigie.registry.v1.AuthorisationService",
    "vigie.registry.v1.CameraService",
    "vigie.registry.v1.ZoneService",
}
GET_TIMELINE = "vigie.recording.v1.RecordingService/GetTimeline"
NORTH, SOUTH = "cam-nord-1", "cam-sud-1"

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(not GRPCURL, reason="no grpcurl on the PATH or in VIGIE_TEST_GRPCURL"),
]


@pytest_asyncio.fixture
async def product(tmp_path: Path) -> AsyncIterator[Product]:
    async with Product(tmp_path / "product") as running:
        await running.make_places()
        await running.commission({NORTH: "rtsp://127.0.0.1:1/nobody"}, ZONE)
        await running.commission({SOUTH: "rtsp://127.0.0.1:1/nobody"}, OTHER_ZONE)
        yield running


async def grpcurl(
    product: Product, *arguments: str, token: str | None = None, request: object = None
) -> subprocess.CompletedProcess[str]:
    """Run it; the token goes by the environment, so that no list of processes shows it."""
    command = [GRPCURL, "-plaintext", "-format-error", "-max-time", "30"]
    environment = dict(os.environ)
    if token is not None:
        environment["TOKEN"] = token
        command += ["-expand-headers", "-H", "authorization: Bearer ${TOKEN}"]
    if request is not None:
        command += ["-d", json.dumps(request)]
    command += [product.address, *arguments]
    return await asyncio.to_thread(
        subprocess.run, command, env=environment, capture_output=True, text=True, check=False
    )


def timeline_of(*cameras: str) -> dict[str, Any]:
    now = WALL.now_us() // 1_000_000
    return {
        "cameras": [f"cameras/{camera}" for camera in cameras],
        "window": {"startTime": _text(now - 60), "endTime": _text(now)},
    }


def _text(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


def error_of(result: subprocess.CompletedProcess[str]) -> tuple[int, str]:
    """gRPC status code and stable reason of a refused call."""
    assert result.returncode != 0, result.stdout
    error = json.loads(result.stderr)
    reasons = [detail["reason"] for detail in error.get("details", []) if "reason" in detail]
    return int(error["code"]), reasons[0] if reasons else ""


def foreign_token() -> str:
    """A token of the right form, name and audience, signed with somebody else's key."""
    key = OKPKey.generate_key("Ed25519", private=True)
    issuer = DevelopmentIssuer(
        key, name=DEVELOPMENT_ISSUER, audience=AccessConfig().audience, wall_clock=WALL
    )
    return issuer.create_token(OPERATOR, 3600)


async def accesses(product: Product) -> list[dict[str, Any]]:
    """All records, newest first; names of fields as in the contract, whatever grpcurl makes."""
    result = await grpcurl(
        product, "vigie.audit.v1.AuditService/SearchAccesses",
        token=product.token(AUDITOR), request={"pageSize": 500},
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    found = [access["record"] for access in json.loads(result.stdout).get("accesses", [])]
    return [
        {re.sub("[A-Z]", lambda m: f"_{m[0].lower()}", k): v for k, v in e.items()} for e in found
    ]


async def test_lists_and_describes_by_reflection(product: Product) -> None:
    token = product.token(OPERATOR)
    listed = await grpcurl(product, "list", token=token)
    assert listed.returncode == 0, listed.stderr
    assert set(listed.stdout.split()) >= SERVICES
    described = await grpcurl(
        product, "describe", "vigie.recording.v1.RecordingService", token=token
    )
    assert described.returncode == 0, described.stderr
    for method in ("GetTimeline", "ListSegments", "GetCompleteness"):
        assert f"rpc {method} (" in described.stdout
    for service in sorted(SERVICES):
        result = await grpcurl(product, "describe", service, token=token)
        assert result.returncode == 0, f"{service}: {result.stderr}"


async def test_calls_with_a_token(product: Product) -> None:
    result = await grpcurl(
        product, GET_TIMELINE, token=product.token(OPERATOR), request=timeline_of(NORTH, SOUTH)
    )
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)["timelines"]
    assert [each["camera"] for each in found] == [f"cameras/{NORTH}", f"cameras/{SOUTH}"]
    mine = await grpcurl(
        product, GET_TIMELINE, token=product.token(BRIGADE), request=timeline_of(SOUTH)
    )
    assert mine.returncode == 0, mine.stderr
    records = await accesses(product)
    allowed = [
        (each["subject"], each["decision"], each["objects"])
        for each in records
        if each["method"].endswith("GetTimeline")
    ]
    assert sorted(allowed) == [
        (BRIGADE, "DECISION_ALLOWED", [f"cameras/{SOUTH}"]),
        (OPERATOR, "DECISION_ALLOWED", [f"cameras/{NORTH}", f"cameras/{SOUTH}"]),
    ]


async def test_refuses_and_records_who_may_not(product: Product) -> None:
    expired = product.token(OPERATOR, 3600, ago_seconds=7200)
    attempts: list[tuple[str, str | None, tuple[int, str]]] = [
        ("none", None, (16, "UNAUTHENTICATED")),
        ("wrong", "not.a.token", (16, "TOKEN_INVALID")),
        ("forged", foreign_token(), (16, "TOKEN_INVALID")),
        ("expired", expired, (16, "TOKEN_EXPIRED")),
        ("wrong zone", product.token(BRIGADE), (7, "PERMISSION_DENIED")),
    ]
    answers = {}
    for name, token, _ in attempts:
        result = await grpcurl(product, GET_TIMELINE, token=token, request=timeline_of(NORTH))
        answers[name] = error_of(result)
        assert token is None or token not in result.stderr
    assert answers == {name: expected for name, _, expected in attempts}
    records = [each for each in await accesses(product) if each["method"].endswith("GetTimeline")]
    assert all(each["decision"] == "DECISION_REFUSED" for each in records)
    assert sorted((each["subject"], each["decision_reason"]) for each in records) == [
        ("anonymous", "TOKEN_INVALID"),
        ("anonymous", "TOKEN_INVALID"),
        ("anonymous", "UNAUTHENTICATED"),
        (BRIGADE, "PERMISSION_DENIED"),
        (OPERATOR, "TOKEN_EXPIRED"),  # its signature holds: whose it was is known
    ]
    refused = next(each for each in records if each["subject"] == BRIGADE)
    assert refused["objects"] == [f"cameras/{NORTH}"]
