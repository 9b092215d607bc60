"""Compares the contracts with those of the main branch: nothing published may break.

    python tools/breaking.py [REVISION]

Without a revision: the merge base with origin/main, else with main; on main itself the last
commit but one. A first commit has nothing to break.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import protos


def git(*arguments: str) -> str | None:
    """Output of a git command, or ``None`` when it failed."""
    done = subprocess.run(
        ["git", *arguments], cwd=protos.ROOT, capture_output=True, text=True, check=False
    )
    return done.stdout.strip() if done.returncode == 0 else None


def base_revision() -> str | None:
    """The revision whose users must not be broken."""
    head = git("rev-parse", "HEAD")
    for branch in ("origin/main", "main"):
        base = git("merge-base", "HEAD", branch)
        if base and base != head:
            return base
    return git("rev-parse", "HEAD~1")


def main() -> None:
    """Run buf breaking on two descriptor sets."""
    revision = sys.argv[1] if len(sys.argv) > 1 else base_revision()
    if revision is None or not git("ls-tree", "-r", "--name-only", revision, "protos/"):
        print("no earlier contracts to compare with")
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        archive = folder / "old.tar"
        git("archive", f"--output={archive}", revision, "protos")
        subprocess.run(["tar", "-xf", archive, "-C", folder], check=True)
        old, new = folder / "old.binpb", folder / "new.binpb"
        protos.write_image(new)
        protos.PROTOS = folder / "protos"
        protos.write_image(old)
        buf = Path(sys.executable).parent / "buf"
        config = protos.ROOT / "buf.yaml"
        done = subprocess.run(
            [buf, "breaking", new, "--against", old, "--config", config], check=False
        )
        if done.returncode:
            sys.exit(f"the contracts break users of {revision[:12]}")
        print(f"contracts are compatible with {revision[:12]}")


if __name__ == "__main__":
    main()
