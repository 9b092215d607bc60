"""What the processes stand on, chosen by the configuration: databases, event logs, the store.

| section | unset | set |
| --- | --- | --- |
| `[database] url` | the SQLite file of the data directory | PostgreSQL: a schema a context |
| `[kafka] bootstrap` | the log in that SQLite file | Apache Kafka |
| `[s3] endpoint` | a directory | a bucket |

Embedded forms are open when this returns. The others are opened by modules of their own, which
start first and wait for as long as it takes; their clients are imported only then.
"""

from vigie.storage.basis import (
    SYSTEM_CLOCKS,
    Basis,
    Clocks,
    Storage,
    check_choice,
    mark_path,
    stands_alone,
)
from vigie.storage.commands import open_for_a_command
from vigie.storage.forms import PRODUCTION, ExternalForms
from vigie.storage.opening import open_storage

__all__ = [
    "PRODUCTION",
    "SYSTEM_CLOCKS",
    "Basis",
    "Clocks",
    "ExternalForms",
    "Storage",
    "check_choice",
    "mark_path",
    "open_for_a_command",
    "open_storage",
    "stands_alone",
]
