"""What the fuzzer found in the records of the spool, said plainly."""

import pytest

from vigie.ingest.spool.records import EndRecord, SpoolRecordError, decode_record


def test_a_record_nested_beyond_reason_is_no_record() -> None:
    with pytest.raises(SpoolRecordError):
        decode_record(b"[" * 100_000, EndRecord)
