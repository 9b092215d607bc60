"""Opens what a process needs, in the forms that the configuration chooses."""

from vigie.platform.database.settings import DatabaseConfig
from vigie.platform.eventlog.kafka.settings import KafkaConfig
from vigie.platform.objectstore.s3.settings import S3Config
from vigie.storage.basis import Basis, Storage, check_choice
from vigie.storage.embedded import directory_store, embedded_database, embedded_log
from vigie.storage.forms import PRODUCTION, ExternalForms
from vigie.storage.remote import lock_target, remote_databases, remote_logs, remote_store


async def open_storage(basis: Basis, forms: ExternalForms = PRODUCTION) -> Storage:
    """Open what the target needs, or begin to.

    Raises:
        VigieError: CONFIG_INVALID; of embedded parts: DATA_DIRECTORY_IN_USE,
            DATA_NEWER_THAN_PROGRAM, DATABASE_UNAVAILABLE, STORE_UNAVAILABLE, TOPIC_MISMATCH.
    """
    check_choice(basis.target, basis.config)
    found = Storage()
    if not basis.target.contexts:
        return found
    if basis.config.section(DatabaseConfig).url is not None:
        await lock_target(basis)
        await remote_databases(basis, forms, found)
        await remote_logs(basis, forms, found)
    else:
        await _on_the_embedded_database(basis, forms, found)
    if basis.target.needs("store"):
        if basis.config.section(S3Config).endpoint is not None:
            remote_store(basis, forms, found)
        else:
            await directory_store(basis, found)
    if found.mark is not None:
        # Before anything is appended: no position is given out a second time.
        await found.mark.skip_ahead()
        basis.closing.push_async_callback(found.mark.note)
    return found


async def _on_the_embedded_database(basis: Basis, forms: ExternalForms, found: Storage) -> None:
    if basis.target.one_of_many and not basis.target.needs("database"):
        # Access and ingest keep nothing in a database, and then make none.
        await lock_target(basis)
        await remote_logs(basis, forms, found)
        return
    database = await embedded_database(basis, found)
    if basis.config.section(KafkaConfig).bootstrap:
        await remote_logs(basis, forms, found)
    else:
        await embedded_log(basis, database, found)
