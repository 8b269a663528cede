"""A step's decision record as it grows: whole on disk where it will be stored, its newest lines in memory."""

from __future__ import annotations

import logging
from tempfile import TemporaryFile
from typing import IO

from inference_rollouts.clients.storage import Storage
from inference_rollouts.core.judging.decision_record import Newest

log = logging.getLogger(__name__)


class RecordFile:
    """Takes the record that begins with `head`, line after line. `whole`: it will be stored.

    Where the disk takes no more, the newest lines are all that is left: a judge does not fail for that.
    """

    def __init__(self, head: str, *, whole: bool) -> None:
        self.newest = Newest(head)
        self._file: IO[str] | None = None
        if whole:
            try:
                self._file = TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115 - it goes with this object
            except OSError as error:
                self._give_up(error)
            self._write(head)

    def add(self, line: str) -> None:
        """An observation."""
        self.newest.add(line)
        self._write(line)

    def store(self, storage: Storage, folder: str, name: str) -> None:
        """Write the record below `folder`."""
        if self._file is not None:
            try:
                self._file.seek(0)  # what is still to be written is, now
            except OSError as error:
                self._give_up(error)
        whole = self._file or (f"{line}\n" for line in self.newest.lines)
        storage.write(folder, name, whole)

    def _write(self, line: str) -> None:
        if self._file is not None:
            try:
                self._file.write(f"{line}\n")
            except OSError as error:
                self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        log.warning("the decision record is not kept whole: %s", error)
        self._file = None
