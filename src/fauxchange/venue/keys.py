"""The keys of a process: given by settings, or made at the first start and kept in the data folder."""

from functools import cached_property
from pathlib import Path

from pydantic import SecretStr

from fauxchange.platform.credentials import SecretBox
from fauxchange.platform.keys import load_or_create_key
from fauxchange.platform.logging import register_secret
from fauxchange.platform.settings import Settings

AUDIT_KEY_FILE = "audit.key"
ADMIN_KEY_FILE = "admin.key"
KERNEL_KEY_FILE = "kernel.key"
CREDENTIALS_KEY_FILE = "credentials.key"


class Keys:
    """The keys of one process; each is looked up, or made, when it is first needed."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    @cached_property
    def admin(self) -> str:
        """The administrators' key, one for all services of the process."""
        return self._key(self._settings.admin_key, ADMIN_KEY_FILE)

    @cached_property
    def audit(self) -> str:
        """The key of the audit API."""
        return self._key(self._settings.audit_key, AUDIT_KEY_FILE)

    @cached_property
    def kernel(self) -> str:
        """The key that gateways present to the exchange."""
        return self._key(self._settings.kernel_key, KERNEL_KEY_FILE)

    @cached_property
    def credentials(self) -> SecretBox:
        """What traders' secrets are encrypted with."""
        return SecretBox.from_file(self._folder / CREDENTIALS_KEY_FILE)

    @property
    def used(self) -> dict[str, str]:
        """The keys that callers need, of those that this process uses, by their names in `ready.json`."""
        names = {"audit": "audit_key", "admin": "admin_key"}
        return {told: self.__dict__[name] for name, told in names.items() if name in self.__dict__}

    @property
    def _folder(self) -> Path:
        return self._settings.data_dir

    def _key(self, given: SecretStr | None, file: str) -> str:
        key = load_or_create_key(self._folder / file) if given is None else given.get_secret_value()
        register_secret(key)
        return key
