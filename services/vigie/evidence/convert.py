"""Between the values of this context and the messages of its contract."""

from collections.abc import Iterable, Sequence

from google.protobuf.timestamp_pb2 import Timestamp

from vigie.common.v1 import types_pb2
from vigie.evidence.model import CustodyStep, EvidenceRequest, PackageInfo, State
from vigie.evidence.v1 import evidence_service_pb2 as pb


def timestamp(instant_us: int) -> Timestamp:
    """A protobuf timestamp of microseconds since the Unix epoch."""
    stamp = Timestamp()
    stamp.FromMicroseconds(instant_us)
    return stamp


def package_to_proto(package: PackageInfo) -> pb.EvidencePackage:
    """The finished file, as clients see it."""
    return pb.EvidencePackage(
        file_name=package.file_name,
        size_bytes=package.size_bytes,
        sha256=package.sha256,
        signer_fingerprint=package.signer_fingerprint,
        ready_time=timestamp(package.ready_us),
        expire_time=timestamp(package.expire_us),
    )


def to_proto(request: EvidenceRequest, custody: Sequence[CustodyStep]) -> pb.EvidenceRequest:
    """A request, as clients see it."""
    decider = request.decider
    message = pb.EvidenceRequest(
        name=request.name,
        cameras=[f"cameras/{camera}" for camera in request.cameras],
        window=types_pb2.TimeWindow(
            start_time=timestamp(request.start_us), end_time=timestamp(request.end_us)
        ),
        purpose=request.purpose,
        case_reference=request.case_reference,
        legal_basis=request.legal_basis,
        state=pb.EvidenceState.Value(f"EVIDENCE_STATE_{request.state}"),
        requester=request.requester.subject,
        requester_display_name=request.requester.display_name,
        requester_agency=request.requester.agency,
        decider=decider.subject if decider else "",
        decider_display_name=decider.display_name if decider else "",
        decision_reason=request.decision_reason,
        hold=f"holds/{request.hold}",
        progress_permille=request.progress_permille,
        failure=request.failure,
        failure_detail=request.failure_detail,
        create_time=timestamp(request.create_us),
        update_time=timestamp(request.update_us),
        etag=request.etag,
    )
    if request.package is not None:
        message.package.CopyFrom(package_to_proto(request.package))
    for missing in request.missing:
        message.missing.add(
            camera=f"cameras/{missing.camera}",
            cause=types_pb2.GapCause.Value(f"GAP_CAUSE_{missing.cause}"),
            duration_us=missing.duration_us,
        )
    for step in custody:
        message.custody.add(
            time=timestamp(step.time_us),
            actor=step.actor,
            display_name=step.display_name,
            action=step.action,
            detail=step.detail,
        )
    return message


def states_from_proto(states: Iterable[int]) -> list[State]:
    """The states of a filter; unspecified ones say nothing."""
    names = [pb.EvidenceState.Name(pb.EvidenceState.ValueType(state)) for state in states]
    known = [name.removeprefix("EVIDENCE_STATE_") for name in names]
    return [State(name) for name in known if name != "UNSPECIFIED"]
