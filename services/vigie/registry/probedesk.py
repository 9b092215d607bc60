"""ProbeCamera as an operation."""

from typing import Final

from vigie.ingest.v1.probe_pb2 import ProbeSourceRequest
from vigie.platform.config.secret import Secret
from vigie.platform.database import Database
from vigie.platform.errors import VigieError
from vigie.platform.grpc.call import Call
from vigie.platform.identifiers import IdentifierSource
from vigie.platform.sealing import Sealer, StreamLogin
from vigie.registry import convert, lifecycle, names
from vigie.registry.admission import admit_to_camera
from vigie.registry.config import RegistryConfig
from vigie.registry.probe import SourceProber, probe_answer, probe_request
from vigie.registry.reasons import CAMERA_RETIRED, CREDENTIALS_INVALID
from vigie.registry.streamuri import check_login, parse_stream_uri
from vigie.registry.v1.cameras_pb2 import ProbeCameraRequest, ProbeCameraResponse, ProbeSource

_SECOND_US: Final = 1_000_000


class ProbeDesk:
    """Has cameras tried by ingest.

    Args:
        database: where the cameras are.
        prober: asks ingest.
        sealer: seals credentials given for a source that is not registered.
        identifiers: names such sources.
        config: the section of the configuration.
    """

    def __init__(
        self,
        database: Database,
        prober: SourceProber,
        sealer: Sealer,
        identifiers: IdentifierSource,
        config: RegistryConfig,
    ) -> None:
        self._database = database
        self._prober = prober
        self._sealer = sealer
        self._identifiers = identifiers
        self._config = config

    async def probe(self, call: Call, request: ProbeCameraRequest) -> ProbeCameraResponse:
        """Admit the caller, then try the camera.

        Raises:
            VigieError: PERMISSION_DENIED, CAMERA_NOT_FOUND, CAMERA_RETIRED, STREAM_URI_INVALID,
                CREDENTIALS_INVALID, PROBE_UNAVAILABLE.
        """
        timeout_seconds = self._config.probe_timeout_seconds
        if request.HasField("timeout"):
            timeout_seconds = request.timeout.ToMicroseconds() / _SECOND_US
        if request.WhichOneof("target") == "source":
            zone = names.identifier(request.source.zone)
            await call.admit(objects=[request.source.zone], zones=[zone])
            question = self._unregistered(request.source, timeout_seconds)
        else:
            question = await self._registered(call, request.name, timeout_seconds)
        return probe_answer(await self._prober.probe(question, timeout_seconds=timeout_seconds))

    async def _registered(
        self, call: Call, name: str, timeout_seconds: float
    ) -> ProbeSourceRequest:
        record = await admit_to_camera(call, self._database, name)
        if record.lifecycle == lifecycle.RETIRED:
            raise VigieError(CAMERA_RETIRED, f"camera {record.camera} is retired", field="name")
        question = probe_request(record.camera, record.stream_uri, timeout_seconds)
        question.engine = record.engine  # type: ignore[assignment]  # an enum's number
        if record.credentials is not None:
            question.credentials.CopyFrom(convert.sealed_message(record.credentials))
        return question

    def _unregistered(self, source: ProbeSource, timeout_seconds: float) -> ProbeSourceRequest:
        address = parse_stream_uri(
            source.stream_uri, schemes=self._config.stream_schemes, field="source.stream_uri"
        )
        login = address.login
        if source.HasField("credentials"):
            if login is not None:
                raise VigieError(
                    CREDENTIALS_INVALID,
                    "user and password stand in the address and in `credentials`",
                    field="source.credentials",
                )
            message = source.credentials
            given = StreamLogin(message.username, Secret(message.password))
            login = check_login(given, field="source.credentials")
        # Credentials are bound to a camera; this one exists only for this question.
        camera = f"probe-{self._identifiers.hex()}"
        question = probe_request(camera, address.uri, timeout_seconds)
        question.engine = source.engine
        if login is not None:
            sealed = self._sealer.seal_login(login, camera=camera)
            question.credentials.CopyFrom(convert.sealed_message(sealed))
        return question
