"""Footage into files: none without footage, none in place of another."""

from pathlib import Path

import pytest

from unit.cli.conftest import Vigie
from unit.cli.fake_server import FakeServer
from vigie.cli.exits import Exit
from vigie.recording.v1 import playback_pb2 as playback


def test_what_is_played_is_written_as_it_comes(
    vigie: Vigie, fake: FakeServer, tmp_path: Path
) -> None:
    played = [
        playback.PlayResponse(header=playback.PlayHeader(run="r1", initialization=b"head")),
        playback.PlayResponse(fragment=playback.PlayFragment(data=b"one")),
        playback.PlayResponse(gap=playback.PlayGap()),
        playback.PlayResponse(fragment=playback.PlayFragment(data=b"two")),
        playback.PlayResponse(end=playback.PlayEnd(fragment_count=2)),
    ]
    fake.answers["PlaybackService/Play"] = lambda request: played
    target = tmp_path / "play.mp4"
    assert vigie("play", "cam-01", "-o", str(target), "--purpose", "ronde").code == Exit.OK
    assert target.read_bytes() == b"headonetwo"


def test_a_window_without_footage_leaves_no_file(
    vigie: Vigie, fake: FakeServer, tmp_path: Path
) -> None:
    nothing = [
        playback.PlayResponse(gap=playback.PlayGap()),
        playback.PlayResponse(end=playback.PlayEnd()),
    ]
    fake.answers["PlaybackService/Play"] = lambda request: nothing
    target = tmp_path / "play.mp4"
    outcome = vigie("play", "cam-01", "-o", str(target), "--purpose", "ronde")
    assert outcome.code == Exit.NOT_FOUND
    assert "nothing is stored" in outcome.err
    assert not target.exists()


@pytest.mark.parametrize("command", ["play", "clip", "snapshot"])
def test_a_file_that_exists_is_refused_before_anything_is_looked_at(
    command: str, vigie: Vigie, fake: FakeServer, tmp_path: Path
) -> None:
    target = tmp_path / "there"
    target.write_bytes(b"kept")
    outcome = vigie(command, "cam-01", "-o", str(target), "--purpose", "ronde")
    assert (outcome.code, target.read_bytes()) == (Exit.USAGE, b"kept")
    assert fake.calls == [], "the look would be on record"
