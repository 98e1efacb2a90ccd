#!/usr/bin/env python3
"""Measure how large the images are, without a Docker engine: install what the Dockerfile installs, prune, compress.

    .venv/bin/python deploy/image_sizes.py [--json] [--kernels DIR]

What is not measured here is the base image, which is published: its size stands below. Layers are compressed as
registries keep them (gzip, level 6), and with zstd where that program is there. Exits with 1 if a target is too large.
"""

import argparse
import gzip
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import IO

REPOSITORY = Path(__file__).parents[1]
MB = 1_000_000

BASE_IMAGE = "python:3.11.13-slim-bookworm"
BASE_COMPRESSED_MB = 48.0
BASE_UNPACKED_MB = 130.0
"""Of the base image for linux/amd64, as its registry tells, rounded up."""

TARGETS = {"slim": ("slim.txt", ["--sourceless"], 100), "full": ("full.txt", [], 250)}
"""Each target's locked requirements, how it is pruned, and the most it may have compressed, in MB."""


class Counted:
    """A file that only counts what is written to it."""

    def __init__(self) -> None:
        self.size = 0

    def write(self, data: bytes) -> int:
        """Count."""
        self.size += len(data)
        return len(data)

    def flush(self) -> None:
        """Do nothing."""


def main() -> int:
    """Run the script."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true", dest="as_json")
    parser.add_argument("--kernels", type=Path, help="compiled kernels to count in (default: compile them now)")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fauxchange-sizes-") as folder:
        rows = [measured(target, Path(folder), asked.kernels) for target in TARGETS]
    sys.stdout.write(json.dumps({"targets": rows}, indent=2) + "\n" if asked.as_json else table(rows))
    return 0 if all(row["fits"] for row in rows) else 1


def measured(target: str, folder: Path, kernels: Path | None) -> dict[str, object]:
    """Return what a target weighs. Units: MB of a million bytes."""
    requirements, options, limit_mb = TARGETS[target]
    tell(f"{target}: building the wheel and installing {requirements}")
    home = folder / target
    run([sys.executable, "-m", "venv", "--without-pip", os.fspath(home)])
    wheels = folder / "dist"
    run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", os.fspath(wheels)], cwd=REPOSITORY)
    pip = [sys.executable, "-m", "pip", "--python", os.fspath(home / "bin/python"), "install", "--quiet"]
    pip += ["--disable-pip-version-check", "--no-compile", "--no-deps"]
    run([*pip, "--require-hashes", "-r", os.fspath(REPOSITORY / "requirements" / requirements)])
    run([*pip, *(os.fspath(wheel) for wheel in wheels.glob("*.whl"))])
    (packages,) = home.glob("lib/python*/site-packages")
    tell(f"{target}: pruning and compiling")
    run([sys.executable, os.fspath(REPOSITORY / "deploy/prune.py"), *options, os.fspath(packages)])
    layers = [home]
    if target == "full":
        layers.append(kernels if kernels is not None else compiled_kernels(home, folder / "kernels"))
    tell(f"{target}: compressing")
    unpacked = sum(file.lstat().st_size for layer in layers for file in layer.rglob("*") if not file.is_dir()) / MB
    own = sum(gzipped(layer) for layer in layers) / MB
    zstd = [size for layer in layers if (size := zstandard(layer)) is not None]
    total = own + BASE_COMPRESSED_MB
    return {
        "target": target,
        "unpacked_mb": round(unpacked, 1),
        "gzip_mb": round(own, 1),
        "zstd_mb": round(sum(zstd) / MB, 1) if zstd else None,
        "image_unpacked_mb": round(unpacked + BASE_UNPACKED_MB, 1),
        "image_compressed_mb": round(total, 1),
        "limit_mb": limit_mb,
        "fits": total < limit_mb,
    }


def compiled_kernels(home: Path, folder: Path) -> Path:
    """Compile the kernels as the Dockerfile does; return their folder."""
    tell("full: compiling the kernels (about a minute)")
    named = {"XDG_CACHE_HOME": os.fspath(folder), "NUMBA_CPU_NAME": "x86-64-v3"}
    run([os.fspath(home / "bin/fauxchange"), "warm-up"], cwd=home, env=os.environ | named)
    return folder


def gzipped(folder: Path) -> int:
    """Return the size of a folder as a compressed layer. Units: bytes."""
    counted = Counted()
    with gzip.GzipFile(fileobj=counted, mode="wb", compresslevel=6, mtime=0) as compressed:
        pack(folder, compressed)
    return counted.size


def zstandard(folder: Path) -> int | None:
    """Return the size of a folder as a layer compressed with zstd, or None where that program is missing."""
    program = shutil.which("zstd")
    if program is None:
        return None
    with tempfile.TemporaryFile() as packed:
        pack(folder, packed)
        packed.seek(0)
        done = subprocess.run([program, "-9", "-q", "-c"], stdin=packed, stdout=subprocess.PIPE, check=True)  # noqa: S603
    return len(done.stdout)


def pack(folder: Path, into: IO[bytes] | gzip.GzipFile) -> None:
    """Write a folder as a tar archive."""
    with tarfile.open(fileobj=into, mode="w|") as archive:
        archive.add(folder, arcname=folder.name)


def table(rows: list[dict[str, object]]) -> str:
    """Return the measurements for reading."""
    head = ("target", "ours unpacked", "gzip", "zstd", "image compressed", "limit", "")
    lines = [head]
    lines += [
        (
            str(row["target"]),
            f"{row['unpacked_mb']} MB",
            f"{row['gzip_mb']} MB",
            "-" if row["zstd_mb"] is None else f"{row['zstd_mb']} MB",
            f"{row['image_compressed_mb']} MB",
            f"{row['limit_mb']} MB",
            "fits" if row["fits"] else "TOO LARGE",
        )
        for row in rows
    ]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    told = ["  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    base = f"{BASE_IMAGE}: {BASE_COMPRESSED_MB:g} MB compressed, {BASE_UNPACKED_MB:g} MB unpacked, counted in"
    return "\n".join([*told, base]) + "\n"


def run(command: list[str], cwd: Path | None = None, env: dict[str, str] | None = None) -> None:
    """Run a program; its output goes to standard error."""
    subprocess.run(command, check=True, cwd=cwd, env=env, stdout=sys.stderr)  # noqa: S603 - our own programs


def tell(what: str) -> None:
    """Say what is being done."""
    sys.stderr.write(f"{what}\n")


if __name__ == "__main__":
    sys.exit(main())
