"""Where Prometheus comes from: PATH, or Debian's package unpacked without root."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

PATIENCE = 180.0
ADVICE = (
    "Install it with `sudo apt-get install prometheus` (Debian, Ubuntu) or `brew install prometheus`, "
    "or put the `prometheus` binary of https://prometheus.io/download/ on PATH."
)


class PrometheusNotFound(Exception):
    """There is no Prometheus and none could be unpacked; the message says what to install and how."""


def cache_directory() -> Path:
    """Where the unpacked package is kept between labs."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "inference-rollouts"


def find_prometheus(cache: Path | None = None) -> Path:
    """The Prometheus binary; fetches Debian's package once if none is installed.

    Raises PrometheusNotFound.
    """
    if installed := shutil.which("prometheus"):
        return Path(installed)
    return unpacked("prometheus", cache)


def unpacked(package: str, cache: Path | None = None) -> Path:
    """The program of a Debian package that is named after it, unpacked once. Raises PrometheusNotFound."""
    home = (cache or cache_directory()) / package
    binary = home / "usr" / "bin" / package
    if not binary.exists():
        _unpack(home, package)
    return binary


def find_promtool(cache: Path | None = None) -> Path:
    """The tool beside Prometheus that checks and tests rules. Raises PrometheusNotFound."""
    tool = find_prometheus(cache).with_name("promtool")
    if not tool.exists():
        raise PrometheusNotFound(f"There is no promtool beside {tool.with_name('prometheus')}. {ADVICE}")
    return tool


def _unpack(home: Path, name: str) -> None:
    missing = [tool for tool in ("apt-get", "dpkg-deb") if not shutil.which(tool)]
    if missing:
        raise PrometheusNotFound(f"Prometheus is not on PATH and this system has no {missing[0]}. {ADVICE}")
    home.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=home.parent) as folder:
        scratch = Path(folder)
        try:
            package = _download(scratch, name)
            content = scratch / "unpacked"
            _run(["dpkg-deb", "-x", str(package), str(content)], scratch)
            _run([str(content / "usr" / "bin" / name), "--version"], scratch)
        except (OSError, subprocess.SubprocessError, LookupError) as error:
            reason = _reason(error)
            message = f"Prometheus is not on PATH and Debian's package cannot be unpacked: {reason}. {ADVICE}"
            raise PrometheusNotFound(message) from error
        if not home.exists():
            content.rename(home)


def _download(scratch: Path, name: str) -> Path:
    """The package's file, with the system's package lists or, where it has none, with lists of our own."""
    try:
        _run(["apt-get", "download", name], scratch)
    except subprocess.CalledProcessError:
        for part in ("lists", "cache/archives"):
            (scratch / part / "partial").mkdir(parents=True)
        own = ["-o", f"Dir::State::lists={scratch}/lists", "-o", f"Dir::Cache={scratch}/cache"]
        patience = ["-o", "Acquire::Retries=1", "-o", "Acquire::http::Timeout=15"]
        _run(["apt-get", *own, *patience, "update"], scratch)
        _run(["apt-get", *own, *patience, "download", name], scratch)
    packages = list(scratch.glob(f"{name}_*.deb"))
    if not packages:
        raise LookupError("apt-get downloaded nothing")
    return packages[0]


def _run(argv: list[str], directory: Path) -> None:
    environment = {**os.environ, "LC_ALL": "C"}
    subprocess.run(
        argv, cwd=directory, env=environment, check=True, capture_output=True, text=True, timeout=PATIENCE
    )


def _reason(error: Exception) -> str:
    output = getattr(error, "stderr", None)
    lines = [line for line in (output or str(error)).splitlines() if line.strip()]
    return lines[-1].strip().rstrip(".") if lines else type(error).__name__
