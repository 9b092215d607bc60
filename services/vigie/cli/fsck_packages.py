"""What `vigie fsck` says of packages: evidence looks, this puts it into the report."""

from collections.abc import Mapping
from typing import Final

from sqlalchemy import inspect
from sqlalchemy.engine import Connection

from vigie.cli.installation import Opened
from vigie.evidence.packages import FaultyPackage, PackageCheck, PackageFault
from vigie.evidence.repository import EvidenceRepository
from vigie.evidence.tables import REQUEST
from vigie.platform.identifiers import IdentifierSource
from vigie.recording.fsck import Finding, FsckOptions, Report, error, warning

EVIDENCE: Final = "evidence"
CHECK: Final = "I8 packages of evidence (I3, I9)"
_BY_HAND: Final = "packages are made, released and destroyed by evidence alone"
_INVARIANTS: Final[Mapping[PackageFault, str]] = {
    PackageFault.GONE: "I3",
    PackageFault.ALTERED: "I8",
    PackageFault.OVERDUE: "I9",
    PackageFault.LEFT_OVER: "I9",
    PackageFault.OF_NO_REQUEST: "I9",
}


async def check_packages(found: Opened, options: FsckOptions, report: Report) -> None:
    """Add to the report what is wrong with packages.

    Args:
        found: the storage, with the database that has evidence's tables.
        options: how it is checked.
        report: gets the findings.

    Raises:
        VigieError: database or store are unavailable.
    """
    if options.progress is not None:
        options.progress(CHECK)
    async with found.database.reading() as connection:
        if not await connection.run_sync(_has_requests):
            return  # evidence was never started on these data
    identifiers = IdentifierSource(found.clock)
    repository = EvidenceRepository(found.database, found.event_log, found.clock, identifiers)
    check = PackageCheck(repository, found.store, bound_us=report.bound_us, deep=options.deep)
    async for faulty in check.run():
        report.add(_finding(faulty))
    report.count(CHECK)
    report.sort()


def _has_requests(connection: Connection) -> bool:
    return inspect(connection).has_table(REQUEST.name)


def _finding(faulty: FaultyPackage) -> Finding:
    fault = faulty.fault
    # Where the database is an older copy, it does not know what it lacks: that is no proof.
    say = warning if fault is PackageFault.OF_NO_REQUEST else error
    where = {"object_key": faulty.object_key}
    if faulty.request:
        where["request"] = faulty.request
    what = f"{fault.what}: {faulty.detail}" if faulty.detail else fault.what
    return say(_INVARIANTS[fault], what, fault.remedy, _BY_HAND, **where)
