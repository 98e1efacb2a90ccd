"""Secrets in their box: nobody opens them with another key, for another owner, or after a change."""

import stat
from pathlib import Path

import pytest

from fauxchange.domain.errors import ConfigurationError
from fauxchange.platform.credentials import API_KEY_PREFIX, SecretBox, new_api_key, new_api_secret, new_credentials


def test_a_secret_comes_out_as_it_went_in() -> None:
    box = SecretBox("a key")

    encrypted = box.encrypt("hush", "fxk_1")

    assert box.decrypt(encrypted, "fxk_1") == "hush"
    assert "hush" not in encrypted
    assert encrypted.isascii()


def test_the_same_secret_never_looks_the_same_twice() -> None:
    box = SecretBox("a key")

    assert box.encrypt("hush", "fxk_1") != box.encrypt("hush", "fxk_1")


def test_the_key_file_is_made_for_its_user_alone_and_serves_the_next_process(tmp_path: Path) -> None:
    path = tmp_path / "data" / "credentials.key"

    encrypted = SecretBox.from_file(path).encrypt("hush", "fxk_1")

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert SecretBox.from_file(path).decrypt(encrypted, "fxk_1") == "hush"


def test_another_key_file_is_named_and_opens_nothing(tmp_path: Path) -> None:
    encrypted = SecretBox.from_file(tmp_path / "right.key").encrypt("hush", "fxk_1")
    wrong = SecretBox.from_file(tmp_path / "wrong.key")

    with pytest.raises(ConfigurationError, match=r"fxk_1 cannot be opened with key file .*wrong\.key") as refused:
        wrong.decrypt(encrypted, "fxk_1")

    assert refused.value.code == "wrong_key_file"


def test_a_secret_that_was_given_to_another_api_key_does_not_open() -> None:
    box = SecretBox("a key")
    encrypted = box.encrypt("hush", "fxk_1")

    with pytest.raises(ConfigurationError):
        box.decrypt(encrypted, "fxk_2")


@pytest.mark.parametrize("place", [0, 3, 10, 30, -2])
def test_a_changed_secret_does_not_open(place: int) -> None:
    box = SecretBox("a key")
    encrypted = list(box.encrypt("hush", "fxk_1"))
    encrypted[place] = "A" if encrypted[place] != "A" else "B"

    with pytest.raises(ConfigurationError):
        box.decrypt("".join(encrypted), "fxk_1")


@pytest.mark.parametrize("text", ["", "v1.", "v1.AAAA", "v1.é", "hush", "v2.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"])
def test_what_is_no_encrypted_secret_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError):
        SecretBox("a key").decrypt(text, "fxk_1")


def test_new_credentials_differ_and_fit_into_a_header() -> None:
    box = SecretBox("a key")

    made = [new_credentials(box) for _ in range(20)]

    assert len({api_key for api_key, _, _ in made}) == len({secret for _, secret, _ in made}) == 20
    assert all(api_key.startswith(API_KEY_PREFIX) and api_key.isascii() for api_key, _, _ in made)
    assert all(box.decrypt(encrypted, api_key) == secret for api_key, secret, encrypted in made)
    assert len(new_api_key()) >= 32
    assert len(new_api_secret()) >= 43
