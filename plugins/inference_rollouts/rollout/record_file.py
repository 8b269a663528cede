"""A step's decision record as it grows: whole on disk where it will be stored, its newest lines in memory."""

from __future__ import annotations

import logging
from tempfile import TemporaryFile
from typing import IO

from inference_rollouts.clients.storage import Storage
from inference_rollouts.core.judging.decision_record import Newest

log = logging.getLogger(__name__)


class RecordFile:
    """Takes the record that begins with `head`, line after line. `whole`: it will be stored."""

    def __init__(self, head: str, *, whole: bool) -> None:
        self.newest = Newest(head)
        self._file: IO[str] | None = None
        if whole:
            self._file = TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115 - it goes with this object
            self._write(head)

    def add(self, line: str) -> None:
        """An observation."""
        self.newest.add(line)
        self._write(line)

    def store(self, storage: Storage, folder: str, name: str) -> None:
        """Write the whole record below `folder`, or, where the disk was full, what is in memory of it."""
        if self._file is None:
            storage.write(folder, name, (f"{line}\n" for line in self.newest.lines))
            return
        self._file.seek(0)
        storage.write(folder, name, self._file)

    def _write(self, line: str) -> None:
        if self._file is None:
            return
        try:
            self._file.write(f"{line}\n")
        except OSError as error:
            log.warning("the decision record is not kept whole: %s", error)
            self._file = None
