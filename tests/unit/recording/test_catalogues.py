"""Reasons, metrics and methods of recording are declared as the house asks."""

from vigie.platform.grpc.methods import read_methods
from vigie.platform.metrics import naming_faults
from vigie.recording.metrics import METRICS
from vigie.recording.reasons import REASONS
from vigie.recording.v1 import (
    playback_pb2_grpc,  # noqa: F401 - registers the descriptors
    recording_pb2_grpc,  # noqa: F401 - the same
    retention_pb2_grpc,  # noqa: F401 - the same
)

SERVICES = ("RecordingService", "PlaybackService", "HoldService", "RetentionService")


def test_metrics_are_named_by_the_rule() -> None:
    assert naming_faults(METRICS) == []


def test_reasons_are_unique_and_told_in_both_languages() -> None:
    assert len({reason.name for reason in REASONS}) == len(REASONS)
    assert all(r.description_en and r.description_fr and r.remedy for r in REASONS)


def test_every_method_says_who_may_call_it() -> None:
    methods = [m for name in SERVICES for m in read_methods(f"vigie.recording.v1.{name}").values()]
    assert len(methods) == 11
    assert {m.method for m in methods if m.internal} == {"GetCameraZones"}
    assert {m.callers for m in methods if m.internal} == {frozenset({"evidence"})}
    shown = {m.method for m in methods if m.kind == 4}
    assert shown == {"Play", "GetClip", "GetSnapshot"}
