from vigie.common.v1 import types_pb2
from vigie.simcam.faults import ENDS_SESSIONS, FAULTS, FOOTAGE_FAULTS, Fault, FaultRequest
from vigie.simcam.footage import FootageSpec
from vigie.simcam.injection import other_footage


def test_every_fault_says_what_the_timeline_shows() -> None:
    assert set(FAULTS) == set(Fault)
    known = {
        value.name.removeprefix("GAP_CAUSE_") for value in types_pb2.GapCause.DESCRIPTOR.values
    }
    for fault, spec in FAULTS.items():
        assert set(spec.causes) <= known, fault
        assert bool(spec.causes) == (spec.gap != "never"), fault


def test_faults_that_end_sessions_do_cost_footage() -> None:
    assert all(FAULTS[fault].gap != "never" for fault in ENDS_SESSIONS)


def test_packet_faults_last_only_with_a_share() -> None:
    assert FaultRequest(fault=Fault.LOSE_PACKETS).happens_once
    lasting = FaultRequest.model_validate(
        {"fault": "lose-packets", "parameters": {"fraction": 0.1}}
    )
    assert not lasting.happens_once


def test_changed_footage_differs_as_the_fault_says_and_keeps_its_rate() -> None:
    spec = FootageSpec()
    for fault in FOOTAGE_FAULTS:
        other = other_footage(spec, FaultRequest(fault=fault))
        assert other.frames_per_second == spec.frames_per_second
        assert (other.codec != spec.codec) == (fault is Fault.CHANGE_CODEC)
        assert (other.width != spec.width) == (fault is Fault.CHANGE_RESOLUTION)
        assert other.key() != spec.key()
