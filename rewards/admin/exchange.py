"""Rules taken from one installation to another: written into a file, looked at line by line, taken with a reason."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

from django import forms
from django.contrib import messages
from django.core import signing
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.http import content_disposition_header
from unfold.decorators import action
from unfold.widgets import UnfoldAdminFileFieldWidget

from rewards.admin.common.confirm import ReasonForm, page_context, sentence_of
from rewards.admin.common.display import grouped, pretty_json
from rewards.admin.common.history import difference
from rewards.admin.common.kept_files import KEPT_SECONDS, forget_file, keep, kept_file
from rewards.admin.common.tables import Table
from rewards.audit.services import record
from rewards.common.errors import RewardsError
from rewards.exchange.documents import LARGEST_BYTES, from_bytes
from rewards.exchange.kinds import kinds
from rewards.exchange.services import Item, Report, export_rules, import_rules, look_at
from rewards.users.models import User

SALT = "rules-import"
MOST_SHOWN = 200


class RulesFileGone(RewardsError):
    """The file is not here any more: it was kept for an hour, on one machine. Upload it again."""

    code = "file_gone"
    http_status = 410


class FileForm(forms.Form):
    file = forms.FileField(
        label="File of rules",
        widget=UnfoldAdminFileFieldWidget(),
        help_text="As “Export” or manage.py export_rules writes it.",
        error_messages={"required": "Choose a file."},
    )

    def clean_file(self) -> Any:
        file = self.cleaned_data["file"]
        if file.size > LARGEST_BYTES:
            raise forms.ValidationError(
                f"It has {grouped(file.size)} bytes; rules have at most {grouped(LARGEST_BYTES)}."
            )
        return file


class RulesExchange:
    """To be named before the admin class, with `rules` among its `actions_list`."""

    admin_site: Any

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.rules_file)
        return [path("rules/file/", view, name="rewards_parameter_rules_file"), *super().get_urls()]  # type: ignore[misc]

    @action(description="Export and import rules", url_path="rules", icon="swap_vert", permissions=["view"])
    def rules(self, request: HttpRequest) -> HttpResponse:
        _require(request, may_see_rules(request.user))
        page = page_context(request, self) | {"title": "Rules of this installation", "may_import": may_import(request)}
        if request.method != "POST":
            return _start(request, page, FileForm())
        _require(request, may_import(request))
        if "kept" in request.POST:
            return _confirmed(request, page)
        form = FileForm(request.POST, request.FILES)
        if not form.is_valid():
            return _start(request, page, form)
        name = keep(form.cleaned_data["file"].chunks())
        try:
            return _looked_at(request, page, name)
        except RewardsError as error:
            forget_file(name)
            form.add_error(None, sentence_of(error))
            return _start(request, page, form)

    def rules_file(self, request: HttpRequest) -> HttpResponse:
        _require(request, may_see_rules(request.user))
        name = f"rules_{timezone.now():%Y%m%dT%H%M%SZ}.json"
        answer = HttpResponse(export_rules(), content_type="application/json; charset=utf-8")
        answer["Content-Disposition"] = content_disposition_header(True, name)
        record("exported", actor=cast(User, request.user), data={"what": "rules", "file": name, "filters": {}})
        return answer


def may_see_rules(user: Any) -> bool:
    """Whoever may look at every kind of rules may take them along."""
    return all(user.has_perm(kind.rights()[1].replace(".change_", ".view_")) for kind in kinds())


def may_import(request: HttpRequest) -> bool:
    """It takes what it takes to add and change each kind by hand: administrators may."""
    user: Any = request.user
    return all(user.has_perms(kind.rights()) for kind in kinds())


def _require(request: HttpRequest, allowed: bool) -> None:
    if not (request.user.is_active and allowed):
        raise PermissionDenied


# --------------------------------------------------------------------------------------------------------------- steps


def _start(request: HttpRequest, page: dict[str, Any], form: FileForm) -> HttpResponse:
    context = {
        "form": form,
        "kinds": [kind.title for kind in kinds()],
        "file_url": reverse("admin:rewards_parameter_rules_file"),
    }
    return TemplateResponse(request, "admin/rules.html", page | context)


def _looked_at(
    request: HttpRequest, page: dict[str, Any], name: str, reason_form: ReasonForm | None = None
) -> HttpResponse:
    """What the file would do, with the button that does it, unless something is refused."""
    user = cast(User, request.user)
    report = look_at(from_bytes(_path_of(name).read_bytes()), actor=user, at=timezone.now())
    kept = signing.dumps({"name": name, "user": user.pk, "digest": report.digest()}, salt=SALT)
    context = {
        "title": "What the file would change",
        "kept": kept,
        "form": reason_form or ReasonForm(),
        "figures": figures_of(report),
        "refused": refused_table(report),
        "can_take": bool(report.changes) and not report.of("refused"),
        "nothing": not report.changes and not report.of("refused"),
        "items": shown(report.changes[:MOST_SHOWN]),
        "more": grouped(len(report.changes) - MOST_SHOWN) if len(report.changes) > MOST_SHOWN else "",
    }
    return TemplateResponse(request, "admin/rules_import.html", page | context)


def _confirmed(request: HttpRequest, page: dict[str, Any]) -> HttpResponse:
    user, here = cast(User, request.user), reverse("admin:rewards_parameter_rules")
    try:
        facts = _facts_of(request.POST["kept"], user)
        name = facts["name"]
        if "discard" in request.POST:
            forget_file(name)
            return HttpResponseRedirect(here)
        form = ReasonForm(request.POST)
        if not form.is_valid():
            return _looked_at(request, page, name, form)
        sections = from_bytes(_path_of(name).read_bytes())
        try:
            report = import_rules(
                sections, actor=user, reason=form.cleaned_data["reason"], at=timezone.now(), looked_at=facts["digest"]
            )
        finally:
            forget_file(name)
    except RewardsError as error:
        messages.error(request, sentence_of(error))
    else:
        created, changed = len(report.of("create")), len(report.of("change"))
        messages.success(request, f"{grouped(created)} rules were created, {grouped(changed)} changed.")
    return HttpResponseRedirect(here)


def _facts_of(signed: str, user: User) -> dict[str, Any]:
    """Raises `RulesFileGone`, also for what somebody else has uploaded."""
    try:
        facts = signing.loads(signed, salt=SALT, max_age=KEPT_SECONDS)
    except signing.BadSignature as error:
        raise RulesFileGone from error
    if facts["user"] != user.pk:
        raise RulesFileGone
    return facts


def _path_of(name: str) -> Path:
    found = kept_file(name)
    if found is None:
        raise RulesFileGone
    return found


# ------------------------------------------------------------------------------------------------------- what is shown


def figures_of(report: Report) -> list[tuple[str, str, str]]:
    stay = ", ".join(f"{grouped(count)} {title}" for title, count in report.untouched.items())
    return [
        ("To create", grouped(len(report.of("create"))), ""),
        ("To change", grouped(len(report.of("change"))), "each with its difference below"),
        ("The same", grouped(len(report.of("same"))), "nothing to do"),
        ("Refused", grouped(len(report.of("refused"))), "one is enough, and nothing is taken"),
        ("Not in the file", grouped(sum(report.untouched.values())), f"{stay} stay as they are" if stay else ""),
    ]


def refused_table(report: Report) -> Table | None:
    rows = [(kind_title(item), item.key or "–", item.sentence) for item in report.of("refused")]
    return Table(["Kind", "Name", "Why it is refused"], rows) if rows else None


def shown(items: Iterable[Item]) -> list[dict[str, Any]]:
    """Each rule with the lines that change; of one that is created, all it says."""
    return [
        {
            "title": f"{kind_title(item)}: {item.key}",
            "created": item.outcome == "create",
            "note": item.note,
            "lines": lines_of(item),
        }
        for item in items
    ]


def lines_of(item: Item) -> list[tuple[str, str]]:
    if item.before is None:
        return [("+", line) for line in pretty_json(item.after).splitlines()]
    return list(difference(pretty_json(item.before), pretty_json(item.after)))


def kind_title(item: Item) -> str:
    return item.kind.replace("_", " ").capitalize()
