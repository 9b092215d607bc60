import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest
from google.protobuf.wrappers_pb2 import BytesValue, StringValue
from hypothesis import given
from hypothesis import strategies as st

from vigie.platform import reasons
from vigie.platform.clock import ManualWallClock
from vigie.platform.errors import ReasonSpec
from vigie.platform.eventlog import (
    EventFactory,
    Position,
    StoredEvent,
    Unprocessable,
    make_event,
    parse_event,
)
from vigie.platform.faultpoint import (
    NO_FAULTS,
    CountingFaults,
    StrikingFaults,
    SwitchedFaults,
    faults_from_environment,
    parse_fault,
    raise_errno,
)
from vigie.platform.identifiers import IdentifierSource, time_of_uuid7, uuid7

NOW_US = 1_700_000_000_123_456

# --- identifiers --------------------------------------------------------------------------------


def test_a_uuid7_has_the_layout_of_the_rfc() -> None:
    # RFC 9562, appendix A.6: 2022-02-22 19:22:22 UTC.
    example = uuid.UUID("017F22E2-79B0-7CC3-98C4-DC0C0C07398F")
    made = uuid7(0x017F22E279B0, 0xCC3 << 62 | 0x18C4DC0C0C07398F)
    assert made == example
    assert (made.version, made.variant) == (7, uuid.RFC_4122)
    assert time_of_uuid7(made) == 0x017F22E279B0 * 1000


@given(st.integers(0, 2**48 - 1), st.integers(0, 2**74 - 1))
def test_the_time_of_a_uuid7_can_be_read_back(unix_ms: int, random_bits: int) -> None:
    made = uuid7(unix_ms, random_bits)
    assert made.version == 7
    assert time_of_uuid7(made) == unix_ms * 1000


@pytest.mark.parametrize(("unix_ms", "random_bits"), [(-1, 0), (2**48, 0), (0, -1), (0, 2**74)])
def test_a_uuid7_out_of_range_is_refused(unix_ms: int, random_bits: int) -> None:
    with pytest.raises(ValueError, match="range"):
        uuid7(unix_ms, random_bits)


def test_another_version_has_no_time() -> None:
    with pytest.raises(ValueError, match="not a UUIDv7"):
        time_of_uuid7(uuid.UUID(int=0))


def test_identifiers_increase_even_when_the_clock_stands_or_goes_back() -> None:
    clock = ManualWallClock(NOW_US)
    source = IdentifierSource(clock)
    made = [source.hex() for _ in range(1000)]
    clock.advance(-60)
    made += [source.hex() for _ in range(1000)]
    clock.advance(120)
    made.append(source.hex())
    assert made == sorted(set(made))
    assert time_of_uuid7(uuid.UUID(made[-1])) == (NOW_US + 60_000_000) // 1000 * 1000


def test_random_that_runs_out_borrows_from_the_next_millisecond() -> None:
    source = IdentifierSource(ManualWallClock(NOW_US), lambda bits: (1 << bits) - 1)
    made = [source.uuid7().int for _ in range(5)]
    source._random = (1 << 74) - 2  # white box: after 2**42 identifiers in one millisecond
    made += [source.uuid7().int for _ in range(2)]
    assert made == sorted(set(made))


def test_the_random_part_is_what_is_injected() -> None:
    one = IdentifierSource(ManualWallClock(NOW_US), lambda _: 5)
    two = IdentifierSource(ManualWallClock(NOW_US), lambda _: 5)
    assert one.text() == two.text()


# --- fault points -------------------------------------------------------------------------------


def test_a_fault_strikes_at_its_point_from_a_visit_on() -> None:
    faults = parse_fault("store.put.renamed:enospc@3", known=["store.put.renamed"])
    for _ in range(2):
        faults.reach("store.put.renamed")
    faults.reach("store.put.copied")
    with pytest.raises(OSError, match=r"\[Errno 28\].*injected"):
        faults.reach("store.put.renamed")
    faults.reach("store.put.renamed")
    assert (faults.visits, faults.strikes) == (4, 1)


def test_a_plus_strikes_every_time() -> None:
    faults = parse_fault("a:eio@2+")
    faults.reach("a")
    for _ in range(3):
        with pytest.raises(OSError, match="Errno 5"):
            faults.reach("a")


@pytest.mark.parametrize("text", ["", "a", "a:", ":kill", "a:explode", "a:kill@x", "a:kill@0"])
def test_a_fault_that_does_not_parse_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"fault|visit|action"):
        parse_fault(text)


def test_a_slow_step_takes_its_time_and_goes_on() -> None:
    faults = parse_fault("a:delay=0.02")
    begun = time.monotonic()
    faults.reach("a")
    assert time.monotonic() - begun >= 0.02
    with pytest.raises(ValueError, match="float"):
        parse_fault("a:delay=long")


def test_faults_of_a_file_last_as_long_as_they_stand_there(tmp_path: Path) -> None:
    file = tmp_path / "faults"
    faults = SwitchedFaults(file, known=["store.put.begun", "store.put.copied", "other"])
    faults.reach("store.put.begun")
    file.write_text("store.put.*:enospc\nother:eio\n")
    for _ in range(2):
        with pytest.raises(OSError, match="Errno 28"):
            faults.reach("store.put.copied")
    with pytest.raises(OSError, match="Errno 5"):
        faults.reach("other")
    file.write_text("other:eio\n")
    faults.reach("store.put.copied")
    file.unlink()
    faults.reach("other")
    for text in ("othre:eio", "store.putt.*:eio", "other:explode"):
        file.write_text(text)
        with pytest.raises(ValueError, match=r"fault point|no action"):
            faults.reach("other")


def test_an_unknown_point_is_refused() -> None:
    with pytest.raises(ValueError, match="no fault point is called"):
        parse_fault("store.putt:kill", known=["store.put"])
    with pytest.raises(ValueError, match="no fault point is called"):
        StrikingFaults("x", raise_errno(5), known=["y"])


def test_the_environment_does_nothing_unless_the_configuration_allows_it() -> None:
    environment = {"VIGIE_FAULT": "a:eio"}
    assert faults_from_environment(environment, enabled=False) is NO_FAULTS
    assert faults_from_environment({}, enabled=True) is NO_FAULTS
    with pytest.raises(OSError, match="injected"):
        faults_from_environment(environment, enabled=True).reach("a")


def test_counting_counts() -> None:
    faults = CountingFaults()
    for name in ("a", "b", "a"):
        faults.reach(name)
        NO_FAULTS.reach(name)
    assert faults.reached == {"a": 2, "b": 1}


@pytest.mark.parametrize(("action", "status"), [("kill", -9), ("exit", 99)])
def test_a_process_can_be_made_to_die_without_a_last_word(action: str, status: int) -> None:
    program = (
        "from vigie.platform.faultpoint import parse_fault\n"
        "try:\n"
        f"    parse_fault('a:{action}').reach('a')\n"
        "finally:\n"
        "    print('last word')\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert (run.returncode, run.stdout) == (status, "")


# --- events -------------------------------------------------------------------------------------


def stored(value: bytes | None, type_name: str = "google.protobuf.StringValue") -> StoredEvent:
    made = make_event(
        StringValue(value="x"),
        key="k",
        source="vigie/test",
        wall_clock=ManualWallClock(NOW_US),
        event_id="id",
    )
    return StoredEvent(
        "topic",
        Position(0, 0),
        type(made)(made.key, type_name, value, made.id, made.time_us, made.source),
    )


def test_a_message_goes_through_an_event() -> None:
    clock = ManualWallClock(NOW_US)
    factory = EventFactory("vigie/test", clock, IdentifierSource(clock))
    made = factory.make(StringValue(value="été"), key="cam-a", headers={"request-id": "r"})
    assert (made.type, made.key, made.source) == (
        "google.protobuf.StringValue",
        "cam-a",
        "vigie/test",
    )
    assert made.time_us == NOW_US
    assert uuid.UUID(made.id).version == 7
    assert made.headers == {"request-id": "r"}
    message = parse_event(StoredEvent("t", Position(0, 0), made), StringValue)
    assert message.value == "été"
    again = factory.make(StringValue(value="x"), key="cam-a", event_id="fixed", time_us=5)
    assert (again.id, again.time_us) == ("fixed", 5)


def test_a_tombstone_has_a_type_and_no_value() -> None:
    clock = ManualWallClock(NOW_US)
    factory = EventFactory("vigie/test", clock, IdentifierSource(clock))
    made = factory.tombstone(StringValue, key="cam-a")
    assert (made.type, made.value) == ("google.protobuf.StringValue", None)


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        (stored(b"\xff\xff\xff"), "EVENT_UNPARSABLE"),
        (stored(None), "EVENT_WITHOUT_VALUE"),
        (stored(b"", "vigie.other.v1.Thing"), "EVENT_TYPE_UNKNOWN"),
    ],
)
def test_what_cannot_be_read_is_unprocessable(event: StoredEvent, reason: str) -> None:
    with pytest.raises(Unprocessable) as refused:
        parse_event(event, StringValue)
    assert refused.value.reason == reason


def test_bytes_are_kept() -> None:
    content = bytes(range(256))
    made = make_event(
        BytesValue(value=content),
        key="k",
        source="s",
        wall_clock=ManualWallClock(NOW_US),
        event_id="id",
    )
    assert parse_event(StoredEvent("t", Position(0, 0), made), BytesValue).value == content


# --- reasons ------------------------------------------------------------------------------------


def test_every_reason_is_in_the_catalogue_under_its_own_name() -> None:
    declared = {
        name: value for name, value in vars(reasons).items() if isinstance(value, ReasonSpec)
    }
    assert all(name == spec.name for name, spec in declared.items())
    assert {spec.name for spec in reasons.REASONS} == set(declared)
    assert len({spec.name for spec in reasons.REASONS}) == len(reasons.REASONS)
    for spec in reasons.REASONS:
        assert spec.description_en != spec.description_fr
        assert spec.remedy.endswith(".")
