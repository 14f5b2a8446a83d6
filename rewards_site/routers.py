"""Which model lives where: everything in the default database, nothing of ours in the partner's."""

from __future__ import annotations

from typing import Any


class PartnerRouter:
    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool | None:
        return False if db == "partner" else None
