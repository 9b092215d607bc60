"""Build the example client: generate its messages from the contracts, then compile it.

    python docs/guide/examples/go/build.py FOLDER      makes FOLDER/client

The contracts name no Go package: where the messages go is said here, by options of protoc-gen-go.
So any program generates them where it wants them. The generators are those that `go.mod` pins.
"""
# ruff: noqa: INP001, S603 - a script, no package; it runs Go and our own tool

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

from google.protobuf import descriptor_pb2
from grpc_tools import protoc

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[3]
MODULE = "vigie.example/client"


def generated(image: Path) -> list[str]:
    """The files to generate messages of: ours, and the rules of requests that ours import."""
    everything = descriptor_pb2.FileDescriptorSet.FromString(image.read_bytes())
    return [file.name for file in everything.file if not file.name.startswith("google/")]


def go_package(file: str) -> str:
    """Where the messages of a contract go: ``vigie/access/v1/x.proto`` is package ``accessv1``."""
    folder = Path(file).parent
    name = "".join(folder.parts[-2:]) if folder.parts[0] == "vigie" else folder.name
    return f"{MODULE}/gen/{folder.as_posix()};{name}"


def generate(image: Path, folder: Path, go: str) -> None:
    """Write ``gen`` into ``folder``, a copy of this module."""
    plugins = [f"protoc-gen-{name}" for name in ("go", "go-grpc")]
    wanted = [
        "google.golang.org/protobuf/cmd/protoc-gen-go",
        "google.golang.org/grpc/cmd/protoc-gen-go-grpc",
    ]
    subprocess.run([go, "build", "-o", f"{folder}/bin/", *wanted], cwd=folder, check=True)
    files = generated(image)
    options = [f"module={MODULE}", *(f"M{file}={go_package(file)}" for file in files)]
    arguments = ["protoc", f"--descriptor_set_in={image}"]
    arguments += [f"--plugin={name}={folder / 'bin' / name}" for name in plugins]
    for kind in ("go", "go-grpc"):
        arguments += [f"--{kind}_out={folder}", *(f"--{kind}_opt={each}" for each in options)]
    if protoc.main([*arguments, *files]) != 0:
        raise SystemExit("protoc failed")


def build(folder: Path) -> Path:
    """Make the client in ``folder``; returns the program.

    Raises:
        SystemExit: there is no Go, or it does not compile.
    """
    go = shutil.which("go")
    if go is None:
        raise SystemExit("Go is not on the PATH")
    folder.mkdir(parents=True, exist_ok=True)
    for file in (*HERE.glob("*.go"), HERE / "go.mod", HERE / "go.sum"):
        shutil.copy(file, folder)
    image = folder / "vigie.binpb"
    tool = ROOT / "tools" / "protos.py"
    subprocess.run([sys.executable, tool, "image", image], check=True)
    generate(image, folder, go)
    program = folder / "client"
    for command in (["vet", "./..."], ["build", "-o", str(program), "."]):
        if subprocess.run([go, *command], cwd=folder, check=False).returncode != 0:
            raise SystemExit(f"go {command[0]} failed")
    return program


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    print(build(parser.parse_args().folder.absolute()))  # noqa: T201 - what a script answers


if __name__ == "__main__":
    main()
