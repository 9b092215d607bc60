"""Who is refused, and that all of it is on record."""

from collections.abc import Sequence

import grpc.aio

from vigie.audit.v1 import audit_service_pb2, audit_service_pb2_grpc
from vigie.cli.language import tr
from vigie.cli.output import local_time, show_table
from vigie.demo.scene import PURPOSE, Scene
from vigie.platform.grpc.client import ClientError
from vigie.recording.v1 import playback_pb2, playback_pb2_grpc


async def refusals(scene: Scene) -> None:
    """No token, another's zone, no purpose."""
    with scene.account.step("Refusals", "Refus"):
        outside = "cam-capsud-depot"
        for person, camera, purpose, expected, words in (
            (None, outside, PURPOSE, "UNAUTHENTICATED", tr("without a token", "sans jeton")),
            ("brigade-le-brezet", outside, PURPOSE, "PERMISSION_DENIED",
             tr("a camera of another zone", "une caméra d'une autre zone")),
            ("brigade-le-brezet", "cam-brezet-quai", None, "PURPOSE_REQUIRED",
             tr("no purpose stated", "sans motif")),
            ("brigade-le-brezet", "cam-qui-nexiste-pas", PURPOSE, "PERMISSION_DENIED",
             tr("what does not exist looks the same", "ce qui n'existe pas se ressemble")),
        ):  # fmt: skip
            stub = scene.stage.client(playback_pb2_grpc.PlaybackServiceStub, person)
            request = playback_pb2.GetSnapshotRequest(camera=f"cameras/{camera}", purpose=purpose)
            request.time.FromMicroseconds(scene.settled_us - 2_000_000)
            reason = "nothing"
            try:
                await stub.GetSnapshot(request)
            except grpc.aio.AioRpcError as error:
                reason = ClientError.of(error).reason
            scene.account.check(f"{words}: {expected}", reason == expected, reason)


async def trail(scene: Scene) -> None:
    """The access log, read by the auditor, whose reading is on record too."""
    with scene.account.step("The audit trail", "La trace des accès"):
        stub = scene.stage.client(audit_service_pb2_grpc.AuditServiceStub, "controle")
        answer = await stub.SearchAccesses(audit_service_pb2.SearchAccessesRequest(page_size=500))
        records = [access.record for access in answer.accesses]
        quiet = {"GetTimeline", "GetEvidenceRequest"}  # asked again and again while waiting
        shown = [
            each
            for each in records
            if each.display_name
            and each.agency
            and each.subject != "administration"
            and each.method.rpartition("/")[2] not in quiet
        ]
        show_table(
            scene.account.console,
            ("", tr("who", "qui"), tr("what", "quoi"), tr("on", "sur"), ""),
            [
                (
                    local_time(each.time)[11:],
                    each.subject,
                    each.method.rpartition("/")[2],
                    _short(each.objects),
                    each.decision_reason or "✓",
                )
                for each in shown[:16]
            ],
        )
        subjects = {each.subject for each in records}
        reasons = {each.decision_reason for each in records}
        scene.account.check(
            tr("everybody is on record, refused ones too", "chacun est tracé, les refus aussi"),
            {"enqueteur", "responsable-csu", "operateur-csu", "brigade-le-brezet", "anonymous"}
            <= subjects
            and {"PERMISSION_DENIED", "UNAUTHENTICATED", "PURPOSE_REQUIRED"} <= reasons,
            f"{len(records)} {tr('records', 'entrées')}",
        )
        again = await stub.SearchAccesses(audit_service_pb2.SearchAccessesRequest(page_size=5))
        scene.account.check(
            tr("reading the log is itself on record", "la lecture du journal est tracée"),
            any(access.record.subject == "controle" for access in again.accesses),
        )


def _short(objects: Sequence[str]) -> str:
    names = [name.removeprefix("cameras/") for name in objects if not name.startswith("evidence")]
    more = f" +{len(names) - 1}" if len(names) > 1 else ""
    return (names[0] if names else "-") + more
