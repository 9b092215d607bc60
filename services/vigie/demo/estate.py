"""A small estate: communes and zones of a metropolitan area, cameras, roles. Nobody real in it."""

from dataclasses import dataclass
from typing import Final

from vigie.simcam import CameraConfig, Credentials, FootageSpec

PEOPLE: Final = """\
# Who may do what in the demonstration. Roles and zones as in docs/guide/first-steps.md.
[agencies.csu]
name = "Centre de supervision urbain"
[agencies.police-municipale]
name = "Police municipale"
[agencies.gendarmerie]
name = "Gendarmerie nationale"
[agencies.prefecture]
name = "Commission départementale"

[people.administration]
name = "Administration technique"
agency = "csu"
roles = ["administrator"]
zones = ["*"]

[people.operateur-csu]
name = "Poste opérateur du CSU"
agency = "csu"
roles = ["operator"]
zones = ["*"]

[people.brigade-le-brezet]
name = "Brigade du Brézet"
agency = "police-municipale"
roles = ["operator"]
zones = ["zone-le-brezet"]

[people.enqueteur]
name = "Unité de recherches"
agency = "gendarmerie"
roles = ["investigator"]
zones = ["*"]

[people.responsable-csu]
name = "Responsable du CSU"
agency = "csu"
roles = ["supervisor"]
zones = ["*"]

[people.controle]
name = "Commission de contrôle"
agency = "prefecture"
roles = ["auditor"]
zones = ["*"]
"""

COMMUNES: Final = (
    ("63113", "Clermont-Ferrand"),
    ("63014", "Aubière"),
    ("63124", "Cournon-d'Auvergne"),
)
ZONES: Final = (
    ("zone-le-brezet", "63113", "Le Brézet"),
    ("zone-la-pardieu", "63113", "La Pardieu"),
    ("zone-cap-sud", "63014", "Cap Sud"),
    ("zone-les-acilloux", "63124", "Les Acilloux"),
)
AUTHORISED_ZONES: Final = ("zone-le-brezet", "zone-la-pardieu", "zone-cap-sud")
"""Les Acilloux still waits for its order: its camera must not record."""

_SMALL: Final = FootageSpec(width=480, height=270, frame_count=250, bitrate_bps=400_000)
_OTHER: Final = FootageSpec(width=480, height=270, frame_count=250, bitrate_bps=400_000, seed=2)
_B_FRAMES: Final = FootageSpec(
    width=480, height=270, frame_count=250, bitrate_bps=400_000, b_frames=2, preset="veryfast"
)
_H265: Final = FootageSpec(
    codec="h265", width=320, height=180, frame_count=125, bitrate_bps=300_000
)


@dataclass(frozen=True, slots=True)
class DemoCamera:
    """One camera of the demonstration."""

    id: str
    zone: str
    display_name: str
    footage: FootageSpec
    password: str = ""

    def simulated(self) -> CameraConfig:
        """As simcam wants it."""
        login = Credentials(username="vigie", password=self.password) if self.password else None
        return CameraConfig(id=self.id, footage=self.footage, credentials=login, has_audio=True)


CAMERAS: Final = (
    DemoCamera("cam-brezet-rond-point", "zone-le-brezet", "Brézet, rond-point nord", _SMALL),
    DemoCamera("cam-brezet-quai", "zone-le-brezet", "Brézet, quais de livraison", _OTHER),
    DemoCamera("cam-brezet-parking", "zone-le-brezet", "Brézet, parking", _SMALL, "s3cret-parking"),
    DemoCamera("cam-pardieu-entree", "zone-la-pardieu", "Pardieu, entrée", _B_FRAMES),
    DemoCamera("cam-pardieu-tram", "zone-la-pardieu", "Pardieu, arrêt de tram", _H265),
    DemoCamera("cam-pardieu-sud", "zone-la-pardieu", "Pardieu, sortie sud", _OTHER),
    DemoCamera("cam-capsud-depot", "zone-cap-sud", "Cap Sud, dépôt", _SMALL),
    DemoCamera("cam-acilloux-entree", "zone-les-acilloux", "Acilloux, entrée", _SMALL),
)
BROKEN: Final = "cam-pardieu-sud"
"""The camera that is made unreachable for a while."""
UNAUTHORISED: Final = "cam-acilloux-entree"
"""The camera whose authorisation is missing."""
HEALTHY: Final = tuple(camera.id for camera in CAMERAS if camera.id not in {BROKEN, UNAUTHORISED})
EVIDENCE: Final = ("cam-brezet-rond-point", BROKEN, "cam-pardieu-entree")
"""What the investigator asks for: a camera with a gap among them."""
