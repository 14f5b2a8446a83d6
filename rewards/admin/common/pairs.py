"""Names with numbers, such as the weights of a score: a row for each, and the JSON object that they stand for.

As with a rule (`rule_form`), the JSON is what is sent and checked; where there is no JavaScript it is edited itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from django.template.loader import render_to_string
from django.utils.safestring import SafeString
from unfold.widgets import INPUT_CLASSES, UnfoldAdminTextareaWidget

from rewards.admin.common.fields import PrettyJsonField, code_attributes


class PairsWidget(UnfoldAdminTextareaWidget):
    template_name = "admin/pairs_form.html"

    class Media:
        js = ["rewards/pairs_form.js"]

    def __init__(
        self, name_label: str, value_label: str, known_names: Callable[[], Sequence[str]], attrs: dict[str, Any]
    ) -> None:
        self.name_label, self.value_label, self.known_names = name_label, value_label, known_names
        super().__init__(attrs)

    def _render(self, template_name: str, context: dict[str, Any], renderer: Any = None) -> SafeString:
        """From the product's templates; the renderer of forms knows those of apps alone."""
        return render_to_string(template_name, context)

    def get_context(self, name: str, value: Any, attrs: dict[str, Any] | None) -> dict[str, Any]:
        return super().get_context(name, value, attrs) | {
            "name_label": self.name_label,
            "value_label": self.value_label,
            "known_names": self.known_names(),
            "input_classes": " ".join(INPUT_CLASSES),
        }


class PairsField(PrettyJsonField):
    """A JSON object whose values are numbers as text. `known_names` are suggested, others may be written."""

    def __init__(
        self, *, name_label: str, value_label: str, known_names: Callable[[], Sequence[str]], **kwargs: Any
    ) -> None:
        widget = PairsWidget(name_label, value_label, known_names, code_attributes(rows=6))
        super().__init__(widget=widget, **kwargs)
