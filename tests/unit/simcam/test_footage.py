import threading
from fractions import Fraction
from pathlib import Path

import av
import pytest

from vigie.simcam.footage import FootageCache, FootageError, FootageSpec, load_footage
from vigie.simcam.marks import Codec, decode_blocks
from vigie.simcam.nal import is_parameter_set, is_random_access
from vigie.simcam.overlay import Scene, clock_text, draw_frames

SMALL = {"width": 320, "height": 180, "frame_count": 30, "gop_frames": 10, "bitrate_bps": 150_000}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("footage")


def spec(**fields: object) -> FootageSpec:
    return FootageSpec.model_validate({**SMALL, **fields})


@pytest.mark.parametrize("codec", ["h264", "h265"])
@pytest.mark.parametrize("b_frames", [0, 2])
def test_every_frame_shows_its_number(folder: Path, codec: Codec, b_frames: int) -> None:
    wanted = spec(codec=codec, b_frames=b_frames)
    footage = FootageCache(folder).get(wanted)
    assert len(footage.samples) == 30
    assert (footage.width, footage.height) == (320, 180)
    assert [s.is_key for s in footage.samples] == [i % 10 == 0 for i in range(30)]
    assert footage.reorder_depth == b_frames
    assert sorted(s.display_index for s in footage.samples) == list(range(30))
    for sample in footage.samples:
        assert any(is_random_access(codec, nal) for nal in sample.nals) == sample.is_key
        assert not any(is_parameter_set(codec, nal) for nal in sample.nals)
    with av.open(str(folder / f"{wanted.key()}.mp4")) as container:
        planes = [(f.planes[0], f.width) for f in container.decode(video=0)]
        shown = [decode_blocks(memoryview(p), width, p.line_size) for p, width in planes]
    assert shown == list(range(30))


@pytest.mark.parametrize(("width", "height"), [(640, 360), (1280, 720), (1920, 1080)])
def test_marks_survive_a_low_bit_rate_in_every_size(folder: Path, width: int, height: int) -> None:
    wanted = spec(width=width, height=height, frame_count=6, bitrate_bps=width * height)
    FootageCache(folder).get(wanted)
    with av.open(str(folder / f"{wanted.key()}.mp4")) as container:
        frames = [f.planes[0] for f in container.decode(video=0)]
        assert [decode_blocks(memoryview(p), width, p.line_size) for p in frames] == list(range(6))


@pytest.mark.parametrize(("codec", "level_idc"), [("h264", 51), ("h265", 153)])
def test_another_level_changes_the_parameter_sets_and_nothing_else(
    folder: Path, codec: Codec, level_idc: int
) -> None:
    cache = FootageCache(folder)
    plain = cache.get(spec(codec=codec))
    changed = cache.get(spec(codec=codec, level_idc=level_idc))
    assert changed.parameter_sets != plain.parameter_sets
    assert [s.nals[-1] for s in changed.samples] == [s.nals[-1] for s in plain.samples]
    assert (changed.width, changed.height) == (plain.width, plain.height)


def test_footage_is_made_once_and_never_seen_half(folder: Path) -> None:
    wanted = spec(seed=99)
    caches = [FootageCache(folder) for _ in range(3)]
    found = []
    threads = [threading.Thread(target=lambda c=c: found.append(c.get(wanted))) for c in caches]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found[0] == found[1] == found[2]
    assert caches[0].get(wanted) is caches[0].get(wanted)
    assert not list(folder.glob("*.part.mp4"))


def test_a_given_file_is_served_without_its_sound(folder: Path, tmp_path: Path) -> None:
    made = spec(b_frames=2)
    original = FootageCache(folder).get(made)
    given = tmp_path / "given.mp4"
    with av.open(str(folder / f"{made.key()}.mp4")) as source, av.open(str(given), "w") as target:
        video = target.add_stream_from_template(source.streams.video[0])
        sound = target.add_stream("aac", rate=48_000)
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = video
                target.mux(packet)
        silence = av.AudioFrame(format="fltp", layout="mono", samples=1024)
        silence.sample_rate = 48_000
        for plane in silence.planes:
            plane.update(bytes(plane.buffer_size))
        target.mux(sound.encode(silence) + sound.encode(None))
    footage = FootageCache(tmp_path).get(spec(source=given))
    assert footage.frames_per_second == Fraction(25)
    assert [s.nals for s in footage.samples] == [s.nals for s in original.samples]


def test_what_cannot_be_served_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FootageError, match="cannot read"):
        FootageCache(tmp_path).get(spec(source=tmp_path / "missing.mp4"))
    (tmp_path / "junk.mp4").write_bytes(b"junk" * 100)
    with pytest.raises(FootageError, match=r"junk\.mp4"):
        load_footage(tmp_path / "junk.mp4", "junk")
    with pytest.raises(FootageError, match="ffmpeg could not make"):
        FootageCache(tmp_path).get(spec(preset="imaginary"))
    assert not list(tmp_path.glob("*.part.mp4"))


def test_the_burnt_in_text_is_number_and_time() -> None:
    assert clock_text(123, Fraction(25)) == "#000123 00:00:04.920"
    assert clock_text(30_000, Fraction(30_000, 1001)) == "#030000 00:16:41.000"
    frames = list(draw_frames(Scene(320, 180, Fraction(25)), 2))
    assert len(frames[0]) == 320 * 180 * 3 // 2
    assert frames[0] != frames[1]
