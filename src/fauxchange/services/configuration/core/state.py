"""The configuration as it is: what all changes have led to."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter

from fauxchange.domain.configuration import ConfigurationChange


@dataclass(slots=True)
class Namespace:
    """The keys of one service in one environment, by name; `last` is the last change of any of them."""

    values: dict[str, ConfigurationChange] = field(default_factory=dict)
    last: ConfigurationChange | None = None

    @property
    def version(self) -> int:
        """The version of the last change, 0 if there was none."""
        return 0 if self.last is None else self.last.version

    def sorted(self) -> Sequence[ConfigurationChange]:
        """Return what the keys are set to, in alphabetical order."""
        return [self.values[key] for key in sorted(self.values)]


class Configured:
    """The present of every service and environment."""

    def __init__(self, changes: Iterable[ConfigurationChange] = ()) -> None:
        self.version = 0
        self._namespaces: dict[tuple[str, str], Namespace] = {}
        self._ever: set[tuple[str, str, str]] = set()
        for change in sorted(changes, key=attrgetter("version")):
            self.apply(change)

    def apply(self, change: ConfigurationChange) -> None:
        """Take in a change that is newer than all before."""
        self.version = change.version
        namespace = self._namespaces.setdefault((change.service, change.environment), Namespace())
        namespace.last = change
        self._ever.add((change.service, change.environment, change.key))
        if change.is_deletion:
            namespace.values.pop(change.key, None)
        else:
            namespace.values[change.key] = change

    def namespace(self, service: str, environment: str) -> Namespace:
        """Return the keys of a service in an environment; an empty namespace if there are none."""
        return self._namespaces.get((service, environment)) or Namespace()

    def get(self, service: str, environment: str, key: str) -> ConfigurationChange | None:
        """Return what a key is set to, None if it is not set."""
        return self.namespace(service, environment).values.get(key)

    def was_ever_set(self, service: str, environment: str, key: str) -> bool:
        """Say whether a key is set, or was and has been deleted."""
        return (service, environment, key) in self._ever

    def namespaces(self) -> Iterator[tuple[str, str, Namespace]]:
        """Yield service, environment and keys of each, in alphabetical order."""
        for (service, environment), namespace in sorted(self._namespaces.items(), key=lambda item: item[0]):
            yield service, environment, namespace

    @property
    def keys(self) -> int:
        """How many keys are set, of all services and environments."""
        return sum(len(namespace.values) for namespace in self._namespaces.values())


def entity_tag(change: ConfigurationChange | None) -> str:
    """Return the entity tag of what a change led to.

    It holds more than the version, because a store in memory begins to count anew with each process.
    """
    if change is None:
        return '"0"'
    told: Mapping[str, object] = {
        "at": change.ts_ns,
        "by": change.actor,
        "of": [change.service, change.environment, change.key],
        "is": [change.type, dict(change.content)],
    }
    digest = hashlib.blake2b(json.dumps(told, sort_keys=True).encode(), digest_size=6).hexdigest()
    return f'"{change.version}-{digest}"'
