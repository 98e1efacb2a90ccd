"""What holds of settings beyond their types, and where they are taken from."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from pydantic import SecretStr, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from fauxchange.platform.settings.values import MAP_READERS

_POOLS = {"max_idle_connections": "max_connections", "redis_min_idle_conns": "redis_pool_size"}


class CheckedSettings(BaseSettings):
    """The rules of the fields that `Settings` declares."""

    model_config = SettingsConfigDict(extra="forbid", frozen=True, validate_default=True)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take what `load_settings` has gathered and nothing else: it knows where each value came from."""
        del settings_cls, env_settings, dotenv_settings, file_secret_settings
        return (init_settings,)

    @field_validator(*MAP_READERS, check_fields=False)
    @classmethod
    def _add_to_defaults(cls, given: Mapping[str, Any], info: ValidationInfo) -> Mapping[str, Any]:
        name = str(info.field_name)
        return MappingProxyType({**MAP_READERS[name](cls.model_fields[name].default), **given})

    @field_validator("max_idle_connections", "redis_min_idle_conns", check_fields=False)
    @classmethod
    def _fit_the_pool(cls, idle: int, info: ValidationInfo) -> int:
        pool = _POOLS[str(info.field_name)]
        if idle > info.data.get(pool, idle):
            raise ValueError(f"more than {pool.upper()}, which is {info.data[pool]}")
        return idle

    @field_validator("service_ttl_ns", check_fields=False)
    @classmethod
    def _outlive_a_heartbeat(cls, ttl_ns: int, info: ValidationInfo) -> int:
        if ttl_ns <= info.data.get("heartbeat_interval_ns", 0):
            raise ValueError("longer than HEARTBEAT_INTERVAL, or services vanish between two heartbeats")
        return ttl_ns

    @field_validator("house_stale_after_ns", check_fields=False)
    @classmethod
    def _outlive_a_price(cls, stale_after_ns: int, info: ValidationInfo) -> int:
        if stale_after_ns <= info.data.get("price_update_interval_ns", 0):
            raise ValueError("longer than PRICE_UPDATE_INTERVAL, or quotes vanish between two prices")
        return stale_after_ns

    @field_validator("replay_start_ns", "replay_end_ns", check_fields=False)
    @classmethod
    def _part_of_a_replay(cls, ts_ns: int | None, info: ValidationInfo) -> int | None:
        if ts_ns is not None and not info.data.get("replay", True):
            raise ValueError("set without REPLAY, so that there is nothing to take a part of")
        return ts_ns

    @field_validator("replay_end_ns", check_fields=False)
    @classmethod
    def _end_after_the_start(cls, end_ns: int | None, info: ValidationInfo) -> int | None:
        start_ns = info.data.get("replay_start_ns")
        if end_ns is not None and start_ns is not None and end_ns <= start_ns:
            raise ValueError("not after REPLAY_START, so that nothing is left to replay")
        return end_ns

    @field_validator("audit_key", "admin_key", "kernel_key", check_fields=False)
    @classmethod
    def _hard_to_guess(cls, key: SecretStr | None) -> SecretStr | None:
        if key is not None and len(key.get_secret_value()) < 16:
            raise ValueError("too short")
        return key
