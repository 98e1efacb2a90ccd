"""The present as it follows from the changes."""

from dataclasses import replace

import pytest

from fauxchange.domain.configuration import ConfigurationChange
from fauxchange.services.configuration.core.state import Configured, entity_tag


def change(version: int, key: str = "a", service: str = "bot", environment: str = "here") -> ConfigurationChange:
    return ConfigurationChange(
        version=version,
        service=service,
        environment=environment,
        key=key,
        type="int",
        content={"value": version},
        ts_ns=version,
        actor="test",
    )


def test_the_last_change_of_a_key_is_what_it_is_set_to() -> None:
    configured = Configured([change(3), change(1), change(2, "b"), change(4, service="other")])

    bot = configured.namespace("bot", "here")
    assert [(each.key, each.value) for each in bot.sorted()] == [("a", 3), ("b", 2)]
    assert (bot.version, configured.version, configured.keys) == (3, 4, 3)
    assert configured.namespace("nobody", "here").version == 0
    assert [(service, len(namespace.values)) for service, _, namespace in configured.namespaces()] == [
        ("bot", 2),
        ("other", 1),
    ]


def test_a_deleted_key_is_not_set_but_was() -> None:
    configured = Configured([change(1), replace(change(2), content={})])

    assert configured.get("bot", "here", "a") is None
    assert configured.was_ever_set("bot", "here", "a")
    assert not configured.was_ever_set("bot", "elsewhere", "a")
    assert configured.namespace("bot", "here").version == 2


@pytest.mark.parametrize(
    "other",
    [{"content": {"value": True}}, {"content": {}}, {"ts_ns": 2}, {"actor": "else"}, {"version": 2}, {"key": "b"}],
)
def test_the_tag_of_another_change_is_another(other: dict[str, object]) -> None:
    assert entity_tag(change(1)) == entity_tag(change(1))
    assert entity_tag(change(1)) != entity_tag(replace(change(1), **other))  # type: ignore[arg-type]  # fields by name
    assert entity_tag(None) != entity_tag(change(1))
