"""Builds, generates and checks the contracts.

    python tools/protos.py generate      write the stubs next to the code
    python tools/protos.py check         fail when the stubs differ from the contracts
    python tools/protos.py image FILE    write a self-contained descriptor set (for buf, grpcurl)

The imports that are not ours (google/*, buf/validate) are taken from the installed packages, so
nothing foreign is copied into the repository and nothing is fetched.
"""

import argparse
import filecmp
import re
import shutil
import sys
import tempfile
from pathlib import Path

import grpc_tools
from google.protobuf import descriptor_pb2
from google.rpc import error_details_pb2
from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent.parent
PROTOS = ROOT / "protos"
OUTPUT = ROOT / "services"
VALIDATE = "buf/validate/validate.proto"
# protovalidate ships no google.protobuf stubs of its rules any more; ours live here.
VALIDATE_PACKAGE = "vigie.common.thirdparty"


def own_files() -> list[str]:
    """Our proto files, relative to the root of the contracts, sorted."""
    return sorted(str(path.relative_to(PROTOS)) for path in PROTOS.rglob("*.proto"))


def dependencies(folder: Path) -> Path:
    """Write a descriptor set of everything our files import from elsewhere."""
    from protovalidate._gen.buf.validate import validate_pb

    descriptor = descriptor_pb2.FileDescriptorProto()
    descriptor.ParseFromString(validate_pb.desc().proto.to_binary())
    for option in ("go_package", "java_package"):
        descriptor.options.ClearField(option)
    google = folder / "google.binpb"
    site = Path(error_details_pb2.__file__).parents[2]
    wanted = ["google/protobuf/descriptor.proto", "google/protobuf/duration.proto"]
    wanted += ["google/protobuf/field_mask.proto", "google/protobuf/timestamp.proto"]
    wanted += ["google/protobuf/empty.proto", "google/protobuf/any.proto"]
    wanted += ["google/protobuf/wrappers.proto", "google/rpc/status.proto"]
    wanted += ["google/rpc/error_details.proto"]
    includes = [f"-I{site}", f"-I{Path(grpc_tools.__file__).parent / '_proto'}"]
    run([*includes, f"--descriptor_set_out={google}", "--include_imports", *wanted])
    everything = descriptor_pb2.FileDescriptorSet()
    everything.ParseFromString(google.read_bytes())
    everything.file.append(descriptor)
    path = folder / "dependencies.binpb"
    path.write_bytes(everything.SerializeToString())
    return path


def run(arguments: list[str]) -> None:
    """Run protoc in this process."""
    if protoc.main(["protoc", *arguments]) != 0:
        raise SystemExit(f"protoc failed: {' '.join(arguments)}")


def plugins() -> list[str]:
    """Where the generators of type stubs are: beside this interpreter, on the PATH or not."""
    folder = Path(sys.executable).parent
    names = ("protoc-gen-mypy", "protoc-gen-mypy_grpc")
    return [f"--plugin={name}={folder / name}" for name in names]


def write_image(path: Path) -> None:
    """A descriptor set with imports and source positions."""
    with tempfile.TemporaryDirectory() as folder:
        deps = dependencies(Path(folder))
        run(
            [
                f"-I{PROTOS}",
                f"--descriptor_set_in={deps}",
                f"--descriptor_set_out={path}",
                "--include_imports",
                "--include_source_info",
                *own_files(),
            ]
        )


def generate(target: Path) -> None:
    """Write stubs of all contracts below ``target``."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        deps = dependencies(folder)
        out = folder / "out"
        out.mkdir()
        run(
            [
                f"-I{PROTOS}",
                f"--descriptor_set_in={deps}",
                f"--python_out={out}",
                f"--grpc_python_out={out}",
                f"--mypy_out={out}",
                f"--mypy_grpc_out={out}",
                *plugins(),
                *own_files(),
            ]
        )
        validate = [f"--python_out={out}", f"--mypy_out={out}", *plugins(), VALIDATE]
        run([f"--descriptor_set_in={deps}", *validate])
        settle(out, target)


def settle(out: Path, target: Path) -> None:
    """Move generated files to their places; point imports of the rules at our copy."""
    home = VALIDATE_PACKAGE.replace(".", "/")
    for file in sorted(out.rglob("*.py*")):
        relative = str(file.relative_to(out))
        text = file.read_text(encoding="utf-8")
        if relative.endswith(("_grpc.py", "_grpc.pyi")) and "Servicer" not in text:
            continue  # a file without services
        destination = target / (relative.replace("buf/validate", home))
        text = re.sub(r"\bfrom buf\.validate\b", f"from {VALIDATE_PACKAGE}", text)
        text = re.sub(r"\bbuf\.validate\.validate_pb2\b", f"{VALIDATE_PACKAGE}.validate_pb2", text)
        text = re.sub(r"^import buf\b", f"import {VALIDATE_PACKAGE}", text, flags=re.MULTILINE)
        destination.parent.mkdir(parents=True, exist_ok=True)
        init = destination.parent / "__init__.py"
        if not init.exists():
            init.write_text('"""Generated from the contracts in protos/."""\n', encoding="utf-8")
        destination.write_text(text, encoding="utf-8")


def stale(target: Path, *, mend: bool = False) -> list[str]:
    """Names of stubs that differ from the contracts, are missing, or have no contract.

    With ``mend`` those, and only those, are written or removed.
    """
    with tempfile.TemporaryDirectory() as folder:
        fresh = Path(folder)
        generate(fresh)
        wanted = {str(p.relative_to(fresh)) for p in fresh.rglob("*_pb2*.py*")}
        present = {str(p.relative_to(target)) for p in target.rglob("*_pb2*.py*")}
        present = {name for name in present if "__pycache__" not in name}
        changed = {
            name
            for name in wanted & present
            if not filecmp.cmp(fresh / name, target / name, shallow=False)
        }
        differing = sorted((wanted ^ present) | changed)
        for name in differing if mend else ():
            place(fresh, target, name)
        return differing


def place(fresh: Path, target: Path, name: str) -> None:
    """Bring one stub of ``target`` in line with ``fresh``."""
    if not (fresh / name).exists():
        (target / name).unlink()
        return
    (target / name).parent.mkdir(parents=True, exist_ok=True)
    init = target / Path(name).parent / "__init__.py"
    if not init.exists():
        init.write_bytes((fresh / Path(name).parent / "__init__.py").read_bytes())
    shutil.copyfile(fresh / name, target / name)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("verb", choices=["generate", "check", "image"])
    parser.add_argument("path", nargs="?", type=Path)
    options = parser.parse_args()
    if options.verb == "generate":
        for name in stale(OUTPUT, mend=True):
            print(f"wrote {name}" if (OUTPUT / name).exists() else f"removed {name}")
    elif options.verb == "image":
        write_image(options.path)
    elif differing := stale(OUTPUT):
        sys.exit(
            "stubs differ from the contracts (run `make protos`):\n  " + "\n  ".join(differing)
        )
    else:
        print(f"stubs of {len(own_files())} contracts are up to date")


if __name__ == "__main__":
    main()
