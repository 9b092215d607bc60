"""A command's connection to the product: address, token, language, errors."""

import json
import os
import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import grpc
import typer
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from rich.console import Console

from vigie.cli.exits import Exit, exit_of
from vigie.cli.globals import global_options_of
from vigie.cli.language import speaks_french, tr
from vigie.platform.grpc.client import ClientError, ClientTls

_MAX_MESSAGE_BYTES: Final = 4 << 20
Stub = TypeVar("Stub")


@dataclass
class Session:
    """What the global options of a command line say.

    Attributes:
        address: ``host:port`` of the product.
        token: bearer token; empty: none is sent.
        tls: how to trust the server; ``None``: plain text.
        as_json: print messages as JSON lines instead of tables.
        timeout_seconds: deadline of calls with one answer.
    """

    address: str
    token: str
    tls: ClientTls | None
    as_json: bool
    timeout_seconds: float

    def __post_init__(self) -> None:
        self.console = Console(highlight=False, soft_wrap=False)
        self.errors = Console(stderr=True, highlight=False)

    def stub(self, make: Callable[[Any], Stub]) -> Stub:
        """A synchronous stub on a channel that lives as long as the process."""
        options = [("grpc.max_receive_message_length", _MAX_MESSAGE_BYTES)]
        if self.tls is None:
            return make(grpc.insecure_channel(self.address, options=options))
        return make(grpc.secure_channel(self.address, self.tls.credentials(), options=options))

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """Sent with every call."""
        language = (("accept-language", "fr" if speaks_french() else "en"),)
        return (*language, ("authorization", f"Bearer {self.token}")) if self.token else language

    def call(self, method: Any, request: Message, *, at_least_seconds: float = 0) -> Any:
        """One answer; the deadline is the session's, or ``at_least_seconds`` if that is later.

        Raises:
            typer.Exit: the call failed; the failure is printed.
        """
        deadline = max(self.timeout_seconds, at_least_seconds)
        with self.failing():
            return method(request, metadata=self.metadata, timeout=deadline)

    def stream(self, method: Any, request: Message) -> Generator[Any, None, None]:
        """Answers as they come, without a deadline; closing the iterator cancels the call.

        Raises:
            typer.Exit: the call failed; the failure is printed.
        """
        with self.failing():
            answers = method(request, metadata=self.metadata)
            try:
                yield from answers
            finally:
                answers.cancel()

    @contextmanager
    def failing(self) -> Iterator[None]:
        """Turn a failed call into a message and an exit code."""
        try:
            yield
        except grpc.RpcError as error:
            failure = ClientError.of(error)
            self.show_failure(failure)
            raise typer.Exit(exit_of(failure.code)) from error

    def show_failure(self, failure: ClientError) -> None:
        """Say what went wrong: for machines on one line of JSON, for people in their language."""
        if self.as_json:
            document = {
                "error": {
                    "code": failure.code.name,
                    "reason": failure.reason,
                    "message": failure.message,
                    "metadata": failure.metadata,
                    "violations": [
                        {"field": each.field, "description": each.description}
                        for each in failure.violations
                    ],
                    "request_id": failure.request_id,
                }
            }
            print(json.dumps(document, ensure_ascii=False), file=sys.stderr)
            return
        reason = failure.reason or failure.code.name
        self.errors.print(f"[bold red]{reason}[/] {failure.message}", markup=True)
        if failure.localized_message and failure.localized_message != failure.message:
            self.errors.print(f"  {failure.localized_message}", markup=False)
        for violation in failure.violations:
            self.errors.print(f"  {violation.field}: {violation.description}", markup=False)
        if failure.remedy:
            self.errors.print(f"  → {failure.remedy}", markup=False)
        if failure.code is grpc.StatusCode.UNAVAILABLE and not failure.reason:
            self.errors.print(
                tr(f"  Is Vigie running at {self.address}? (vigie up; --address)",
                   f"  Vigie répond-il à {self.address} ? (vigie up ; --address)"),
                markup=False,
            )  # fmt: skip
        if failure.request_id:
            self.errors.print(f"  request {failure.request_id}", style="dim", markup=False)

    def show_json(self, message: Message | dict[str, Any]) -> None:
        """One line of JSON; field names as in the contracts."""
        document = as_dict(message) if isinstance(message, Message) else message
        print(json.dumps(document, ensure_ascii=False))


def as_dict(message: Message) -> dict[str, Any]:
    """A message as JSON, names as in the contract, empty fields included."""
    document: dict[str, Any] = MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    return document


def session_of(context: typer.Context) -> Session:
    """The session the global options describe; one for the whole command.

    Raises:
        typer.BadParameter: the token's file cannot be read.
    """
    found = global_options_of(context)
    if found.session is None:
        files = (found.ca_file, found.certificate_file, found.key_file)
        found.session = Session(
            address=found.address,
            token=read_token(found.token, found.token_file),
            tls=ClientTls(*files) if found.ca_file else None,
            as_json=found.as_json,
            timeout_seconds=found.timeout_seconds,
        )
    session: Session = found.session
    return session


def read_token(token: str, token_file: Path | None) -> str:
    """The token of the command line, of ``VIGIE_TOKEN``, or of a file.

    Raises:
        typer.BadParameter: the file cannot be read.
    """
    if token:
        return token
    if token_file is None:
        return os.environ.get("VIGIE_TOKEN", "").strip()
    try:
        return token_file.read_text(encoding="ascii").strip()
    except (OSError, ValueError) as error:
        raise typer.BadParameter(f"--token-file {token_file}: {error}") from error


def fail(message: str, code: Exit = Exit.FAILED) -> typer.Exit:
    """Print one line to standard error; raise what this returns."""
    Console(stderr=True, highlight=False).print(message, style="red", markup=False)
    return typer.Exit(code)
