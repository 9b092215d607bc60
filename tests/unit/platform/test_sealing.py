from collections.abc import Callable
from pathlib import Path

import pytest

from vigie.platform.config.secret import Secret
from vigie.platform.errors import VigieError
from vigie.platform.reasons import SEALED_SECRET_UNREADABLE, SEALING_KEY_INVALID
from vigie.platform.sealing import (
    Sealed,
    Sealer,
    SealingKey,
    StreamLogin,
    load_or_create_sealer,
)

LOGIN = StreamLogin("viewer", Secret("s3cret-päss"))


def sealer(seed: int = 1) -> Sealer:
    return Sealer([SealingKey.of(bytes([seed]) * 32)])


def test_what_is_sealed_opens_again_for_the_same_camera() -> None:
    sealed = sealer().seal_login(LOGIN, camera="cam-01")
    assert sealer().open_login(sealed, camera="cam-01") == LOGIN


def test_a_sealed_secret_shows_nothing_and_never_repeats() -> None:
    first = sealer().seal_login(LOGIN, camera="cam-01")
    second = sealer().seal_login(LOGIN, camera="cam-01")
    assert first.ciphertext != second.ciphertext
    assert b"s3cret" not in first.ciphertext
    assert b"viewer" not in first.ciphertext


@pytest.mark.parametrize(
    "broken",
    [
        lambda sealed: Sealed(sealed.key_id, sealed.ciphertext[:-1] + b"\0"),
        lambda sealed: Sealed(sealed.key_id, b"\0" * 12 + sealed.ciphertext[12:]),
        lambda sealed: Sealed(sealed.key_id, sealed.ciphertext[:20]),
        lambda sealed: Sealed("0" * 16, sealed.ciphertext),
    ],
)
def test_an_altered_secret_is_refused(broken: Callable[[Sealed], Sealed]) -> None:
    sealed = sealer().seal_login(LOGIN, camera="cam-01")
    with pytest.raises(VigieError) as caught:
        sealer().open_login(broken(sealed), camera="cam-01")
    assert caught.value.reason is SEALED_SECRET_UNREADABLE
    assert "s3cret" not in str(caught.value)


def test_a_sealed_secret_cannot_be_moved_to_another_camera() -> None:
    sealed = sealer().seal_login(LOGIN, camera="cam-01")
    with pytest.raises(VigieError, match="another camera"):
        sealer().open_login(sealed, camera="cam-02")


def test_another_installation_cannot_open_it() -> None:
    sealed = sealer(1).seal_login(LOGIN, camera="cam-01")
    with pytest.raises(VigieError, match="does not have"):
        sealer(2).open_login(sealed, camera="cam-01")


def test_older_keys_still_open_after_a_change_of_keys() -> None:
    old, new = SealingKey.of(b"\1" * 32), SealingKey.of(b"\2" * 32)
    sealed = Sealer([old]).seal_login(LOGIN, camera="cam-01")
    both = Sealer([new, old])
    assert both.open_login(sealed, camera="cam-01") == LOGIN
    assert both.seal_login(LOGIN, camera="cam-01").key_id == new.key_id


def test_no_representation_shows_the_password() -> None:
    assert "s3cret" not in repr(LOGIN)
    assert "material" not in repr(SealingKey.of(b"\1" * 32))


def test_the_key_file_is_made_once_and_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "sealing.key"
    first = load_or_create_sealer(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert [file.name for file in path.parent.iterdir()] == ["sealing.key"]
    sealed = first.seal_login(LOGIN, camera="cam-01")
    assert load_or_create_sealer(path).open_login(sealed, camera="cam-01") == LOGIN


def test_a_key_that_others_may_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "sealing.key"
    load_or_create_sealer(path)
    path.chmod(0o640)
    with pytest.raises(VigieError, match="chmod 600") as caught:
        load_or_create_sealer(path)
    assert caught.value.reason is SEALING_KEY_INVALID


@pytest.mark.parametrize("content", ["", "nonsense\n", "vigie-sealing-key abc QUJD\n"])
def test_a_damaged_key_file_is_refused_without_showing_it(tmp_path: Path, content: str) -> None:
    path = tmp_path / "sealing.key"
    path.write_text(content, encoding="ascii")
    path.chmod(0o600)
    with pytest.raises(VigieError) as caught:
        load_or_create_sealer(path)
    assert caught.value.reason is SEALING_KEY_INVALID
    assert "QUJD" not in str(caught.value)


def test_a_key_that_does_not_match_its_name_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "sealing.key"
    load_or_create_sealer(path)
    header, _, material = path.read_text(encoding="ascii").split()
    path.write_text(f"{header} {'0' * 16} {material}\n", encoding="ascii")
    with pytest.raises(VigieError, match="damaged"):
        load_or_create_sealer(path)


def test_fingerprints_depend_on_content_and_key() -> None:
    assert sealer(1).fingerprint(b"a") == sealer(1).fingerprint(b"a")
    assert sealer(1).fingerprint(b"a") != sealer(1).fingerprint(b"b")
    assert sealer(1).fingerprint(b"a") != sealer(2).fingerprint(b"a")
