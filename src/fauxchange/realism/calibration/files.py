"""Model files as they are written: whole or not at all, and never over one that somebody may have edited."""

import importlib.util
import os
from pathlib import Path

from fauxchange.domain.errors import ConfigurationError


def check_target(out: Path, *, replace: bool) -> None:
    """Refuse a place where no model file can be written, before the work. Raises: ConfigurationError."""
    if out.is_dir():
        raise ConfigurationError(f"{out} is a folder; name a file with --out", code="model_not_written", field="out")
    if out.exists() and not replace:
        raise ConfigurationError(
            f"{out} is there already; write over it with --force, or name another file with --out",
            code="model_exists",
            field="out",
        )
    if not out.parent.is_dir():
        raise ConfigurationError(f"{out.parent} is not a folder", code="model_not_written", field="out")


def write_model(out: Path, text: str) -> None:
    """Write a model file at once: under another name first. Raises: ConfigurationError if it cannot be written."""
    beside = out.with_name(f".{out.name}.{os.getpid()}.part")
    try:
        beside.write_text(text, encoding="utf-8")
        beside.replace(out)
    except OSError as exc:
        beside.unlink(missing_ok=True)
        raise ConfigurationError(f"{out} cannot be written: {exc.strerror}", code="model_not_written") from exc


def need_scipy() -> None:
    """Refuse to calibrate without SciPy, before the work rather than in its middle. Raises: ConfigurationError."""
    if importlib.util.find_spec("scipy") is None:
        raise ConfigurationError(
            "calibration needs SciPy, which is not installed: pip install 'fauxchange[realism]'", code="extra_missing"
        )
