#!/usr/bin/env python3
"""Take out of an installed site-packages folder what a running service never reads, and compile the rest.

    python prune.py SITE_PACKAGES [--sourceless]

Tests, type stubs, headers and static libraries of other people's packages go, and the symbols that only a debugger
reads where `strip` is there. With `--sourceless` their sources go as well once they are compiled: Python runs from the
bytecode alone, tracebacks keep their line numbers. Our own package stays whole. Nothing is imported, so that any Python
of the same version can do it.
"""

import argparse
import compileall
import os
import py_compile
import shutil
import subprocess
import sys
from pathlib import Path

OWN = "fauxchange"

UNUSED = (
    "faker",  # what Litestar's example factories make up data with; imported only by them
    "faker-*.dist-info",
    "pip",
    "pip-*.dist-info",
    "setuptools",
    "setuptools-*.dist-info",
    "pkg_resources",
    "_distutils_hack",
    "distutils-precedence.pth",
    "numpy/f2py",
    "numpy/distutils",
    "numpy/_pyinstaller",
    "numpy/_core/_simd*.so",  # NumPy's own tests of its vector code
    "pyarrow/include",
    "pyarrow/src",
    "numba/cuda",
)
"""Patterns in site-packages."""
UNUSED_FOLDERS = {
    "numpy": {"tests", "include"},
    "numba": {"tests"},
    "llvmlite": {"tests"},
    "pyarrow": {"tests"},
    "sqlalchemy": {"testing"},
    "greenlet": {"tests"},
    "psycopg": {"tests"},
}
"""Folders at any depth of a package."""
UNUSED_SUFFIXES = {".pyi", ".pyx", ".pxd", ".pxi", ".a", ".h", ".hpp", ".c", ".cc", ".cpp", ".exe"}

KEPT_LEXERS = {"__init__.py", "_mapping.py", "data.py", "python.py", "special.py", "text.py"}
"""What is left of Pygments' languages, 500 of them, which come along with Rich: the command line colours no code."""

BUNDLED = ".libs"
"""End of the folders of libraries that were fitted into a wheel: their layout does not survive `strip`."""


def main() -> int:
    """Run the script."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, metavar="SITE_PACKAGES")
    parser.add_argument("--sourceless", action="store_true")
    asked = parser.parse_args()
    if not (asked.folder / OWN).is_dir():
        sys.stderr.write(f"{asked.folder} is no site-packages folder with {OWN} in it\n")
        return 2
    remove_unused(asked.folder)
    strip_libraries(asked.folder)
    return 0 if compile_all(asked.folder, sourceless=asked.sourceless) else 1


def remove_unused(folder: Path) -> None:
    """Remove what no running service reads."""
    for pattern in UNUSED:
        for path in folder.glob(pattern):
            remove(path)
    for package, names in UNUSED_FOLDERS.items():
        for path in [path for path in (folder / package).rglob("*") if path.name in names and path.is_dir()]:
            remove(path)
    for path in [*folder.rglob("*")]:
        if path.suffix in UNUSED_SUFFIXES and path.relative_to(folder).parts[0] != OWN and path.is_file():
            path.unlink()
    for path in (folder / "pygments/lexers").glob("*.py"):
        if path.name not in KEPT_LEXERS:
            remove(path)
    for path in [*folder.rglob("__pycache__")]:
        remove(path)


def remove(path: Path) -> None:
    """Remove a file or a folder; one that is gone already is fine."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def strip_libraries(folder: Path) -> None:
    """Take the symbols for debuggers out of the extension modules, where `strip` is installed."""
    strip = shutil.which("strip")
    if strip is None:
        sys.stderr.write("strip is not installed (package binutils): the libraries keep their debugging symbols\n")
        return
    for library in folder.rglob("*.so"):
        if not library.relative_to(folder).parts[0].endswith(BUNDLED):
            subprocess.run([strip, "--strip-unneeded", os.fspath(library)], check=True)  # noqa: S603 - files of our build


def compile_all(folder: Path, *, sourceless: bool) -> bool:
    """Compile every module; with `sourceless`, other people's are left as bytecode only."""
    mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
    good = compileall.compile_dir(folder / OWN, quiet=1, invalidation_mode=mode)
    for path in sorted(folder.iterdir()):
        if path.name == OWN:
            continue
        if path.is_dir():
            # Templates that are no Python end in .py in some packages; what cannot be compiled keeps its source.
            compileall.compile_dir(path, quiet=2, invalidation_mode=mode, legacy=sourceless)
        elif path.suffix == ".py":
            compileall.compile_file(path, quiet=2, invalidation_mode=mode, legacy=sourceless)
    if sourceless:
        for source in [*folder.rglob("*.py")]:
            if source.relative_to(folder).parts[0] != OWN and source.with_suffix(".pyc").exists():
                source.unlink()
    return bool(good)


if __name__ == "__main__":
    sys.exit(main())
