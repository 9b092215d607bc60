from typing import Any

import pytest

from vigie.audit.v1 import audit_service_pb2
from vigie.common.v1 import types_pb2
from vigie.evidence.v1 import evidence_service_pb2
from vigie.platform.grpc.stated import stated_by
from vigie.recording.v1 import playback_pb2


def window() -> types_pb2.TimeWindow:
    made = types_pb2.TimeWindow()
    made.start_time.FromMicroseconds(1_000_001)
    made.end_time.FromMicroseconds(2_000_000)
    return made


def test_a_request_for_footage_says_camera_window_purpose_and_case() -> None:
    purpose = types_pb2.Purpose(text="why", case_reference="PV 1")
    request = playback_pb2.GetClipRequest(camera="cameras/x", window=window(), purpose=purpose)
    stated = stated_by(request, "footage.clip")
    assert stated.objects == ("cameras/x",)
    assert stated.window_us == (1_000_001, 2_000_000)
    assert (stated.purpose, stated.case_reference) == ("why", "PV 1")
    assert stated.permission == "footage.clip"


def test_a_request_with_plain_texts_says_them_too() -> None:
    request = evidence_service_pb2.CreateEvidenceRequestRequest(
        cameras=["cameras/b", "cameras/a"], purpose="why", case_reference="PV 2"
    )
    stated = stated_by(request, "evidence.request")
    assert stated.objects == ("cameras/a", "cameras/b")
    assert (stated.purpose, stated.case_reference) == ("why", "PV 2")
    assert stated.window_us is None


@pytest.mark.parametrize("request_", [None, object(), audit_service_pb2.GetAccessRequest()])
def test_what_says_nothing_states_nothing(request_: Any) -> None:
    stated = stated_by(request_, "p")
    assert (stated.objects, stated.purpose, stated.window_us) == ((), "", None)


def test_strangers_cannot_fill_the_log() -> None:
    request = evidence_service_pb2.CreateEvidenceRequestRequest(
        cameras=[f"cameras/{n}" for n in range(1000)] + ["a\nb", "x" * 5000], purpose="y" * 10_000
    )
    request.window.start_time.seconds = -(1 << 62)
    request.window.end_time.seconds = 1 << 62
    stated = stated_by(request, "p")
    assert len(stated.objects) == 64
    assert len(stated.purpose) == 500
    assert stated.window_us is None
