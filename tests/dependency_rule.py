#!/usr/bin/env python3
"""Which crate of the workspace may depend on which: reads `cargo metadata --no-deps` from standard input.

Services, the gateway and the adapters share the contracts and the kits and never depend on each other; only
services/posmesh and the crates under tests/ link them together. docs/architecture.md says why.
"""

import json
import sys
from pathlib import Path

BASE = {"posmesh-proto", "posmesh-kit"}
SERVICE = BASE | {"posmesh-kit-db", "posmesh-pricing"}
ADAPTER = BASE | {"posmesh-adapter-kit"}
# Crates that others build on. Every other crate follows from the folder that it is in.
FOUNDATION = {
    "proto": set(),
    "services/kit": {"posmesh-proto"},
    "services/kit-db": BASE,
    "services/pricing": {"posmesh-proto"},
    "services/adapter-kit": BASE,
    # A POS knows nothing of the mesh.
    "services/simpos": set(),
    "gateway": BASE,
}


def allowed(folder):
    """Names of the workspace's crates that the crate in `folder` may depend on; None: all."""
    if folder == "services/posmesh" or folder.startswith("tests/"):
        return None
    if folder in FOUNDATION:
        return FOUNDATION[folder]
    return ADAPTER if folder.startswith("services/adapter-") else SERVICE


def violations(metadata):
    root = Path(metadata["workspace_root"])
    folders = {p["name"]: str(Path(p["manifest_path"]).parent.relative_to(root)) for p in metadata["packages"]}
    for package in metadata["packages"]:
        folder = folders[package["name"]]
        may = allowed(folder)
        if may is None:
            continue
        for dependency in package["dependencies"]:
            name = dependency["name"]
            if name not in folders or name in may:
                continue
            if dependency["kind"] == "dev" and is_for_tests(folder, folders[name]):
                continue
            yield f"{folder} must not depend on {name}: it may depend on {', '.join(sorted(may)) or 'no crate of ours'}"


def is_for_tests(folder, dependency):
    """Tests may start real programs, and an adapter's tests its own POS."""
    return dependency.startswith("tests/") or (folder.startswith("services/adapter-") and dependency == "services/simpos")


def main():
    found = sorted(set(violations(json.load(sys.stdin))))
    for violation in found:
        print(violation)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
