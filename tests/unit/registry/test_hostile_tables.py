"""What the fuzzer found in the import of cameras, said plainly."""

import pytest

from vigie.registry.csvimport import _message
from vigie.registry.csvtable import Mistakes, Row

COLUMNS = ("camera", "display_name", "zone", "stream_uri", "segment_seconds")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30", 30), ("0", 0), ("000000030", 30), ("0000000309999999999", None), ("1", None)],
)
def test_seconds_of_a_segment_are_read_whole_or_refused(text: str, seconds: int | None) -> None:
    mistakes = Mistakes()
    row = Row(2, dict(zip(COLUMNS, ("cam-01", "Gate", "zone-a", "rtsp://h/a", text), strict=True)))
    message = _message(row, COLUMNS, mistakes)
    assert [mistake.column for mistake in mistakes.found] == (
        ["segment_seconds"] if seconds is None else []
    )
    assert message.segment_seconds == (seconds or 0)
