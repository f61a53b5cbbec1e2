"""The rivals' own virtual environment: its pinned requirements, in a folder that git ignores.

It is made again when the requirements change. Nothing of the project is in it: frames go in and out as Parquet files.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

_HERE = Path(__file__).parent
REQUIREMENTS = _HERE / "requirements.txt"
CACHE = _HERE.parents[2] / ".bench" / "trees"


def ensure(folder: Path = CACHE) -> Path:
    """Return the environment's Python; make the environment where it is missing or out of date.

    Raises
    ------
    subprocess.CalledProcessError
        The packages cannot be installed.
    """
    python = folder / "bin" / "python"
    wanted = hashlib.sha256(REQUIREMENTS.read_bytes() + sys.version.encode()).hexdigest()
    stamp = folder / "made-of"
    if stamp.is_file() and stamp.read_text(encoding="ascii") == wanted:
        return python
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
    install = ["-m", "pip", "install", "--disable-pip-version-check", "-qq", "--require-hashes", "-r"]
    subprocess.run([str(python), *install, str(REQUIREMENTS)], check=True)
    stamp.write_text(wanted, encoding="ascii")
    return python
