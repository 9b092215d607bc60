"""Contracts as a later version may have them, and records as a consumer is given them."""

import importlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from google.protobuf import descriptor_pool, message_factory
from google.protobuf.descriptor import FieldDescriptor, FileDescriptor
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
)
from google.protobuf.message import Message
from google.protobuf.wrappers_pb2 import StringValue

from contract.kept_events import Kept
from vigie.platform.eventlog import StoredEvent
from vigie.platform.eventlog.kafka.records import stored_event

ROOT: Final = Path(__file__).parents[2]
FUTURE_FIELD: Final = 1900
FUTURE_VALUE: Final = 99


@dataclass
class Record:
    """As aiokafka's `ConsumerRecord`."""

    key: bytes
    value: bytes
    headers: Any
    topic: str
    partition: int = 0
    offset: int = 17
    timestamp: int = 1_700_000_000_123


def from_the_broker(one: Kept, value: bytes | None = None) -> StoredEvent:
    """What a consumer is given of a record with the kept bytes, or with others instead."""
    content = one.value if value is None else value
    record = Record(one.key.encode(), content, one.headers, f"vigie.{one.topic}")
    return stored_event(one.topic, record)


def event_files() -> Iterator[FileDescriptor]:
    for path in sorted((ROOT / "protos").glob("vigie/*/v1/events.proto")):
        context = path.parent.parent.name
        yield importlib.import_module(f"vigie.{context}.v1.events_pb2").DESCRIPTOR


def is_(field: FieldDescriptor) -> bool:
    """Whether a field holds a message."""
    return field.message_type is not None


def future_pool() -> descriptor_pool.DescriptorPool:
    """The contracts as a later version may have them: more fields, values and cases everywhere."""
    pool, known = descriptor_pool.DescriptorPool(), set[str]()

    def add(file: FileDescriptor) -> None:
        if file.name in known:
            return
        known.add(file.name)
        for each in file.dependencies:
            add(each)
        changed = FileDescriptorProto()
        file.CopyToProto(changed)
        if file.package.startswith("vigie."):
            for message in changed.message_type:
                extend(message)
            for enum in changed.enum_type:
                enum.value.add(name=f"{enum.name}_FUTURE", number=FUTURE_VALUE)
        pool.AddSerializedFile(changed.SerializeToString())

    add(StringValue.DESCRIPTOR.file)
    for file in event_files():
        add(file)
    return pool


def extend(message: DescriptorProto) -> None:
    kind = FieldDescriptorProto
    message.field.add(
        name="future_field",
        number=FUTURE_FIELD,
        type=kind.TYPE_STRING,
        label=kind.LABEL_OPTIONAL,
    )
    for index, oneof in enumerate(message.oneof_decl):
        message.field.add(
            name=f"future_{oneof.name}",
            number=FUTURE_FIELD + 1 + index,
            type=kind.TYPE_STRING,
            label=kind.LABEL_OPTIONAL,
            oneof_index=index,
        )


_POOL = future_pool()


def future_class(message: type[Message]) -> type[Message]:
    found = _POOL.FindMessageTypeByName(message.DESCRIPTOR.full_name)
    return message_factory.GetMessageClass(found)


def add_future_fields(message: Message) -> int:
    """Set the new field of a message and of every message in it; how many."""
    count = 0
    for field, value in message.ListFields():
        if is_(field):
            count += sum(
                add_future_fields(one) for one in (value if field.is_repeated else [value])
            )
    if "future_field" in message.DESCRIPTOR.fields_by_name:
        message.future_field = "of a later version"  # type: ignore[attr-defined]
        count += 1
    return count
