"""Log lines for people. Production logs JSON, where a line break inside a message cannot end a record."""

from __future__ import annotations

import logging
from types import TracebackType

_CONTROL = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160))}
_CONTROL |= {ord("\n"): "\\n", ord("\r"): "\\r", ord("\t"): "\\t", 0x2028: "\\u2028", 0x2029: "\\u2029"}


class OneLineFormatter(logging.Formatter):
    """A message stays on its line, whatever a user put into it; lines of a traceback are indented.

    So nothing that came from outside can look like a record of its own, or steer a terminal.
    """

    def formatMessage(self, record: logging.LogRecord) -> str:
        record.message = record.message.translate(_CONTROL)
        return super().formatMessage(record)

    def formatException(
        self,
        ei: tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None],
    ) -> str:
        return "\n".join(f"    {line.translate(_CONTROL)}" for line in super().formatException(ei).splitlines())
