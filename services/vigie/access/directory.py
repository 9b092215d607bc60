"""The people in force: read from the file, followed when it changes.

A broken edit keeps the last good content, loudly. A file that disappears is a broken edit too:
nobody gains rights by it, nobody loses them by accident.
"""

from pathlib import Path

import structlog

from vigie.access.following import FollowedFile
from vigie.access.metrics import FILE_GOOD, PEOPLE, RELOADS
from vigie.access.people import People, PeopleFileError, PersonState, parse_people
from vigie.platform.clock import WallClock
from vigie.platform.errors import VigieError
from vigie.platform.metrics import MetricsRegistry
from vigie.platform.reasons import CONFIG_INVALID


class Directory:
    """Who is designated, and since which revision.

    Args:
        file: the people file; it must be good when the process starts.
        metrics: see `vigie.access.metrics`.
        wall_clock: decides whether a designation has begun or ended.
    """

    def __init__(self, file: Path, *, wall_clock: WallClock, metrics: MetricsRegistry) -> None:
        self._file = FollowedFile(file)
        self._wall_clock = wall_clock
        self._reloads = metrics.counter(RELOADS)
        self._file_good = metrics.gauge(FILE_GOOD)
        self._count = metrics.gauge(PEOPLE)
        self._log = structlog.get_logger("vigie.access")
        self._people = People()
        self._states: dict[str, PersonState] = {}
        self._revision = 0

    @property
    def people(self) -> People:
        """What is in force."""
        return self._people

    @property
    def revision(self) -> int:
        """Changes with the file, and when a designation begins or ends."""
        return self._revision

    def state(self, subject: str) -> PersonState | None:
        """State of a person now; ``None``: not designated at all."""
        person = self._people.people.get(subject)
        return None if person is None else person.state(self._wall_clock.now_us())

    def load(self) -> None:
        """Read the file for the first time.

        Raises:
            VigieError: CONFIG_INVALID, naming every problem.
        """
        try:
            people = parse_people(self._file.read().decode("utf-8"))
        except OSError as error:
            raise VigieError(
                CONFIG_INVALID,
                f"the people file {self._file.path} cannot be read: {error.strerror}; write one, "
                "or name another in [access] people_file",
                field="access.people_file",
            ) from error
        except (PeopleFileError, UnicodeDecodeError) as error:
            raise VigieError(
                CONFIG_INVALID, f"{self._file.path}: {error}", field="access.people_file"
            ) from error
        self._take(people)

    async def refresh(self) -> None:
        """Follow the file and the clock; called about once a second."""
        change = await self._file.changed()
        if change is None:
            self._follow_clock()
            return
        if change.problem:
            self._refuse(change.problem)
            return
        try:
            people = parse_people(change.content.decode("utf-8"))
        except (PeopleFileError, UnicodeDecodeError) as error:
            self._refuse(str(error))
            return
        self._reloads.labels("accepted").inc()
        self._log.info("people_file_accepted", file=str(self._file.path), people=len(people.people))
        self._take(people)

    def _refuse(self, problems: str) -> None:
        self._reloads.labels("refused").inc()
        self._file_good.set(0)
        self._log.error(
            "people_file_refused", file=str(self._file.path), problems=problems, kept="last good"
        )
        self._follow_clock()

    def _take(self, people: People) -> None:
        self._people = people
        self._file_good.set(1)
        self._states = self._states_now()
        self._revision += 1
        self._show()

    def _follow_clock(self) -> None:
        states = self._states_now()
        if states != self._states:
            self._states = states
            self._revision += 1
            self._show()

    def _states_now(self) -> dict[str, PersonState]:
        now_us = self._wall_clock.now_us()
        return {name: person.state(now_us) for name, person in self._people.people.items()}

    def _show(self) -> None:
        states = list(self._states.values())
        for state in PersonState:
            self._count.labels(state.value).set(states.count(state))
