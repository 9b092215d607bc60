"""What the services of the registry share."""

from dataclasses import dataclass
from typing import Final

from vigie.platform.clock import WallClock
from vigie.platform.database import Database
from vigie.platform.paging import Tokens, page_size_of
from vigie.registry.camerabook import CameraBook
from vigie.registry.journal import CameraJournal
from vigie.registry.repeats import Repeats

_DEFAULT_PAGE_SIZE: Final = 100
_LARGEST_PAGE_SIZE: Final = 1000


def page_size(asked: int) -> int:
    """How many entries a page of the registry has."""
    return page_size_of(asked, default=_DEFAULT_PAGE_SIZE, most=_LARGEST_PAGE_SIZE)


@dataclass(frozen=True, slots=True)
class Desk:
    """The parts every service of the registry works with.

    Attributes:
        database: where everything is.
        journal: writes changes of cameras.
        book: the rules of cameras.
        repeats: runs a change once for each request_id.
        tokens: page and resume tokens.
        wall_clock: tells the time of changes.
    """

    database: Database
    journal: CameraJournal
    book: CameraBook
    repeats: Repeats
    tokens: Tokens
    wall_clock: WallClock
