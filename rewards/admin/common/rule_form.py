"""A rule as a form: fields for each kind of rule, beside them what it says in words, and the JSON that it stands for.

The JSON is what is sent, checked and stored. The form is drawn from it in the browser and writes it, so what goes in
comes out the same; where there is no JavaScript, the JSON itself is edited.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from django import forms
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.template.loader import render_to_string
from django.urls import URLPattern, path
from django.utils.safestring import SafeString
from unfold.widgets import INPUT_CLASSES, SELECT_CLASSES, UnfoldAdminTextareaWidget

from rewards.admin.common.fields import PrettyJsonField, TiePolicyField, code_attributes
from rewards.admin.common.rule_words import rule_in_words
from rewards.allocation.errors import AllocationError, RuleError
from rewards.allocation.rules import check_rule
from rewards.ledger.models import Currency

KINDS = {
    "equal": "The same to everyone",
    "proportional": "In proportion to the score",
    "tiers": "By place, in tiers",
    "slices": "In slices, each with members and a rule of its own",
    "fixed": "To each what the list says",
}
NOT_JSON = "This is not JSON yet."
MOST_DECIMALS = 8
Check = Callable[[object, int], None]


@dataclass(frozen=True)
class Asks:
    """What a rule may ask of its participants: the kinds that make sense, their measures, and whether they have groups.

    `url` is the address of `RuleAdmin.rule_view`.
    """

    url: Any
    kinds: Sequence[str] = tuple(KINDS)
    measures: Sequence[str] = ()
    groups: bool = True


class RuleRefused(forms.ValidationError):
    """What is wrong with a rule, and where in it."""

    def __init__(self, error: RuleError) -> None:
        super().__init__(str(error), code=error.code)
        self.path, self.sentence = error.path, error.sentence


def checked_rule(rule: Any, decimals: int, check: Check = check_rule) -> Any:
    """The rule, if it makes sense for a currency with that many decimals; raises `RuleRefused`."""
    try:
        check(rule, decimals)
    except RuleError as error:
        raise RuleRefused(error) from error
    return rule


class RuleWidget(UnfoldAdminTextareaWidget):
    template_name = "admin/rule_form.html"

    class Media:
        js = ["rewards/rule_form.js"]

    def __init__(self, asks: Asks, attrs: dict[str, Any]) -> None:
        self.asks = asks
        super().__init__(attrs)

    def _render(self, template_name: str, context: dict[str, Any], renderer: Any = None) -> SafeString:
        """From the product's templates; the renderer of forms knows those of apps alone."""
        return render_to_string(template_name, context)

    def get_context(self, name: str, value: Any, attrs: dict[str, Any] | None) -> dict[str, Any]:
        attrs = dict(attrs or {})
        refused = attrs.pop("refused", None)
        context = super().get_context(name, value, attrs)
        return context | {
            "url": self.asks.url,
            "kinds": [(kind, KINDS[kind]) for kind in self.asks.kinds],
            "measures": self.asks.measures,
            "groups": self.asks.groups,
            "refused": refused,
            "words": words_of_text(value or ""),
            "input_classes": " ".join(INPUT_CLASSES),
            "select_classes": " ".join(SELECT_CLASSES),
        }


class RuleBoundField(forms.BoundField):
    """Tells the widget where in the rule the mistake is."""

    def as_widget(self, widget: Any = None, attrs: Any = None, only_initial: bool = False) -> Any:
        refusals = [error for error in self.errors.as_data() if isinstance(error, RuleRefused)]
        if refusals:
            attrs = {**(attrs or {}), "refused": refusals[0]}
        return super().as_widget(widget, attrs, only_initial)


class RuleField(PrettyJsonField):
    """A rule of the rule language."""

    bound_field_class = RuleBoundField

    def __init__(self, *, asks: Asks, **kwargs: Any) -> None:
        super().__init__(widget=RuleWidget(asks, code_attributes(rows=16)), **kwargs)


class OtherRule(forms.Form):
    """A rule to be tried on what a payout is made of; its own one stands there at first. Nothing is saved."""

    def __init__(self, *args: Any, asks: Asks, currency: Currency, check: Check = check_rule, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.currency, self.check = currency, check
        self.fields["rule"] = RuleField(asks=asks, help_text="Nothing is saved.")
        self.fields["rule"].widget.attrs["data-currency"] = currency.pk
        self.fields["tie_policy"] = TiePolicyField(label="Ties")

    def clean_rule(self) -> Any:
        return checked_rule(self.cleaned_data["rule"], self.currency.decimals, self.check)

    def refuse(self, error: AllocationError) -> None:
        """Say what sharing out by the rule has failed with: at the rule, if that is at fault."""
        if isinstance(error, RuleError):
            self.add_error("rule", RuleRefused(error))
        else:
            self.add_error(None, str(error))


class RuleAdmin:
    """A ModelAdmin with a rule among its fields: says, as it is written, what it means and what is wrong with it."""

    rule_check: Check = staticmethod(check_rule)

    def get_urls(self) -> list[URLPattern]:
        name = f"{self.opts.app_label}_{self.opts.model_name}_rule"  # type: ignore[attr-defined]
        view = self.admin_site.admin_view(self.rule_view)  # type: ignore[attr-defined]
        return [path("rule/", view, name=name), *super().get_urls()]  # type: ignore[misc]

    def rule_view(self, request: HttpRequest) -> HttpResponse:
        """The rule sent as `rule`, in words; `path` and `sentence` say what is wrong with it. Nothing is saved."""
        if request.method != "POST" or not self.has_view_permission(request):  # type: ignore[attr-defined]
            raise PermissionDenied
        text, answer = request.POST.get("rule", ""), {"path": "", "sentence": ""}
        try:
            checked_rule(json.loads(text), decimals_of(request.POST.get("currency", "")), self.rule_check)
        except RuleRefused as refused:
            answer = {"path": refused.path, "sentence": refused.sentence}
        except (ValueError, RecursionError):
            answer["sentence"] = NOT_JSON
        words = render_to_string("admin/rule_words.html", {"words": words_of_text(text)})
        return JsonResponse({"words": words, **answer})


def words_of_text(text: str) -> list[Any]:
    try:
        return rule_in_words(json.loads(text))
    except (ValueError, RecursionError):
        return [NOT_JSON]


def decimals_of(currency: str) -> int:
    """Of the currency with that id or code; of none, those of the finest there may be, which refuse nothing."""
    lookup = {"pk": currency} if currency.isdecimal() else {"code": currency}
    found = Currency.objects.filter(**lookup).first()
    return found.decimals if found else MOST_DECIMALS
