"""How a camera is received: by which engine, from where, with which credentials."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from vigie.ingest.engine import Engine, SourceSpec
from vigie.platform.sealing import Sealed, StreamLogin
from vigie.registry.v1 import events_pb2
from vigie.registry.v1.events_pb2 import CameraState

NATIVE = "native"
LIBAV = "libav"
_NATIVE_SCHEMES = frozenset({"rtsp", "rtsps"})


class LoginOpener(Protocol):
    """Opens the sealed credentials of cameras (`vigie.platform.sealing.Sealer`)."""

    def open_login(self, sealed: Sealed, *, camera: str) -> StreamLogin:
        """User name and password.

        Raises:
            VigieError: SEALED_SECRET_UNREADABLE.
        """
        ...


@dataclass(frozen=True, slots=True)
class ReceptionPlan:
    """What of a camera's state decides how it is received; a change means connecting anew.

    Attributes:
        camera: camera identifier.
        uri: address of the stream.
        engine: ``native`` or ``libav``.
        key_id: sealing key of the credentials; empty without any.
        ciphertext: the sealed credentials.
    """

    camera: str
    uri: str
    engine: str
    key_id: str = ""
    ciphertext: bytes = b""

    def source(self, opener: LoginOpener, *, verify_tls: bool) -> SourceSpec:
        """The source with its credentials, opened only now.

        Raises:
            VigieError: SEALED_SECRET_UNREADABLE.
        """
        if not self.key_id:
            return SourceSpec(self.camera, self.uri, verify_tls=verify_tls)
        login = opener.open_login(Sealed(self.key_id, self.ciphertext), camera=self.camera)
        return SourceSpec(
            self.camera,
            self.uri,
            username=login.username,
            password=login.password.reveal(),
            verify_tls=verify_tls,
        )


def choose_engine(wanted: events_pb2.ReceptionEngine.ValueType, uri: str) -> str:
    """The engine a state names; else native for rtsp and rtsps, libav for everything else."""
    if wanted == events_pb2.RECEPTION_ENGINE_NATIVE:
        return NATIVE
    if wanted == events_pb2.RECEPTION_ENGINE_LIBAV:
        return LIBAV
    scheme = uri.partition("://")[0].lower()
    return NATIVE if scheme in _NATIVE_SCHEMES else LIBAV


def reception_plan(state: CameraState) -> ReceptionPlan:
    """The plan that follows from the state of a camera."""
    sealed = state.credentials
    return ReceptionPlan(
        camera=state.camera,
        uri=state.stream_uri,
        engine=choose_engine(state.engine, state.stream_uri),
        key_id=sealed.key_id,
        ciphertext=sealed.ciphertext,
    )


Engines = Mapping[str, Engine]
"""The engines by name."""
