import csv
import io
import re
import uuid

from hypothesis import given
from hypothesis import strategies as st

from unit.registry.harness import Registry, refused
from vigie.platform.config.secret import Secret
from vigie.platform.grpc.record import AccessEntry
from vigie.platform.sealing import Sealed, StreamLogin
from vigie.registry.csvtable import COLUMNS, Mistakes, _guarded, _line, read_table, unguarded
from vigie.registry.v1 import cameras_pb2 as messages
from vigie.registry.v1.zones_pb2 import CreateSiteRequest, Site

HEADER = (
    "camera,display_name,zone,stream_uri,site,username,password,segment_seconds,latitude,longitude"
)
GOOD = f"""{HEADER}
cam-01,Gate,zae-north,rtsp://10.0.0.1/a,mast-1,viewer, s3cret ,30,45.78,3.08
cam-02,"Dock, east",zae-south,rtsp://10.0.0.2/a,,,,,,
"""
UPSERT = messages.ImportMode.IMPORT_MODE_CREATE_OR_UPDATE


async def run(
    registry: Registry, text: str, token: str = "chief", **options: object
) -> messages.ImportCamerasResponse:
    request = messages.ImportCamerasRequest(csv=text.encode(), **options)  # type: ignore[arg-type]  # by name
    return await registry.cameras(token).ImportCameras(request)


async def export(registry: Registry, token: str = "chief", text: str = "") -> list[dict[str, str]]:
    table = b""
    async for chunk in registry.cameras(token).ExportCameras(
        messages.ExportCamerasRequest(filter=text)
    ):
        assert len(chunk.csv) <= 65536
        table += chunk.csv
    return list(csv.DictReader(io.StringIO(table.decode(), newline="")))


async def test_a_good_table_is_taken_over_whole(registry: Registry) -> None:
    looked = await run(registry, GOOD, dry_run=True)
    assert looked.created_cameras == ["cameras/cam-01", "cameras/cam-02"]
    assert await registry.states("cam-01") == []
    done = await run(registry, GOOD)
    assert (done.dry_run, done.mistake_count) == (False, 0)
    assert done.created_cameras == looked.created_cameras
    (state,) = await registry.states("cam-01")
    assert (state.site, state.segment_seconds, state.commune) == ("mast-1", 30, "63113")
    sealed = Sealed(state.credentials.key_id, state.credentials.ciphertext)
    login = registry.sealer.open_login(sealed, camera="cam-01")
    assert login == StreamLogin("viewer", Secret(" s3cret "))
    (other,) = await registry.states("cam-02")
    assert (other.display_name, other.commune) == ("Dock, east", "63300")


async def test_semicolons_marks_and_crlf_are_read(registry: Registry) -> None:
    text = "\ufeff" + GOOD.replace('"Dock, east"', "Dock").replace(",", ";").replace("\n", "\r\n")
    assert len((await run(registry, text)).created_cameras) == 2


async def test_every_mistake_is_named_at_once_and_nothing_is_done(registry: Registry) -> None:
    await registry.camera("cam-old")
    text = f"""{HEADER}
Cam-01,,nowhere,rtsp://,mast-x,,,,,
cam-02,Ok,zae-north,ftp://10.0.0.2/,,,pw-without-name,1,95,east
cam-03,Ok,zae-south,rtsp://u:p@10.0.0.3/a,mast-1,viewer,s3cret,2x,,
cam-03,Ok,zae-south,rtsp://10.0.0.3/a,,,,,,
cam-old,Ok,zae-north,rtsp://10.0.0.3/a,,,,,,
cam-04,Ok,zae-north
cam-05,{"x" * 121},zae-north,rtsp://10.0.0.5/a,,a:b,s3cret,,45.1,
cam-06,Fine,zae-north,rtsp://10.0.0.6/a,,,,,,
"""
    found = await run(registry, text, dry_run=True)
    places = [(item.row, item.column) for item in found.mistakes]
    assert places == [
        (2, "camera"),
        (2, "display_name"),
        (2, "zone"),
        (2, "site"),
        (3, "stream_uri"),
        (3, "segment_seconds"),
        (3, "latitude"),
        (3, "longitude"),
        (3, "username"),
        (4, "site"),
        (4, "segment_seconds"),
        (4, "password"),
        (5, "camera"),
        (6, "camera"),
        (7, ""),
        (8, "display_name"),
        (8, "longitude"),
        (8, "username"),
    ]
    assert found.mistake_count == len(places)
    reasons = {(item.row, item.column): item.reason for item in found.mistakes}
    assert reasons[3, "stream_uri"] == "STREAM_URI_INVALID"
    assert reasons[2, "zone"] == "ZONE_NOT_FOUND"
    assert reasons[4, "site"] == "SITE_IN_OTHER_ZONE"
    assert reasons[6, "camera"] == "CAMERA_EXISTS"
    assert "s3cret" not in str(found)
    assert "pw-without-name" not in str(found)
    async with refused("CSV_INVALID", "csv.rows[2].zone") as error:
        await run(registry, text)
    assert error[0].metadata["mistake_count"] == str(len(places))
    assert "s3cret" not in str(error[0].__dict__)
    assert await registry.states("cam-06") == []


async def test_tables_that_are_none(registry: Registry) -> None:
    for text, column in (
        ("camera,display_name,zone\n", "stream_uri"),
        (HEADER + ",colour\n", "colour"),
        (HEADER + ",camera\n", "camera"),
        (HEADER + "\n", ""),
        (HEADER + '\n"cam-01', ""),
        ("\n\n", ""),
    ):
        found = await run(registry, text, dry_run=True)
        assert column in [item.column for item in found.mistakes], text
    latin = messages.ImportCamerasRequest(csv=GOOD.replace("Gate", "Été").encode("latin-1"))
    latin.dry_run = True
    (mistake,) = (await registry.cameras().ImportCameras(latin)).mistakes
    assert (mistake.row, "UTF-8" in mistake.message) == (2, True)


async def test_existing_cameras_are_changed_only_when_asked(registry: Registry) -> None:
    await run(registry, GOOD)
    async with refused("CSV_INVALID"):
        await run(registry, GOOD)
    same = await run(registry, GOOD, mode=UPSERT)
    assert (len(same.updated_cameras), same.unchanged_count) == (0, 2)
    short = "camera,display_name,zone,stream_uri\ncam-01,West gate,zae-north,rtsp://10.0.0.1/a\n"
    changed = await run(registry, short, mode=UPSERT)
    assert changed.updated_cameras == ["cameras/cam-01"]
    state = (await registry.states("cam-01"))[-1]
    # Columns that are not there change nothing.
    assert (state.display_name, state.segment_seconds) == ("West gate", 30)
    assert state.HasField("credentials")
    moved = await run(registry, short.replace("zae-north", "zae-south"), mode=UPSERT, dry_run=True)
    assert [(item.column, item.reason) for item in moved.mistakes] == [("zone", "MOVE_INVALID")]
    stolen = await run(registry, short.replace("10.0.0.1", "10.6.6.6"), mode=UPSERT, dry_run=True)
    assert [item.reason for item in stolen.mistakes] == ["CREDENTIALS_REQUIRED"]


async def test_an_import_asks_for_every_zone_it_names(registry: Registry) -> None:
    async with refused("PERMISSION_DENIED"):
        await run(registry, GOOD, token="north")
    north = "\n".join(GOOD.splitlines()[:2]) + "\n"
    assert len((await run(registry, north, token="north")).created_cameras) == 1
    async with refused("PERMISSION_DENIED"):
        await run(registry, north, token="reader", dry_run=True)


async def test_an_import_is_on_record_under_the_cameras_it_changes(registry: Registry) -> None:
    async def recorded(text: str, **options: object) -> tuple[str, ...]:
        await run(registry, text, **options)
        entries = [e for e in registry.host.recorder.entries if e.method.endswith("ImportCameras")]
        return entries[-1].objects

    every = ("cameras/-", "cameras/cam-01", "cameras/cam-02")
    assert await recorded(GOOD, dry_run=True) == ("cameras/-",)
    assert tuple(sorted(await recorded(GOOD))) == every
    assert await recorded(GOOD, mode=UPSERT) == ("cameras/-",)
    redirected = GOOD.replace("10.0.0.2/a", "10.0.0.2/b")
    assert await recorded(redirected, mode=UPSERT, dry_run=True) == ("cameras/-",)
    assert await recorded(redirected, mode=UPSERT) == ("cameras/-", "cameras/cam-02")
    lines = [f"cam-{n:04},Camera {n},zae-north,rtsp://10.0.0.1:{1000 + n}/a" for n in range(2003)]
    many = await recorded("camera,display_name,zone,stream_uri\n" + "\n".join(lines))
    assert len(many) == 2002
    assert "cameras/-+3" in many


async def test_what_changes_behind_the_record_is_refused(registry: Registry) -> None:
    """The record names what is to change; what another person did meanwhile is not on it."""
    await run(registry, GOOD)
    recorder = registry.host.recorder
    record = recorder.record

    async def meanwhile(entry: AccessEntry) -> None:
        recorder.record = record  # type: ignore[method-assign]  # once
        await record(entry)
        camera = messages.Camera(name="cameras/cam-02", display_name="East gate")
        await registry.cameras().UpdateCamera(messages.UpdateCameraRequest(camera=camera))

    recorder.record = meanwhile  # type: ignore[method-assign]  # acts in between
    async with refused("ETAG_MISMATCH"):
        await run(registry, GOOD.replace("10.0.0.1/a", "10.0.0.1/b"), mode=UPSERT)
    assert (await registry.states("cam-01"))[-1].stream_uri == "rtsp://10.0.0.1/a"


async def test_what_is_wrong_with_a_row_tells_nothing_of_cameras_of_other_zones(
    registry: Registry,
) -> None:
    await run(registry, GOOD)
    await registry.cameras().UpdateCamera(
        messages.UpdateCameraRequest(
            camera=messages.Camera(
                name="cameras/cam-02",
                credentials=messages.StreamCredentials(username="a", password="b"),
            )
        )
    )
    await registry.zones().CreateSite(
        CreateSiteRequest(site_id="mast-s", site=Site(display_name="Mast", zone="zones/zae-south"))
    )

    async def wrong(text: str, mode: "messages.ImportMode.ValueType" = UPSERT) -> list[str]:
        header = "camera,display_name,zone,stream_uri,site\n"
        looked = await run(registry, header + text, token="north", mode=mode, dry_run=True)
        return [f"{item.column} {item.reason} {item.message}" for item in looked.mistakes]

    for mode in (UPSERT, messages.ImportMode.IMPORT_MODE_CREATE_ONLY):
        right = await wrong("cam-02,Dock,zae-north,rtsp://10.0.0.2/a,", mode)
        guess = await wrong("cam-02,Dock,zae-north,rtsp://10.9.9.9/a,", mode)
        assert right == guess
        assert len(right) == 1
    retire = messages.RetireCameraRequest(name="cameras/cam-02", reason="replaced")
    await registry.cameras().RetireCamera(retire)
    assert await wrong("cam-02,Dock,zae-north,rtsp://10.0.0.2/a,") == await wrong(
        "cam-02,Dock,zae-north,rtsp://10.9.9.9/a,"
    )
    (mistake,) = await wrong("cam-03,Dock,zae-north,rtsp://10.0.0.2/a,mast-s")
    assert "SITE_IN_OTHER_ZONE" in mistake
    assert "south" not in mistake
    new = messages.Camera(
        display_name="x", zone="zones/zae-north", site="sites/mast-s", stream_uri="rtsp://h/"
    )
    async with refused("SITE_IN_OTHER_ZONE") as seen:
        await registry.cameras("north").CreateCamera(
            messages.CreateCameraRequest(camera_id="cam-03", camera=new)
        )
    assert "south" not in seen[0].message


async def test_an_export_with_a_retired_camera_can_be_imported(registry: Registry) -> None:
    await run(registry, GOOD)
    retire = messages.RetireCameraRequest(name="cameras/cam-01", reason="replaced")
    await registry.cameras().RetireCamera(retire)
    text = GOOD.replace("viewer, s3cret ", ",")
    assert (await run(registry, text, mode=UPSERT)).unchanged_count == 2
    changed = await run(registry, text.replace("Gate", "Door"), mode=UPSERT, dry_run=True)
    assert [(item.row, item.reason) for item in changed.mistakes] == [(2, "CAMERA_RETIRED")]


async def test_a_repeated_import_is_done_once(registry: Registry) -> None:
    request_id = str(uuid.uuid4())
    first = await run(registry, GOOD, request_id=request_id)
    assert await run(registry, GOOD, request_id=request_id) == first


async def test_what_is_exported_can_be_imported(registry: Registry) -> None:
    await run(registry, GOOD)
    camera = messages.Camera(name="cameras/cam-02", description='=HYPERLINK("x")\nsecond; line')
    await registry.cameras().UpdateCamera(messages.UpdateCameraRequest(camera=camera))
    rows = await export(registry)
    assert [row["camera"] for row in rows] == ["cam-01", "cam-02"]
    assert rows[0]["latitude"] == "45.78"
    assert rows[1]["description"].startswith("'=")  # no spreadsheet runs it
    assert not {"username", "password"} & set(rows[0])
    assert [row["camera"] for row in await export(registry, "north")] == ["cam-01"]
    assert await export(registry, text="lifecycle = RETIRED") == []
    table = io.StringIO(newline="")
    writer = csv.DictWriter(table, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    again = await run(registry, table.getvalue(), mode=UPSERT)
    assert again.unchanged_count == 2


async def test_a_thousand_cameras_in_one_transaction(registry: Registry) -> None:
    lines = [f"cam-{n:04},Camera {n},zae-north,rtsp://10.0.0.1:{1000 + n}/a" for n in range(1000)]
    text = "camera,display_name,zone,stream_uri\n" + "\n".join(lines)
    await registry.authorisation(zones=("zae-north",))
    assert len((await run(registry, text)).created_cameras) == 1000
    page = await registry.cameras().ListCameras(messages.ListCamerasRequest(page_size=1))
    assert page.total_size == 1000
    assert len(page.cameras[0].authorisations) == 1


@given(st.text(max_size=30) | st.text(alphabet="=-;'\"\t\n\r,a1", max_size=12))
def test_the_guard_against_formulas_loses_nothing(text: str) -> None:
    guarded = _guarded(text)
    assert unguarded(guarded) == text
    assert not guarded.startswith(("=", "@"))


@given(st.text(alphabet="=@;'\"\t\n\r,a", max_size=12))
def test_no_separator_makes_a_formula_of_a_part(text: str) -> None:
    """Spreadsheets in French take semicolons for separators, whatever we meant."""
    line = _line([_guarded(f"Rue{text}")]).decode().removesuffix("\r\n")
    for separator in ";\t":
        for cell in re.split(f"[{separator}\r\n]", line)[1:]:
            assert not cell.lstrip("'\"").startswith(("=", "@")) or cell.startswith("'")


@given(st.binary(max_size=200))
def test_any_bytes_are_a_table_or_have_mistakes(content: bytes) -> None:
    mistakes = Mistakes()
    _, rows = read_table(content, mistakes)
    assert rows or mistakes.found
    assert all(set(row.values) <= set(COLUMNS) for row in rows)
