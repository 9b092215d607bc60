from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from long_forms import examples
from vigie.ingest.engine import SourceSpec
from vigie.ingest.libav.engine import LibavEngine
from vigie.ingest.libav.source import plan
from vigie.ingest.libav.units import (
    AccessUnitReader,
    length_size,
    prefixed_units,
    stream_units,
)
from vigie.media.codec import VideoCodec
from vigie.media.errors import MalformedMedia
from vigie.media.gop import Limits
from vigie.platform.clock import SystemMonotonicClock, SystemWallClock

# A NAL unit: no start code inside (the emulation prevention sees to it), no zero at the end.
NALS = st.lists(
    st.binary(min_size=1, max_size=40)
    .map(lambda data: data.replace(b"\0\0", b"\0\7") + b"\x80")
    .map(lambda data: data.replace(b"\0\0", b"\0\7")),
    min_size=1,
    max_size=6,
)


@given(nals=NALS, size=st.sampled_from([1, 2, 4]))
def test_nal_units_behind_their_length_keep_their_bytes(nals: list[bytes], size: int) -> None:
    data = b"".join(len(nal).to_bytes(size, "big") + nal for nal in nals)
    assert [data[start:end] for start, end in prefixed_units(data, size)] == nals
    with pytest.raises(MalformedMedia):
        prefixed_units(data[:-1], size)


@given(nals=NALS, codes=st.lists(st.sampled_from([b"\0\0\1", b"\0\0\0\1", b"\0\0\0\0\1"])))
def test_nal_units_of_a_byte_stream_keep_their_bytes(nals: list[bytes], codes: list[bytes]) -> None:
    codes = [*codes, *[b"\0\0\1"] * len(nals)]
    data = b"".join(code + nal for code, nal in zip(codes, nals, strict=False)) + b"\0\0"
    assert [data[start:end] for start, end in stream_units(data)] == nals


@settings(max_examples=examples(100))
@given(data=st.binary(max_size=200), extradata=st.binary(max_size=40), units=st.integers())
def test_any_packet_is_taken_or_breaks_the_stream(
    data: bytes, extradata: bytes, units: int
) -> None:
    for codec in VideoCodec:
        assert length_size(codec, extradata) in {0, 1, 2, 3, 4}
        reader = AccessUnitReader(codec, extradata, Fraction(1, 1000), Limits())
        reader.push(data, units, 0)
        reader.flush()
        reader.take()


def test_an_address_of_a_foreign_scheme_is_no_plan() -> None:
    for uri in ("concat:a|b", "pipe:0", "subfile,,start,0,end,9,,:x", "rtsp://[broken"):
        assert plan(SourceSpec("cam-a", uri)) is None


def test_credentials_are_escaped_and_not_shown() -> None:
    planned = plan(SourceSpec("cam-a", "rtsp://h:554/x?y=1", "us er", "p@:/ss"))
    assert planned is not None
    assert planned.url == "rtsp://us%20er:p%40%3A%2Fss@h:554/x?y=1"
    assert "ss" not in repr(planned)
    assert planned.options["allowed_media_types"] == "video"


def test_an_engine_that_is_not_started_does_nothing() -> None:
    engine = LibavEngine(SystemWallClock(), SystemMonotonicClock())
    session = engine.open(SourceSpec("cam-a", "rtsp://192.0.2.1/"), None)  # type: ignore[arg-type]  # never called
    session.close()
    engine.stop(timeout_seconds=1)
