"""The rival's own virtual environment: its pinned requirements, and behind them what building a mail needs.

It is kept in a folder that git ignores and made again when the requirements change. The project's packages stand
behind its own by a .pth file, so that the rival's versions win.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import sysconfig
from pathlib import Path

_HERE = Path(__file__).parent
REQUIREMENTS = _HERE / "requirements.txt"
CACHE = _HERE.parents[2] / ".bench" / "celery"


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
    site = subprocess.run(
        [str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        check=True,
        capture_output=True,
        text=True,
    )
    behind = Path(site.stdout.strip()) / "behind.pth"
    behind.write_text(f"{sysconfig.get_path('purelib')}\n", encoding="utf-8")
    stamp.write_text(wanted, encoding="ascii")
    return python
