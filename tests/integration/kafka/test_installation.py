"""Two installations on one topic prefix: the second is refused, by one clear line, at the start."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest

from integration.kafka.kafka_support import (
    House,
    cable,
    event,
    everything,
    house,
    raw_producer,
    spec,
)
from servers_kafka import kafka_bootstrap, kafka_config
from unit.cli.conftest import Vigie, fake, vigie
from vigie.cli.exits import Exit
from vigie.platform.errors import VigieError
from vigie.platform.eventlog.kafka import Identity, KafkaConfig
from vigie.platform.eventlog.kafka.clients import KafkaClients
from vigie.platform.eventlog.kafka.installation import INSTALLATION_TOPIC, marked

pytestmark = pytest.mark.needs_server
__all__ = ["cable", "fake", "house", "kafka_bootstrap", "kafka_config", "vigie"]
OWN = INSTALLATION_TOPIC.name


async def marks(house: House) -> int:
    """How many marks stand in the topic."""
    return len(await everything(await house.log(None), OWN))


async def test_another_installation_on_the_same_prefix_is_refused(house: House) -> None:
    await house.make(spec(), INSTALLATION_TOPIC)
    first = await house.log(None, spec(), identity=Identity("north"))
    await first.append("segments", [event(1)])
    with pytest.raises(VigieError) as refused:
        await house.log(None, spec(), identity=Identity("south"))
    assert refused.value.reason.name == "EVENT_LOG_OF_ANOTHER"
    where = f"topics {house.config.topic_prefix}* at {', '.join(house.config.bootstrap)}"
    assert refused.value.message == f"{where} belong to installation north, this is south"
    # Waiting would not mend it: the process ends instead of trying again.
    assert refused.value.reason.code.name == "FAILED_PRECONDITION"
    again = await house.log(None, spec(), identity=Identity("north"))
    assert await everything(again, "segments") == ["id-00001"]
    assert await marks(house) == 1


async def test_one_prefix_each_is_fine(house: House) -> None:
    await house.make(spec(), INSTALLATION_TOPIC)
    await house.log(None, spec(), identity=Identity("north"))
    other = house.config.topic_prefix + "south."
    neighbour = House(house.config.model_copy(update={"topic_prefix": other}), Path())
    await neighbour.make(spec(), INSTALLATION_TOPIC)
    await neighbour.log(None, spec(), identity=Identity("south"))
    await neighbour.close()


@pytest.mark.parametrize("name", ["north", ""])
async def test_services_that_start_at_once_agree(house: House, tmp_path: Path, name: str) -> None:
    """Five processes, none of which finds a mark; two of them share a data directory."""
    await house.make(spec(), INSTALLATION_TOPIC)
    folders = [tmp_path / f"machine{number % 4}" for number in range(5)]
    await asyncio.gather(
        *(house.log(None, spec(), identity=Identity(name, folder)) for folder in folders)
    )
    winner = await marked(KafkaClients(house.config))
    assert winner
    assert not name or winner == name
    for folder in folders:
        told = json.loads((folder / "kafka-installation.json").read_text())
        assert told == {house.config.topic_prefix: winner}
        assert [one.name for one in folder.iterdir()] == ["kafka-installation.json"]
    before = await marks(house)
    await house.log(None, spec(), identity=Identity("", folders[0]))
    assert await marks(house) == before, "who finds a mark leaves none"


async def test_different_names_at_once_have_one_winner(house: House) -> None:
    await house.make(spec(), INSTALLATION_TOPIC)
    names = [f"town-{number}" for number in range(5)]
    outcomes = await asyncio.gather(
        *(house.log(None, spec(), identity=Identity(name)) for name in names),
        return_exceptions=True,
    )
    refused = [one for one in outcomes if isinstance(one, VigieError)]
    assert len(refused) == 4
    assert {one.reason.name for one in refused} == {"EVENT_LOG_OF_ANOTHER"}
    winner = await marked(KafkaClients(house.config))
    assert winner in names
    assert all(f"belong to installation {winner}," in one.message for one in refused)


async def test_a_machine_remembers_whose_it_was(house: House, tmp_path: Path) -> None:
    """Without a name, too: topics of somebody else under the known prefix are refused."""
    await house.make(spec(), INSTALLATION_TOPIC)
    await house.log(None, spec(), identity=Identity("north"))
    (tmp_path / "kafka-installation.json").write_text(
        json.dumps({house.config.topic_prefix: "south"})
    )
    with pytest.raises(VigieError, match="belong to installation north, this is south"):
        await house.log(None, spec(), identity=Identity("", tmp_path))


async def test_the_topic_is_asked_for_like_every_other(house: House) -> None:
    await house.make(spec())
    log = await house.log(None)
    with pytest.raises(VigieError, match=r"TOPIC_MISMATCH.*\.installation is missing"):
        await house.log(None, spec(), identity=Identity("north"))
    await log.declare([spec()])


async def test_what_is_no_mark_is_not_overlooked(house: House) -> None:
    await house.make(spec(), INSTALLATION_TOPIC)
    async with raw_producer(house.config) as producer:
        await producer.send_and_wait(house.config.topic_prefix + OWN, b"north", key=b"k")
    with pytest.raises(VigieError, match=r"EVENT_LOG_OF_ANOTHER.*is no mark of an installation"):
        await house.log(None, spec(), identity=Identity("north"))


def test_the_command(vigie: Vigie, kafka_config: KafkaConfig, tmp_path: Path) -> None:
    file = tmp_path / "vigie.toml"
    text = (
        f"[kafka]\nbootstrap = {json.dumps(kafka_config.bootstrap)}\n"
        f'topic_prefix = "{kafka_config.topic_prefix}"\nreplication = 1\nmin_in_sync = 1\n'
    )
    file.write_text(text + '[s3]\ninstallation = "north"\n')
    given = ("--config", str(file))
    for command in ("apply", "apply", "check"):
        assert vigie("topics", command, *given).code == Exit.OK
    file.write_text(text + '[s3]\ninstallation = "south"\n')
    for command in ("apply", "check"):
        outcome = vigie("topics", command, *given)
        assert outcome.code == Exit.CONFLICT, outcome.err
        assert "belong to installation north, this is south" in outcome.err.replace("\n", " ")
        assert "Traceback" not in outcome.err


def test_a_service_that_is_given_the_prefix_of_another_ends_in_one_line(
    vigie: Vigie, kafka_config: KafkaConfig, tmp_path: Path
) -> None:
    file = tmp_path / "vigie.toml"
    # Modules start while the log is being looked at: nothing else may be wrong.
    people = tmp_path / "people.toml"
    people.write_text("")
    text = (
        '[data]\ndirectory = "data"\n'
        f'[access]\npeople_file = "{people}"\n'
        f"[kafka]\nbootstrap = {json.dumps(kafka_config.bootstrap)}\n"
        f'topic_prefix = "{kafka_config.topic_prefix}"\nreplication = 1\nmin_in_sync = 1\n'
    )
    file.write_text(text + '[s3]\ninstallation = "north"\n')
    assert vigie("topics", "apply", "--config", str(file)).code == Exit.OK
    file.write_text(text + '[s3]\ninstallation = "south"\n')
    places = ("--http", "127.0.0.1:0", "--listen", "127.0.0.1:0")
    ended = subprocess.run(
        [sys.executable, "-m", "vigie", "serve", "all", "--config", str(file), *places],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    said = ended.stdout + ended.stderr
    assert ended.returncode == 10, said
    where = f"topics {kafka_config.topic_prefix}* at {', '.join(kafka_config.bootstrap)}"
    line = f"EVENT_LOG_OF_ANOTHER: {where} belong to installation north, this is south"
    assert [one for one in said.splitlines() if one.endswith(f" did not start: {line}")], said
    assert "Traceback" not in said
