"""Which of two states of a camera is the older one, when the log gives one once more."""

import pytest

from vigie.ingest.supervisor.cameras import overtaken
from vigie.registry.v1.events_pb2 import CameraState

T0_US = 1_772_366_400_000_000


def state(revision: int, after_us: int) -> CameraState:
    made = CameraState(camera="cam-gare", revision=revision)
    made.effective_time.FromMicroseconds(T0_US + after_us)
    return made


@pytest.mark.parametrize(
    ("revision", "after_us", "older"),
    [
        pytest.param(4, -1, True, id="the one before, once more"),
        pytest.param(4, 0, True, id="decided at the same instant"),
        pytest.param(5, 0, False, id="the same, once more"),
        pytest.param(6, 1, False, id="the next one"),
        pytest.param(6, -1, False, id="the next one, the registry's clock was put back"),
        pytest.param(3, 1, False, id="a registry that was put back decides anew"),
    ],
)
def test_the_older_state_is_the_one_with_less_of_both(
    revision: int, after_us: int, *, older: bool
) -> None:
    assert overtaken(state(revision, after_us), state(5, 0)) is older
