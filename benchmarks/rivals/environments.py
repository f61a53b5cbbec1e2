"""Virtual environments of their own, for rivals and peers: each made of pinned requirements, in a folder that git ignores.

An environment is made again when its requirements change. Which packages a rival needs stands in its own folder.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import sysconfig
from pathlib import Path

HERE = Path(__file__).parent
CACHE = HERE.parents[1] / ".bench"


def ensure(rival: str, *, project_behind: bool = False, cache: Path = CACHE) -> Path:
    """Return the Python of a rival's environment; make the environment where it is missing or out of date.

    Parameters
    ----------
    rival : str
        The folder beside this module that holds its `requirements.txt`.
    project_behind : bool
        Put the project's packages behind the rival's own by a .pth file, so that the rival's versions win.

    Raises
    ------
    subprocess.CalledProcessError
        The packages cannot be installed.
    """
    return made_of(HERE / rival / "requirements.txt", cache / rival, project_behind=project_behind)


def made_of(requirements: Path, folder: Path, *, project_behind: bool = False) -> Path:
    """Return the Python of the environment that pinned requirements make in a folder.

    Parameters
    ----------
    requirements : Path
        Pins with hashes.
    folder : Path
        Where the environment is; made where it is missing or out of date.

    Raises
    ------
    subprocess.CalledProcessError
        The packages cannot be installed.
    """
    python = folder / "bin" / "python"
    wanted = hashlib.sha256(requirements.read_bytes() + sys.version.encode()).hexdigest()
    stamp = folder / "made-of"
    if stamp.is_file() and stamp.read_text(encoding="ascii") == wanted:
        return python
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
    install = ["-m", "pip", "install", "--disable-pip-version-check", "-qq", "--require-hashes", "-r"]
    subprocess.run([str(python), *install, str(requirements)], check=True)
    if project_behind:
        asked = [str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
        site = subprocess.run(asked, check=True, capture_output=True, text=True).stdout.strip()
        (Path(site) / "behind.pth").write_text(f"{sysconfig.get_path('purelib')}\n", encoding="utf-8")
    stamp.write_text(wanted, encoding="ascii")
    return python
