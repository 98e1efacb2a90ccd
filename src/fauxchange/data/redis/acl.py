"""The users of the Redis server: one per service, with the keys and commands that it needs and no others.

`USERS` is the one table; the ACL file of a deployment and the users of tests are made from it.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from fauxchange.data.redis.names import PRICES, REGISTRY, REGISTRY_INDEX
from fauxchange.domain.errors import ConfigurationError

ADMIN = "admin"
"""May do anything: for tests, and for an operator's first look; not for a service."""

_SESSION = ("ping", "select", "multi", "exec", "discard")
_CACHE = ("get", "set", "getrange", "scan", "unlink")
_REGISTRY = ("get", "mget", "set", "sadd", "srem", "smembers", "unlink")
_READ_PRICES = ("get", "zrangebylex", "zrevrangebylex", "xread", "xrange", "xrevrange")
_WRITE_PRICES = ("set", "zadd", "zremrangebylex", "zremrangebyrank", "pexpire", "xadd", "unlink")
_PRICE_KEYS = (f"{PRICES}:hot:*", f"{PRICES}:stream:*")
_SAFE_PASSWORD = re.compile(r"\S+")


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisUser:
    """One service's user: its namespace, its name in the registry, what it may do with prices, whether it caches."""

    name: str
    namespace: str
    registered_name: str
    reads_prices: bool = False
    writes_prices: bool = False
    caches: bool = True
    commands: Sequence[str] = field(init=False)

    def __post_init__(self) -> None:
        needed = [*_SESSION, *(_CACHE if self.caches else ()), *_REGISTRY]
        needed += _READ_PRICES if self.reads_prices or self.writes_prices else ()
        needed += _WRITE_PRICES if self.writes_prices else ()
        object.__setattr__(self, "commands", tuple(dict.fromkeys(needed)))

    def rules(self) -> list[str]:
        """Return what the user may do, as the rules of an ACL file, without the password."""
        keys = [
            *([f"~{self.namespace}:cache:*"] if self.caches else []),
            f"~{self.namespace}:service:*",
            f"~{REGISTRY_INDEX}",
            f"~{REGISTRY}:entry:{self.registered_name}/*",
            # Whoever looks others up reads their entries, and what they tell of themselves.
            f"%R~{REGISTRY}:entry:*",
            "%R~*:service:*",
        ]
        if self.writes_prices:
            keys += [f"~{pattern}" for pattern in _PRICE_KEYS]
        elif self.reads_prices:
            keys += [f"%R~{pattern}" for pattern in _PRICE_KEYS]
        return ["resetchannels", *keys, "-@all", *(f"+{command}" for command in self.commands)]


def _user(
    service: str,
    registered_name: str,
    *,
    reads_prices: bool = False,
    writes_prices: bool = False,
    caches: bool = True,
) -> RedisUser:
    return RedisUser(
        name=f"{service}-adapter",
        namespace=service.replace("-", "_"),
        registered_name=registered_name,
        reads_prices=reads_prices,
        writes_prices=writes_prices,
        caches=caches,
    )


USERS: Sequence[RedisUser] = (
    _user("market-data", "market-data-simulator", writes_prices=True),
    _user("exchange", "exchange-simulator", reads_prices=True),
    _user("configuration", "configuration-service"),
    _user("custodian", "custodian-simulator"),
    _user("risk-monitor", "risk-monitor", reads_prices=True),
    _user("trading-engine", "trading-engine", reads_prices=True),
    _user("audit-correlator", "audit-correlator"),
    # A gateway has everything else from the process that it stands before.
    _user("exchange-gateway", "exchange-gateway", caches=False),
    _user("market-data-gateway", "market-data-gateway", caches=False),
)
"""Every service's user. A service sets CACHE_NAMESPACE and SERVICE_DISCOVERY_NAMESPACE to its `namespace`."""


def acl_lines(passwords: Mapping[str, str]) -> list[str]:
    """Return the lines of an ACL file for the users that a password is given for; `default` is switched off.

    Passwords are written as their SHA-256, which is how the server keeps them.
    Raises: ConfigurationError for a user that is not in the table, or an empty password
    """
    rules = {user.name: user.rules() for user in USERS} | {ADMIN: ["~*", "&*", "+@all"]}
    lines = ["user default off"]
    for name, password in passwords.items():
        if name not in rules:
            raise ConfigurationError(f"there is no Redis user {name}; there are {', '.join(rules)}")
        if not _SAFE_PASSWORD.fullmatch(password):
            raise ConfigurationError(f"the password of the Redis user {name} is empty or has spaces in it")
        digest = hashlib.sha256(password.encode()).hexdigest()
        lines.append(" ".join(["user", name, "on", f"#{digest}", *rules[name]]))
    return lines


def acl_text(passwords: Mapping[str, str]) -> str:
    """Return the ACL file as a whole. Raises: ConfigurationError as `acl_lines`."""
    return "\n".join(acl_lines(passwords)) + "\n"
