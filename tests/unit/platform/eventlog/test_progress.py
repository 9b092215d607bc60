"""Resume tokens over many partitions: they fit the contracts, and what they leave out is told."""

import random
from collections.abc import AsyncIterator

import pytest
from google.protobuf.message import Message

from vigie.ingest.v1.streams_pb2 import WatchStreamsRequest
from vigie.platform.errors import VigieError
from vigie.platform.eventlog import Position, StoredEvent
from vigie.platform.eventlog.progress import EVENTS_A_TOKEN, Progress, pack, resumed, unpack
from vigie.platform.grpc.validation import ContractValidator
from vigie.platform.paging import Tokens
from vigie.platform.reasons import POSITION_BEYOND_END
from vigie.registry.v1.cameras_pb2 import WatchCamerasRequest

MOST_PARTITIONS = 256
TOKENS = Tokens(b"k" * 32)


def positions(count: int, highest: int, *, seed: int = 3) -> list[Position]:
    source = random.Random(seed)
    chosen = sorted(source.sample(range(MOST_PARTITIONS), count))
    return [Position(partition, source.randrange(highest)) for partition in chosen]


@pytest.mark.parametrize("request_type", [WatchCamerasRequest, WatchStreamsRequest])
@pytest.mark.parametrize("highest", [1, 5000, 10**10])
def test_a_token_of_all_partitions_fits_the_contract(
    request_type: type[Message], highest: int
) -> None:
    given = [Position(each, (each * 7919**3) % highest) for each in range(MOST_PARTITIONS)]
    progress = Progress(given, lambda packed: TOKENS.seal_bytes(bytes(16) + packed, b"q"))
    token = progress.newest_token()
    ContractValidator().check(request_type(resume_token=token))
    opened = TOKENS.open_bytes(token, (b"q",))
    assert opened is not None
    assert list(unpack(opened[1][16:])) == given


@pytest.mark.parametrize(
    "given",
    [
        [],
        [Position(0, -1)],
        [Position(0, -1), Position(9, 4)],
        [Position(255, 10**10)],
        positions(1, 10),
        positions(48, 300),
        positions(200, 10**10),
    ],
)
def test_what_is_packed_comes_out_again(given: list[Position]) -> None:
    assert list(unpack(pack({each.partition: each.offset for each in given}))) == given


@pytest.mark.parametrize("packed", [b"\x02\x01\x00\x00", b"\x80", b"\x00\x00\x01"])
def test_what_was_never_packed_is_refused(packed: bytes) -> None:
    with pytest.raises(ValueError, match=r"announced|cut off"):
        unpack(packed)


def test_a_token_is_sealed_now_and_then_and_leaves_out_nothing_that_was_not_told() -> None:
    sealed: list[bytes] = []

    def seal(packed: bytes) -> str:
        sealed.append(packed)
        return str(len(sealed) - 1)

    progress = Progress([Position(0, 9)], seal)
    for offset in range(10, 1010):
        progress.advance(Position(0, offset))
        (at,) = unpack(sealed[int(progress.token())])
        assert offset - EVENTS_A_TOKEN < at.offset <= offset
    assert len(sealed) <= 1000 / EVENTS_A_TOKEN + 1
    (at,) = unpack(sealed[int(progress.newest_token())])
    assert at.offset == 1009
    assert progress.newest_token() == progress.newest_token() == progress.token()


async def test_a_place_the_log_never_reached_is_a_token_that_is_not_valid() -> None:
    async def read() -> AsyncIterator[StoredEvent]:
        raise VigieError(POSITION_BEYOND_END, "topic cameras, partition 3, ends at 4, before 9")
        yield

    with pytest.raises(VigieError, match="RESUME_TOKEN_INVALID") as caught:
        _ = [event async for event in resumed(read())]
    assert caught.value.field == "resume_token"
