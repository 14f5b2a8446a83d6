"""Form fields that several pages use."""

from __future__ import annotations

from typing import Any

from django import forms
from unfold.widgets import UnfoldAdminTextareaWidget, UnfoldAdminTextInputWidget

from rewards.admin.common.display import pretty_json


class PrettyJsonField(forms.JSONField):
    """JSON that people can read, in as many rows as are asked for."""

    def __init__(self, *, rows: int = 24, **kwargs: Any) -> None:
        attributes = {"rows": rows, "class": "rewards-code-input", "spellcheck": "false"}
        super().__init__(widget=UnfoldAdminTextareaWidget(attributes), **kwargs)

    def prepare_value(self, value: Any) -> str:
        return value if isinstance(value, str) else pretty_json(value)


class ReasonField(forms.CharField):
    """Why something is changed."""

    def __init__(self, *, required_sentence: str, **kwargs: Any) -> None:
        super().__init__(
            max_length=500,
            widget=UnfoldAdminTextInputWidget(),
            help_text="Why it is changed; kept in the history.",
            error_messages={"required": required_sentence},
            **kwargs,
        )
