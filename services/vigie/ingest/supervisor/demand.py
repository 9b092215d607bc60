"""Whether a camera is to be received now (product.md, rule 1: only under an authorisation)."""

from dataclasses import dataclass

from google.protobuf.timestamp_pb2 import Timestamp

from vigie.registry.v1 import events_pb2


@dataclass(frozen=True, slots=True)
class Demand:
    """What the registry wants of a camera at one instant.

    Attributes:
        cause: why it is not received: name of a ``GapCause``; empty: it is.
        until_us: next instant at which this may change by the mere passing of time.
    """

    cause: str
    until_us: int | None

    @property
    def is_wanted(self) -> bool:
        """Whether the camera is to be received."""
        return not self.cause


def timestamp_us(value: Timestamp) -> int:
    """Microseconds since the Unix epoch."""
    return value.seconds * 1_000_000 + value.nanos // 1000


def demand(state: events_pb2.CameraState, now_us: int) -> Demand:
    """What ``state`` asks for at ``now_us``: in service, and an authorisation in force.

    An authorisation is in force from ``valid_from`` up to, not including, ``valid_until``.
    """
    if state.lifecycle == events_pb2.CAMERA_LIFECYCLE_SUSPENDED:
        return Demand("SUSPENDED", None)
    if state.lifecycle != events_pb2.CAMERA_LIFECYCLE_IN_SERVICE:
        return Demand("NOT_IN_SERVICE", None)
    terms = [
        (timestamp_us(term.valid_from), timestamp_us(term.valid_until))
        for term in state.authorisations
    ]
    boundaries = [instant for term in terms for instant in term if instant > now_us]
    in_force = any(start <= now_us < end for start, end in terms)
    return Demand("" if in_force else "NOT_AUTHORISED", min(boundaries, default=None))
