"""Run by `make wheel-check` with the interpreter that has the wheel: the packages and their data files are its own."""

import importlib
import sys
from importlib.metadata import entry_points
from pathlib import Path

from runs.installation import PACKAGES, check_one_parent
from runs.report import TEMPLATES
from students.space import space

check_one_parent()
environment = Path(sys.prefix).resolve()
for name in PACKAGES:
    place = Path(str(importlib.import_module(name).__file__)).resolve()
    assert place.is_relative_to(environment), f"{name} comes from {place}, not from the wheel in {environment}"
for command in entry_points(group="console_scripts"):
    if command.module.split(".")[0] in PACKAGES:
        command.load()
assert space("hybrid").size > 0
TEMPLATES.get_template("report.html.jinja")
print(f"the wheel's packages and commands load from {environment}")
