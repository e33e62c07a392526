"""Whether the packages that answer to our names are ours: such plain names can be taken by others."""

import importlib.util
from importlib.machinery import ModuleSpec
from pathlib import Path

from runs.errors import UserError

PACKAGES = ("runs", "students", "devices", "export", "predictor", "distill", "profiler", "nas", "tailorbird")


def check_one_parent() -> None:
    """Raise `UserError` unless all nine packages are found in the folder that this one lies in.

    Another distribution, or a folder or file beside the user's script, may stand before ours on the import path.
    """
    parent = Path(__file__).resolve().parent.parent
    for name in PACKAGES:
        spec = importlib.util.find_spec(name)
        if spec is None:
            raise UserError(f"the package {name!r} is missing from {parent}: install tailorbird again.")
        place = _place(spec)
        if place != parent / name:
            raise UserError(
                f"the name {name!r} leads to {place} and not to {parent / name}: rename or uninstall what lies there, "
                "or start from another folder."
            )


def _place(spec: ModuleSpec) -> Path:
    """The folder of a package, or the file of a module."""
    if spec.submodule_search_locations:
        return Path(next(iter(spec.submodule_search_locations))).resolve()
    return Path(spec.origin or spec.name).resolve()
