"""Reference pages made from the contracts: the API, and the causes of gaps."""

import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final

from google.protobuf import descriptor_pb2, text_format

import protos
from reference_markdown import code, page, table

_API: Final = """\
Made from `protos/`. All services listen on one address; server reflection and `grpc.health.v1` are
on, so `grpcurl` needs no files. Calls carry `authorization: Bearer TOKEN`. Errors carry
`google.rpc.ErrorInfo` with a [reason](errors.md). Times are UTC. The [integrator's
guide](../guide/integrators.md) has a complete client.

*Permission* is what the caller must hold ([list](permissions.md)); `authenticated` asks only for a
valid identity. *Recorded as* says how the access log keeps the call; such a call gets no answer
before its record is durable. *Internal* methods are for services of the product only. Field rules
are enforced before a method runs; what they refuse is `REQUEST_INVALID` and names the field."""

_GAPS: Final = """\
Footage that a camera should have recorded and that is not there is a gap, and every gap has one of
these causes: in timelines, playback, completeness, and evidence packages. The list is closed."""

_PRECEDENCE: Final = """\
## When several causes are true at once

The first of these that holds for an instant is told:

1. `DESTROYED`: the register of destructions names the footage.
2. `NOT_IN_SERVICE`, `SUSPENDED`, `NOT_AUTHORISED`: the registry says that nothing was to be
   recorded.
3. What ingest reported for the camera.
4. `INGEST_DOWN`: nothing was reported at all. Half a second or less that leads from footage to
   one of the others has the cause of that one.

Why it is so stands in the [decision](../design/decisions/0006-gap-causes-are-derived.md). Footage
that is being recorded and not stored yet is no gap: the timeline lists it as `PENDING`. A changed
parameter set is no gap either: the run ends and the next one begins at the same key frame."""

# What an operator does; the contracts say what it means. A test holds this list to the enum.
_ACTIONS: Final[Mapping[str, str]] = {
    "CAMERA_UNREACHABLE": "`vigie camera probe`; then power, cable, switch, address and port.",
    "CREDENTIALS_REFUSED": "Give the camera its user name and password again; see whether it has"
    " locked the account.",
    "CAMERA_SILENT": "`vigie camera probe`; restart the camera; see whether its stream is enabled.",
    "CLOSED_BY_CAMERA": "Count the viewers it allows, read its own log, look for restarts.",
    "PACKETS_LOST": "Look for loss between the camera and here: load, radio links, buffers of"
    " switches.",
    "STREAM_UNSUPPORTED": "Set the stream to H.264 or H.265; the detail of the gap says what came.",
    "CLOCK_JUMP": "Give the camera (and this machine) a time server.",
    "INGEST_DOWN": "Find out why the process was not running: its log, the service manager, the"
    " machine.",
    "SPOOL_FULL": "The store was away or too slow for long: mend it; enlarge"
    " `ingest.spool_quota_bytes` if outages of that length are to be survived.",
    "STORE_REFUSED": "Look at the disk of the spool and at the store: full, read-only, failing.",
    "NOT_AUTHORISED": "Not a fault. Enter the prefectoral authorisation if there is one.",
    "SUSPENDED": "Not a fault. `vigie camera resume` when the reason is gone.",
    "NOT_IN_SERVICE": "Not a fault. `vigie camera commission` when the camera is in place.",
    "DESTROYED": "Nothing: it is gone, lawfully. `vigie retention` shows the register.",
}

_TYPES: Final = {
    number: name.removeprefix("TYPE_").lower()
    for name, number in descriptor_pb2.FieldDescriptorProto.Type.items()
}


@dataclass(frozen=True, slots=True)
class File:
    """One contract with its comments.

    Attributes:
        proto: the descriptor.
        comments: path in the descriptor -> leading comment.
    """

    proto: descriptor_pb2.FileDescriptorProto
    comments: Mapping[tuple[int, ...], str] = field(repr=False)

    def comment(self, *path: int) -> str:
        """What stands above the element."""
        return self.comments.get(path, "")


@cache
def files() -> tuple[File, ...]:
    """Our contracts, by name."""
    # Registers the options, so that they are parsed and not kept as unknown fields.
    from vigie.common.v1 import access_pb2  # noqa: F401 - its import is its effect

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "image.binpb"
        protos.write_image(path)
        image = descriptor_pb2.FileDescriptorSet.FromString(path.read_bytes())
    return tuple(
        File(
            proto,
            {
                tuple(place.path): "\n".join(
                    line.removeprefix(" ") for line in place.leading_comments.splitlines()
                )
                for place in proto.source_code_info.location
                if place.leading_comments
            },
        )
        for proto in sorted(image.file, key=lambda item: item.name)
        if proto.package.startswith("vigie.")
    )


def api() -> str:
    """The page of services, messages and enumerations, package by package."""
    parts = [_API]
    package = ""
    for file in files():
        if file.proto.package != package:
            package = file.proto.package
            parts.append(f"## {package}")
        for index, service in enumerate(file.proto.service):
            parts += _service(file, service, index)
        for index, message in enumerate(file.proto.message_type):
            parts += _message(file, message, (4, index), "")
        for index, enum in enumerate(file.proto.enum_type):
            parts.append(_enum(file, enum, (5, index), ""))
    return page("API", *parts)


def _service(
    file: File, service: descriptor_pb2.ServiceDescriptorProto, index: int
) -> Iterator[str]:
    yield f"### service {service.name}\n\n{file.comment(6, index)}"
    for number, method in enumerate(service.method):
        request = f"{_stream(method.client_streaming)}{_short(method.input_type)}"
        answer = f"{_stream(method.server_streaming)}{_short(method.output_type)}"
        yield f"#### {service.name}.{method.name}\n\n`{request}` → `{answer}`"
        yield _access(method)
        yield file.comment(6, index, 2, number)


def _access(method: descriptor_pb2.MethodDescriptorProto) -> str:
    from vigie.common.v1 import access_pb2

    access = method.options.Extensions[access_pb2.access]
    record = access_pb2.RecordKind.Name(access.record).removeprefix("RECORD_KIND_").lower()
    kept = "not recorded" if record == "none" else f"recorded as {record}"
    internal = "; internal" if access.internal else ""
    return f"Permission `{access.permission}`; {kept}{internal}."


def _message(
    file: File, message: descriptor_pb2.DescriptorProto, path: tuple[int, ...], outer: str
) -> Iterator[str]:
    name = f"{outer}{message.name}"
    if message.options.map_entry:
        return
    rows = [
        (
            code(item.name),
            str(item.number),
            _type(item, message),
            file.comment(*path, 2, index),
            _rules(item),
        )
        for index, item in enumerate(message.field)
    ]
    fields = table(("field", "no.", "type", "meaning", "rule"), rows) or "No fields."
    yield f"#### {name}\n\n{file.comment(*path)}\n\n{fields}"
    for index, inner in enumerate(message.nested_type):
        yield from _message(file, inner, (*path, 3, index), f"{name}.")
    for index, enum in enumerate(message.enum_type):
        yield _enum(file, enum, (*path, 4, index), f"{name}.")


def _enum(
    file: File, enum: descriptor_pb2.EnumDescriptorProto, path: tuple[int, ...], outer: str
) -> str:
    rows = [
        (code(value.name), str(value.number), file.comment(*path, 2, index))
        for index, value in enumerate(enum.value)
    ]
    values = table(("value", "no.", "meaning"), rows)
    return f"#### enum {outer}{enum.name}\n\n{file.comment(*path)}\n\n{values}"


def _type(
    item: descriptor_pb2.FieldDescriptorProto, message: descriptor_pb2.DescriptorProto
) -> str:
    name = _short(item.type_name) if item.type_name else _TYPES[item.type]
    for nested in message.nested_type:
        if nested.options.map_entry and item.type_name.endswith(f".{nested.name}"):
            key, value = nested.field
            return (
                f"map of `{_TYPES[key.type]}` to `{_short(value.type_name) or _TYPES[value.type]}`"
            )
    if item.label == descriptor_pb2.FieldDescriptorProto.LABEL_REPEATED:
        return f"list of `{name}`"
    if item.proto3_optional:
        return f"`{name}`, optional"
    if item.HasField("oneof_index"):
        return f"`{name}`, one of *{message.oneof_decl[item.oneof_index].name}*"
    return code(name)


def _rules(item: descriptor_pb2.FieldDescriptorProto) -> str:
    from vigie.common.thirdparty import validate_pb2

    if not item.options.HasExtension(validate_pb2.field):
        return ""
    rules = item.options.Extensions[validate_pb2.field]
    return code(text_format.MessageToString(rules, as_one_line=True).strip())


def _short(type_name: str) -> str:
    """``.vigie.common.v1.TimeWindow`` -> ``TimeWindow``; foreign names stay whole."""
    name = type_name.removeprefix(".")
    if not name.startswith("vigie."):
        return name
    _, _, rest = name.partition(".v1.")
    return rest or name


def _stream(streaming: bool) -> str:  # noqa: FBT001 - protobuf's own flag
    return "stream of " if streaming else ""


def gap_cause_enum() -> list[tuple[str, str]]:
    """Name (without prefix) and meaning of every cause, without the unspecified one."""
    for file in files():
        for index, enum in enumerate(file.proto.enum_type):
            if enum.name == "GapCause":
                return [
                    (value.name.removeprefix("GAP_CAUSE_"), file.comment(5, index, 2, number))
                    for number, value in enumerate(enum.value)
                    if value.number
                ]
    raise SystemExit("the contracts have no GapCause")


def gap_causes() -> str:
    """The page of the causes of gaps."""
    from vigie.evidence.report import CAUSES

    texts: Mapping[str, Any] = CAUSES
    rows = [
        (code(name), texts[name][1], texts[name][0], meaning, _ACTIONS[name])
        for name, meaning in gap_cause_enum()
    ]
    head = ("cause", "in English", "en français", "meaning", "what an operator does")
    return page("Gap causes", _GAPS, table(head, rows), _PRECEDENCE)
