import hashlib

import pytest

from fauxchange.data.redis.acl import ADMIN, USERS, acl_lines, acl_text
from fauxchange.domain.errors import ConfigurationError


def test_file_holds_no_password_and_switches_the_default_user_off() -> None:
    text = acl_text({user.name: f"secret-{user.name}" for user in USERS} | {ADMIN: "secret-admin"})

    assert "secret" not in text
    assert f"#{hashlib.sha256(b'secret-admin').hexdigest()} ~* &* +@all" in text
    assert text.splitlines()[0] == "user default off"
    assert len(text.splitlines()) == 2 + len(USERS)


def test_users_are_named_after_services_and_no_two_share_a_namespace() -> None:
    assert all(user.name == f"{user.namespace.replace('_', '-')}-adapter" for user in USERS)
    assert len({user.namespace for user in USERS}) == len({user.registered_name for user in USERS}) == len(USERS)


def test_only_market_data_writes_prices() -> None:
    writing = [
        line.split()[1] for line in acl_lines(dict.fromkeys((user.name for user in USERS), "x")) if "+xadd" in line
    ]

    assert writing == ["market-data-adapter"]


@pytest.mark.parametrize("passwords", [{"nobody-adapter": "x"}, {"exchange-adapter": ""}, {"exchange-adapter": "a b"}])
def test_unknown_user_or_unusable_password_is_refused(passwords: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError):
        acl_lines(passwords)
