"""Which instance shows a camera, and what becomes of viewers who wait at another."""

import asyncio

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge

from vigie.ingest.live.channel import LiveHub
from vigie.ingest.live.owners import LiveOwners
from vigie.ingest.supervisor.cameras import AllCameras
from vigie.ingest.v1.events_pb2 import StreamStatusEvent
from vigie.ingest.v1.live_pb2 import WatchLiveRequest
from vigie.platform.errors import VigieError


class Mine(AllCameras):
    """The assignment of a process that has some cameras."""

    def __init__(self, *cameras: str) -> None:
        self.cameras = set(cameras)

    def is_mine(self, camera: str) -> bool:
        return camera in self.cameras


class Table:
    def __init__(self) -> None:
        self.items: dict[str, StreamStatusEvent] = {}

    def put(self, camera: str, instance: str, address: str) -> StreamStatusEvent:
        status = StreamStatusEvent(camera=camera, instance=instance, address=address)
        self.items[camera] = status
        return status


@pytest.fixture
def hub() -> LiveHub:
    registry = CollectorRegistry()
    return LiveHub(
        viewers=Gauge("viewers", "viewers", registry=registry),
        skipped=Counter("skipped", "skipped", registry=registry),
    )


def request(camera: str) -> WatchLiveRequest:
    return WatchLiveRequest(camera=f"cameras/{camera}")


def test_the_owner_is_whoever_receives(hub: LiveHub) -> None:
    table = Table()
    owners = LiveOwners("ingest-1", table, Mine("cam-mine", "cam-taken"), hub)
    table.put("cam-other", "ingest-2", "10.0.0.2:7444")
    table.put("cam-own-word", "ingest-1", "10.0.0.1:7444")
    table.put("cam-alone", "ingest-2", "")
    # Just taken over: the last word of the other one still stands.
    table.put("cam-taken", "ingest-2", "10.0.0.2:7444")
    found = {
        name: owners.owner_of(request(name))
        for name in ("cam-mine", "cam-other", "cam-own-word", "cam-alone", "cam-taken", "cam-new")
    }
    assert found.pop("cam-other") == "10.0.0.2:7444"
    assert set(found.values()) == {None}


async def test_who_waits_here_is_sent_there(hub: LiveHub) -> None:
    """A viewer came before anybody received the camera, or it was given to another instance."""
    table, mine = Table(), Mine("cam-a")
    owners = LiveOwners("ingest-1", table, mine, hub)
    viewer = hub.channel("cam-a").watch()
    waiting = asyncio.create_task(viewer.next())
    await asyncio.sleep(0)
    owners.status_changed("cam-a", None, table.put("cam-a", "ingest-2", "10.0.0.2:7444"))
    await asyncio.sleep(0)
    assert not waiting.done(), "the camera is this one's: the other's word is an old one"
    mine.cameras.clear()
    owners.status_changed("cam-a", None, table.put("cam-a", "ingest-2", "10.0.0.2:7444"))
    with pytest.raises(VigieError) as caught:
        await asyncio.wait_for(waiting, 5)
    assert caught.value.reason.name == "LIVE_ELSEWHERE"
    assert caught.value.metadata["owner"] == "ingest-2"
    owners.status_changed("cam-b", None, None)
