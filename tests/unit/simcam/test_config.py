from pathlib import Path

import pytest

from vigie.simcam.command import SimCamOptions, camera_ids, config_of
from vigie.simcam.config import ConfigError, ServerConfig, load_config
from vigie.simcam.faults import Fault
from vigie.simcam.quirks import Quirk

GOOD = """
port = 9554
[[cameras]]
id = "cam-01"
footage = { codec = "h265", b_frames = 2, frames_per_second = "30000/1001" }
credentials = { username = "operator", password = "secret", schemes = ["digest-sha256"] }
[[schedule]]
camera = "cam-01"
fault = "silent"
at_seconds = 5
duration_seconds = 2
every_seconds = 60
"""


def write(folder: Path, text: str, name: str = "cameras.toml") -> Path:
    path = folder / name
    path.write_text(text, "utf-8")
    return path


def test_a_file_says_everything(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, GOOD))
    camera = config.cameras[0]
    assert camera.footage.codec == "h265"
    assert camera.footage.frames_per_second.denominator == 1001
    assert config.schedule[0].fault is Fault.SILENT
    again = load_config(write(tmp_path, config.model_dump_json(), "cameras.json"))
    assert again == config


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("prot = 1\n" + GOOD, "prot"),
        (GOOD.replace("silent", "sulking"), "schedule.0.fault"),
        (GOOD.replace('camera = "cam-01"', 'camera = "cam-09"'), "cam-09"),
        (GOOD + '[[cameras]]\nid = "cam-01"\n', "same id"),
        (GOOD.replace('"h265"', '"vp9"'), "cameras.0.footage.codec"),
        (
            GOOD.replace(
                "[[schedule]]",
                'quirks = ["no-sprop"]\nin_band_parameter_sets = false\n[[schedule]]',
            ),
            "neither",
        ),
        ("cameras = []", "cameras"),
        ("not toml", "cameras.toml"),
    ],
)
def test_a_wrong_file_is_refused_with_the_place(tmp_path: Path, text: str, hint: str) -> None:
    with pytest.raises(ConfigError) as error:
        load_config(write(tmp_path, text))
    assert hint in str(error.value)
    assert "\n" not in str(error.value).strip()


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.toml"):
        load_config(tmp_path / "nowhere.toml")


def test_options_make_numbered_cameras() -> None:
    config = config_of(
        SimCamOptions(cameras=3, port=9000, port_per_camera=True, username="u", password="p")
    )
    assert [c.id for c in config.cameras] == ["cam-01", "cam-02", "cam-03"]
    assert [c.port for c in config.cameras] == [9000, 9001, 9002]
    assert all(c.credentials is not None for c in config.cameras)
    assert camera_ids(100)[-1] == "cam-100"


@pytest.mark.parametrize(
    "options",
    [
        SimCamOptions(cameras=0),
        SimCamOptions(frames_per_second="fast"),
        SimCamOptions(frames_per_second="1/0"),
        SimCamOptions(width=641),
        SimCamOptions(port=70_000),
    ],
)
def test_options_out_of_range_are_refused(options: SimCamOptions) -> None:
    with pytest.raises(ConfigError):
        config_of(options)


def test_a_server_needs_cameras() -> None:
    with pytest.raises(ValueError, match="cameras"):
        ServerConfig(cameras=())


GUIDE = Path(__file__).parents[3] / "docs" / "guide" / "simulated-cameras.md"


def test_the_example_of_the_guide_works_and_names_every_fault(tmp_path: Path) -> None:
    text = GUIDE.read_text("utf-8")
    example = text.partition("```toml\n")[2].partition("```")[0]
    config = load_config(write(tmp_path, example))
    assert [camera.id for camera in config.cameras] == ["cam-01", "cam-02"]
    assert config.cameras[0].footage.width == 1920
    assert all(f"| `{name.value}` |" in text for name in (*Fault, *Quirk))
