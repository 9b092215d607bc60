"""Lines of an export: JSON or CSV, the same bytes every time."""

import base64
import csv
import io
import json
from typing import Any, Final

from google.protobuf import json_format

from vigie.audit.search import StoredAccess
from vigie.audit.v1 import events_pb2 as pb

# What a spreadsheet takes for the beginning of a formula.
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")

COLUMNS: Final = (
    "record",
    "request_id",
    "phase",
    "time",
    "subject",
    "display_name",
    "agency",
    "roles",
    "peer",
    "method",
    "kind",
    "permission",
    "objects",
    "zones",
    "window_start_time",
    "window_end_time",
    "purpose",
    "case_reference",
    "decision",
    "decision_reason",
    "end_status",
    "delivered_bytes",
    "delivered_messages",
    "delivered_until_time",
    "suppressed_attempts",
    "record_sha256",
    "log_partition",
    "log_offset",
)


def json_line(row: StoredAccess, record: pb.AccessRecord) -> bytes:
    """One JSON object and a line feed."""
    value = {
        "record": json_format.MessageToDict(record, preserving_proto_field_name=True),
        "record_bytes": base64.b64encode(row.content).decode(),
        "record_sha256": row.sha256,
        "log_partition": row.log_partition,
        "log_offset": row.log_offset,
    }
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def csv_header() -> bytes:
    """The line of column names."""
    return _csv(list(COLUMNS))


def csv_line(row: StoredAccess, record: pb.AccessRecord) -> bytes:
    """One line (RFC 4180); lists are joined by spaces, instants are RFC 3339."""
    values: dict[str, Any] = json_format.MessageToDict(record, preserving_proto_field_name=True)
    values |= {
        "roles": " ".join(record.roles),
        "objects": " ".join(record.objects),
        "zones": " ".join(record.zones),
        "window_start_time": _instant(record.window_start_us),
        "window_end_time": _instant(record.window_end_us),
        "delivered_until_time": _instant(record.delivered_until_us),
        "record_sha256": row.sha256,
        "log_partition": row.log_partition,
        "log_offset": row.log_offset,
    }
    return _csv([_harmless(str(values.get(name, ""))) for name in COLUMNS])


def _csv(cells: list[str]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerow(cells)
    return text.getvalue().encode()


def _harmless(text: str) -> str:
    return f"'{text}" if text.startswith(_FORMULA) else text


def _instant(instant_us: int) -> str:
    if not instant_us:
        return ""
    carrier = pb.AccessRecord()
    carrier.time.FromMicroseconds(instant_us)
    return carrier.time.ToJsonString()
