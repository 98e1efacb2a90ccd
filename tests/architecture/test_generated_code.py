"""The protobuf code that is checked in is what the sources in `proto/` make of themselves."""

import subprocess
import sys
from pathlib import Path

WRITE_ANEW = "run: make proto"


def test_generated_protobuf_code_is_current(repository: Path, tmp_path: Path) -> None:
    proto = repository / "proto"
    sources = sorted(path.relative_to(proto).as_posix() for path in proto.rglob("*.proto"))
    command = [sys.executable, "-m", "grpc_tools.protoc", "-I", "proto"]
    command += [f"--{kind}_out={tmp_path}" for kind in ("python", "pyi", "grpc_python")]

    subprocess.run([*command, *sources], cwd=repository, check=True)

    made = {path.relative_to(tmp_path).as_posix(): path.read_text() for path in tmp_path.rglob("*.py*")}
    checked_in = {
        path.relative_to(repository / "src").as_posix(): path.read_text()
        for path in (repository / "src/fauxchange").rglob("*_pb2*.py*")
        if "__pycache__" not in path.parts
    }
    assert sorted(made) == sorted(checked_in), WRITE_ANEW
    assert [name for name in made if made[name] != checked_in[name]] == [], WRITE_ANEW
