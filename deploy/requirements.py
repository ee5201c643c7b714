"""Print the dependencies that pyproject.toml names, extras given as arguments included, one a line.

The Dockerfile installs them in a layer of their own, which a change of the code does not rebuild.
"""

from __future__ import annotations

import sys
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    from pip._vendor import tomli as tomllib

project = tomllib.loads(Path("pyproject.toml").read_text())["project"]
print(*project["dependencies"], sep="\n")
known = project["optional-dependencies"]
for extra in filter(None, ",".join(sys.argv[1:]).split(",")):
    if extra not in known:
        sys.exit(f"RUNNER_EXTRAS: pyproject.toml has no extra {extra!r}; choose of {', '.join(known)}")
    print(*known[extra], sep="\n")
