"""The names of all keys: what stands under which prefix is what the users' rights are made from (`acl`)."""

REGISTRY = "registry"
PRICES = "market_data"
"""The namespace of prices, whichever service's process reads or writes them."""

REGISTRY_INDEX = f"{REGISTRY}:index"


def cache_prefix(namespace: str) -> str:
    """Return what the keys of a service's cache begin with."""
    return f"{namespace}:cache:"


def entry_key(member: str) -> str:
    """Return the key of an instance's entry in the registry."""
    return f"{REGISTRY}:entry:{member}"


def metadata_key(namespace: str, member: str) -> str:
    """Return the key of what an instance tells of itself."""
    return f"{namespace}:service:{member}"


def hot_key(symbol: str) -> str:
    """Return the key of a symbol's newest prices. The braces keep both keys of a symbol on one node of a cluster."""
    return f"{PRICES}:hot:{{{symbol}}}:prices"


def claim_key(symbol: str) -> str:
    """Return the key of what is claimed of a symbol's newest prices."""
    return f"{PRICES}:hot:{{{symbol}}}:claim"


def stream_key(symbol: str) -> str:
    """Return the key of a symbol's price stream."""
    return f"{PRICES}:stream:{symbol}"
