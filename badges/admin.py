"""Badges in the admin: looked at before they are given, their criteria locked once somebody holds them; the awards."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, cast

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import connection
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import BooleanRadioFilter, RelatedDropdownFilter
from unfold.decorators import action, display
from unfold.enums import ActionVariant
from unfold.widgets import UnfoldAdminBigIntegerFieldWidget, UnfoldAdminIntegerFieldWidget, UnfoldAdminSelectWidget

from badges.criteria import FACTS, JOINED_IN_BETA, WALLET_CONNECTED
from badges.icons import check_icon, icon_html
from badges.models import ONCE, Badge, BadgeAward
from badges.queries import BadgePreview, preview
from badges.revoking import bonus_of
from badges.services import change_criteria, reinstate, revoke
from rewards.activity.checks import is_metric
from rewards.activity.models import Counter
from rewards.admin.common.confirm import Question, ask_then_do, page_context, sentence_of
from rewards.admin.common.display import admin_url, amount, grouped, link_to
from rewards.admin.common.display import badge as label
from rewards.admin.common.fields import SuggestingInput
from rewards.admin.common.history import HistoryAdmin
from rewards.admin.common.lists import BigList, distinct_values
from rewards.admin.common.readonly import ReadOnlyAdmin
from rewards.admin.common.tables import Table
from rewards.admin.common.taking_back import ReverseForm, figures_of, short_table
from rewards.admin.users import on_the_page_of_a_user
from rewards.common.errors import RewardsError
from rewards.ledger.debts import REFUSE, Clawback, Taken, clawback
from rewards.ledger.models import Transfer
from rewards.parameters.services import param
from rewards.users.models import User

CONFIRMED, BACK = "_confirmed", "_back"
MOST_COUNTED = 1_000
AWARDS_SHOWN = 10
FACT_WORDS = {WALLET_CONNECTED: "a wallet is connected", JOINED_IN_BETA: "joined before the beta ended"}
LOCKED = "Somebody holds it: “Change what earns it…” makes a new version."


def known_metrics() -> list[str]:
    return [*FACTS, *distinct_values(Counter, "metric")]


# ------------------------------------------------------------------------------------------------------------- the form


class CriteriaForm(forms.ModelForm):
    """What earns a badge, and what comes with it."""

    class Meta:
        model = Badge
        fields: Any = Badge.CRITERIA
        widgets: Any = {
            "metric": SuggestingInput(known_metrics),
            "threshold": UnfoldAdminBigIntegerFieldWidget(),
            "repeat": UnfoldAdminSelectWidget(),
            "bonus": UnfoldAdminIntegerFieldWidget(),
        }
        help_texts: Any = {
            "metric": f"A counter of activity such as cases_won, or a fact: {' or '.join(FACTS)}. "
            "Empty: given by hand alone.",
            "threshold": "How much of it. Of a fact: 1.",
            "bonus": "Whole units that come with it, paid once to each.",
        }

    def is_valid(self) -> bool:
        """What comes back from the look at who would get it is shown as it was written, not saved."""
        return BACK not in self.data and super().is_valid()

    def clean_metric(self) -> str:
        metric = self.cleaned_data["metric"].strip()
        if metric and metric not in FACTS and not is_metric(metric):
            raise ValidationError("Write the name of a metric, such as cases_won.", code="metric")
        return metric


class BadgeForm(CriteriaForm):
    class Meta(CriteriaForm.Meta):
        fields = ("slug", "name", "description", "icon", "order", "active", *Badge.CRITERIA, "unit")
        help_texts = CriteriaForm.Meta.help_texts | {
            "slug": "Names it for good: letters, digits, hyphens and underscores, such as first_win.",
            "icon": "An emoji, or the address of an image: https://… or one of the product's own files, /static/….",
            "order": "The smallest comes first.",
            "active": "Whether it is given to whoever earns it. Before it is, you see who would get it.",
            "unit": "What is counted, as in 2/5 wins.",
        }

    def clean_icon(self) -> str:
        icon = self.cleaned_data["icon"].strip()
        check_icon(icon)
        return icon


class OtherCriteria(CriteriaForm):
    """For a badge that somebody holds: whether it is given once or every month stays."""

    class Meta(CriteriaForm.Meta):
        fields = ("metric", "threshold", "bonus")


# --------------------------------------------------------------------------------------------------------------- badges


@admin.register(Badge)
class BadgeAdmin(HistoryAdmin):
    form = BadgeForm
    empty_hint = "`manage.py setup_defaults` creates the nine badges that the product ships with."
    list_display = ["badge", "criterion", "bonus_shown", "holders", "state"]
    list_display_links = ["badge"]
    list_filter = [("active", BooleanRadioFilter)]
    search_fields = ["slug", "name"]
    ordering = ["order", "id"]
    actions = None
    actions_detail = ["change_criteria"]
    readonly_fields = ["icon_shown", "criterion", "bonus_shown", "holders", "version"]
    fieldsets = [
        (None, {"fields": ["slug", "name", "description", "icon", "order", "active"]}),
        ("What earns it", {"fields": [*Badge.CRITERIA, "unit"]}),
    ]

    # --------------------------------------------------------------------------------------------------------- rights

    def has_delete_permission(self, request: HttpRequest, obj: Badge | None = None) -> bool:
        return False  # switched off instead: awards and bonuses name it

    def get_fieldsets(self, request: HttpRequest, obj: Badge | None = None) -> Any:
        if obj is None:
            return self.fieldsets
        standing = ("As it stands", {"fields": ["criterion", "holders", "version"]})
        if self.has_change_permission(request, obj):
            locked = {"description": LOCKED} if obj.was_given() else {}
            return [self.fieldsets[0], (self.fieldsets[1][0], self.fieldsets[1][1] | locked), standing]
        shown = {"fields": ["slug", "name", "description", "icon_shown", "order", "active"]}
        return [(None, shown), ("What earns it", {"fields": ["criterion", "bonus_shown", "holders", "version"]})]

    def get_readonly_fields(self, request: HttpRequest, obj: Badge | None = None) -> list[str]:
        """The name for the API stays; so does what earns it once somebody holds it."""
        if obj is None:
            return self.readonly_fields
        return [*self.readonly_fields, "slug", *(Badge.CRITERIA if obj.was_given() else [])]

    # ------------------------------------------------------------------------------------------------------- the list

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        """With how many hold each, counted no further than it has to be, by one query."""
        changes = super().get_changelist_instance(request)
        counts = holders_of([each.pk for each in changes.result_list])
        for each in changes.result_list:
            each.counted = counts.get(each.pk, 0)
        return changes

    @display(description="Badge", ordering="order")
    def badge(self, badge: Badge) -> SafeString:
        return named(badge)

    @display(description="Icon")
    def icon_shown(self, badge: Badge) -> SafeString | str:
        return icon_html(badge.icon) or "–"

    @display(description="Earned by")
    def criterion(self, badge: Badge) -> str:
        return criterion_in_words(badge)

    @display(description="Bonus", ordering="bonus")
    def bonus_shown(self, badge: Badge) -> str:
        return f"{grouped(badge.bonus)} {param('badges.currency')}" if badge.bonus else "none"

    @display(description="Held by")
    def holders(self, badge: Badge) -> str:
        if badge.pk is None:
            return "–"
        counted = getattr(badge, "counted", None)
        return holders_in_words(holders_of([badge.pk]).get(badge.pk, 0) if counted is None else counted)

    @display(description="State", ordering="active")
    def state(self, badge: Badge) -> SafeString:
        return label("done", "active") if badge.active else label("none", "switched off")

    # --------------------------------------------------------------------------------------------- saved, after a look

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """What would give it to people is shown before it is saved."""
        if request.method == "POST" and CONFIRMED not in request.POST:
            look = self._look_before(request, object_id)
            if look is not None:
                return look
        try:
            return super().changeform_view(request, object_id, form_url, extra_context)
        except RewardsError as error:  # somebody was given it in between
            messages.error(request, sentence_of(error))
            return HttpResponseRedirect(request.path)

    def _look_before(self, request: HttpRequest, object_id: str | None) -> HttpResponse | None:
        """The page that says who would get it; None when nobody can get more by this, or the form is not right."""
        standing = self.get_object(request, object_id) if object_id else None
        may = self.has_change_permission(request, standing) if object_id else self.has_add_permission(request)
        if not may or (object_id and standing is None):
            return None  # refused, or not found, by the form's own page
        draft = self.get_object(request, object_id) if object_id else Badge()
        form = self.get_form(request, standing, change=standing is not None)(request.POST, instance=draft)
        if not form.is_valid() or not gives_more(standing, form.instance):
            return None
        verb = "Change" if standing is not None and standing.active else "Switch on"
        return preview_page(request, self, standing, form.instance, f"{verb} {form.instance}", verb)

    def response_change(self, request: HttpRequest, obj: Badge) -> HttpResponse:
        self._say_when(request, obj)
        return super().response_change(request, obj)

    def response_add(self, request: HttpRequest, obj: Badge, post_url_continue: str | None = None) -> HttpResponse:
        self._say_when(request, obj)
        return super().response_add(request, obj, post_url_continue)

    def _say_when(self, request: HttpRequest, badge: Badge) -> None:
        if CONFIRMED in request.POST and badge.active:
            messages.info(request, GIVEN_SOON)

    # ------------------------------------------------------------------------------------------- criteria of a held one

    def get_actions_detail(self, request: HttpRequest, object_id: int) -> list[Any]:
        """While nobody holds it, what earns it is changed in the form."""
        badge = Badge.objects.filter(pk=object_id).first()
        return super().get_actions_detail(request, object_id) if badge and badge.was_given() else []

    @action(
        description="Change what earns it…", url_path="criteria", icon="rule_settings", permissions=["change"]
    )  # fmt: skip
    def change_criteria(self, request: HttpRequest, object_id: str) -> HttpResponse:
        standing = get_object_or_404(Badge, pk=object_id)
        if not self.has_change_permission(request, standing):
            raise PermissionDenied
        form = OtherCriteria(request.POST or None, instance=get_object_or_404(Badge, pk=object_id))
        title, back = f"Change what earns {standing}", admin_url(standing)
        if request.method == "POST" and form.is_valid():
            if CONFIRMED in request.POST:
                return self._changed(request, standing, form.cleaned_data)
            if differences(standing, form.instance):
                return preview_page(request, self, standing, form.instance, title, "Change")
            messages.info(request, f"{standing} is earned as before: nothing was changed.")
            return HttpResponseRedirect(back)
        context = page_context(request, self, standing) | {
            "title": title,
            "form": form,
            "explanation": f"Somebody holds version {standing.version}. Whoever holds it keeps it and does not get it "
            "again; from now on it is earned by the new version. The next page says who would get it.",
            "button": "Look at it",
            "back": back,
        }
        return TemplateResponse(request, "admin/form_page.html", context)

    def _changed(self, request: HttpRequest, badge: Badge, criteria: Mapping[str, Any]) -> HttpResponse:
        try:
            changed = change_criteria(badge, cast(User, request.user), **criteria)
        except RewardsError as error:
            messages.error(request, sentence_of(error))
        else:
            self.log_change(request, changed, f"Changed what earns it: version {changed.version}.")
            messages.success(request, f"{changed}: version {changed.version} is earned from now on.")
            self._say_when(request, changed)
        return HttpResponseRedirect(admin_url(badge))


GIVEN_SOON = "check_badges gives it to whoever has earned it, within the hour. Run it now under Schedules."


# ----------------------------------------------------------------------------------------------------- who would get it


def gives_more(standing: Badge | None, draft: Badge) -> bool:
    """Whether saving it may give it to people who would not get it otherwise."""
    if not draft.active or not draft.metric:
        return False
    return standing is None or not standing.active or bool(differences(standing, draft))


def differences(standing: Badge, draft: Badge) -> list[tuple[str, str, str]]:
    """(field, as it is, as it would be) of its criteria."""
    return [
        (str(Badge._meta.get_field(name).verbose_name).capitalize(), shown(standing, name), shown(draft, name))
        for name in Badge.CRITERIA
        if getattr(standing, name) != getattr(draft, name)
    ]


def shown(badge: Badge, name: str) -> str:
    value = badge.get_repeat_display() if name == "repeat" else getattr(badge, name)
    return grouped(value) if isinstance(value, int) else str(value) or "given by hand"


def preview_page(
    request: HttpRequest, model_admin: Any, standing: Badge | None, draft: Badge, title: str, button: str
) -> HttpResponse:
    """Who would get it now, and what that costs; its buttons send the form again, confirmed or to go on writing."""
    try:
        found, problem = preview(draft, timezone.now()), ""
    except RewardsError as error:
        found, problem = BadgePreview(0, 0), sentence_of(error)
    columns = ["What earns it", "As it is", "As it would be"]
    changes = differences(standing, draft) if standing is not None else []
    context = page_context(request, model_admin, standing) | {
        "title": title,
        "badge_name": named(draft),
        "criterion": criterion_in_words(draft),
        "problem": problem,
        "lead": lead(found, draft),
        "figures": figures(found, draft),
        "changes": Table(columns, changes) if changes else None,
        "usernames": found.usernames,
        "more": grouped(found.count - len(found.usernames)) if found.count > len(found.usernames) else "",
        "sent": list(sent_again(request)),
        "button": button,
        "back": BACK,
    }
    return TemplateResponse(request, "admin/badge_preview.html", context)


def lead(found: BadgePreview, draft: Badge) -> str:
    if not draft.active:
        return "It is switched off: nobody gets it. If it were active, this is who would get it now."
    if not found.count:
        return "Nobody would get it now. From now on whoever earns it does."
    return "Within the hour it is given to everybody who has earned it and does not hold it; later to whoever earns it."


def figures(found: BadgePreview, draft: Badge) -> list[tuple[str, str, str]]:
    currency = found.currency or param("badges.currency")
    return [
        ("Would get it now", grouped(found.count), "user" if found.count == 1 else "users"),
        ("Bonus", f"{grouped(draft.bonus)} {currency}" if draft.bonus else "none", "to each, once"),
        ("Cost", f"{grouped(found.bonus_total)} {currency}", "in all, now"),
    ]


def sent_again(request: HttpRequest) -> Iterator[tuple[str, str]]:
    """What the form sent, to be sent once more with a yes."""
    for name, values in request.POST.lists():
        if name != "csrfmiddlewaretoken":
            yield from ((name, value) for value in values)
    yield CONFIRMED, "yes"


# ------------------------------------------------------------------------------------------------------------- in words


def named(badge: Badge) -> SafeString:
    """With its icon before it."""
    return format_html('<span class="rewards-badge">{}<span>{}</span></span>', icon_html(badge.icon), badge.name)


def criterion_in_words(badge: Badge) -> str:
    if not badge.metric:
        return "given by hand, or by a month's ranking"
    if badge.metric in FACT_WORDS:
        return FACT_WORDS[badge.metric]
    month = " in a month" if badge.repeat == Badge.Repeat.PER_PERIOD else ""
    unit = badge.unit.removesuffix("s") if badge.threshold == 1 else badge.unit
    if not unit:
        return f"{grouped(badge.threshold)} × {badge.metric}{month}"
    return f"{grouped(badge.threshold)} {unit}{month} ({badge.metric})"


def holders_in_words(counted: int) -> str:
    return f"over {grouped(MOST_COUNTED)}" if counted > MOST_COUNTED else grouped(counted)


def holders_of(badge_ids: list[int]) -> dict[int, int]:
    """How many awards of each badge stand; at most one more than `MOST_COUNTED`, so that millions cost nothing."""
    if not badge_ids:
        return {}
    one = (
        "SELECT {} AS badge_id, count(*) FROM "
        "(SELECT 1 FROM badges_badgeaward WHERE badge_id = %s AND revoked_at IS NULL LIMIT {}) AS held"
    )
    ids = [int(each) for each in badge_ids]
    sql = " UNION ALL ".join(one.format(each, MOST_COUNTED + 1) for each in ids)
    with connection.cursor() as cursor:
        cursor.execute(sql, ids)
        return dict(cursor.fetchall())


# --------------------------------------------------------------------------------------------------------------- awards


@admin.register(BadgeAward)
class BadgeAwardAdmin(BigList, ReadOnlyAdmin):
    empty_hint = "check_badges gives the active badges every hour to whoever has earned them."
    list_display = ["badge_name", "user_name", "period_shown", "awarded_at", "state"]
    list_filter = [("badge", RelatedDropdownFilter)]
    list_select_related = ["badge", "user"]
    search_fields = ["user"]
    search_help_text = "A username, in full"
    actions_detail = ["revoke", "reinstate"]
    fieldsets = [
        (None, {"fields": ["badge_link", "user_link", "state", "period_shown", "version_shown", "awarded_at"]}),
        ("Bonus", {"fields": ["bonus_shown", "journal_link"]}),
    ]
    revoked = ("Revoked", {"fields": ["revoked_at", "revoked_by_link", "reason"]})
    readonly_fields = [
        "badge_link", "user_link", "state", "period_shown", "version_shown", "bonus_shown", "journal_link",
        "revoked_by_link",
    ]  # fmt: skip

    def get_fieldsets(self, request: HttpRequest, obj: BadgeAward | None = None) -> Any:
        return [*self.fieldsets, self.revoked] if obj is not None and obj.revoked_at else self.fieldsets

    def has_revoke_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.is_active and request.user.has_perm("badges.revoke_badgeaward")  # type: ignore[union-attr]

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        return lookup in ("user__id__exact", "badge__id__exact") or super().lookup_allowed(lookup, value, request)

    def find(self, queryset: QuerySet[BadgeAward], term: str) -> QuerySet[BadgeAward]:
        return queryset.filter(user__in=list(User.objects.filter(username=term).values_list("pk", flat=True)))

    def get_queryset(self, request: HttpRequest) -> QuerySet[BadgeAward]:
        return super().get_queryset(request).select_related("badge", "user", "journal", "revoked_by")

    # ----------------------------------------------------------------------------------------------------- in columns

    @display(description="Badge")
    def badge_name(self, award: BadgeAward) -> SafeString:
        return named(award.badge)

    @display(description="Badge")
    def badge_link(self, award: BadgeAward) -> SafeString | str:
        return link_to(award.badge, named(award.badge))

    @display(description="User")
    def user_name(self, award: BadgeAward) -> str:
        return award.user.get_username()

    @display(description="User")
    def user_link(self, award: BadgeAward) -> SafeString | str:
        return link_to(award.user)

    @display(description="For")
    def period_shown(self, award: BadgeAward) -> str:
        return "once" if award.period_key == ONCE else award.period_key.replace(":", " ")

    @display(description="Version")
    def version_shown(self, award: BadgeAward) -> str:
        now = award.badge.version
        return f"{award.version}, as it is earned now" if award.version == now else f"{award.version}; now it is {now}"

    @display(description="State")
    def state(self, award: BadgeAward) -> SafeString:
        return label("reversed", "revoked", kind="danger") if award.revoked_at else label("done", "held")

    @display(description="Paid")
    def bonus_shown(self, award: BadgeAward) -> str:
        paid = bonus_of(award)
        if paid is None:
            return "none"
        taken_back = Transfer.objects.filter(reverses=paid).exists()
        return f"{amount(paid.amount, paid.currency)}{', taken back since' if taken_back else ''}"

    @display(description="Journal")
    def journal_link(self, award: BadgeAward) -> SafeString | str:
        return link_to(award.journal)

    @display(description="Revoked by")
    def revoked_by_link(self, award: BadgeAward) -> SafeString | str:
        return link_to(award.revoked_by)

    # ------------------------------------------------------------------------------------------ taken back, given back

    def get_actions_detail(self, request: HttpRequest, object_id: int) -> list[Any]:
        """A badge that is held is revoked, a revoked one reinstated."""
        award = BadgeAward.objects.filter(pk=object_id).first()
        if award is None:
            return []
        possible = "reinstate" if award.revoked_at else "revoke"
        allowed = super().get_actions_detail(request, object_id)
        return [each for each in allowed if each.action_name.rpartition("_")[2] == possible]

    @action(
        description="Revoke", url_path="revoke", icon="undo", variant=ActionVariant.DANGER, permissions=["revoke"]
    )  # fmt: skip
    def revoke(self, request: HttpRequest, object_id: str) -> HttpResponse:
        award = self._award(request, object_id)
        form = ReverseForm(request.POST or None)
        if request.method == "POST" and form.is_valid():
            how = form.cleaned_data["missing"] or REFUSE
            try:
                revoke(award.pk, cast(User, request.user), form.cleaned_data["reason"].strip(), missing=how)
            except RewardsError as error:
                messages.error(request, sentence_of(error))
            else:
                messages.success(request, f"{award.badge} of {award.user} is revoked.")
                return HttpResponseRedirect(admin_url(award))
        return TemplateResponse(request, "admin/reverse.html", self._revoking(request, award, form))

    def _revoking(self, request: HttpRequest, award: BadgeAward, form: ReverseForm) -> dict[str, Any]:
        """What the page says: what goes back of the bonus, and who lacks it."""
        paid = bonus_of(award)
        found = clawback(Taken([paid.journal_id], paid.pk)) if paid else None
        context = page_context(request, self, award) | {
            "title": f"Revoke {award.badge} of {award.user}",
            "explanation": revoking_in_words(award, paid, found),
            "form": form,
            "button": "Revoke",
            "back": admin_url(award),
        }
        if paid is not None and found is not None and found.recipients:
            context |= {
                "figures": figures_of(found, paid.currency),
                "short": short_table(found, paid.currency) if found.short else None,
                "choose": bool(found.short),
            }
        return context

    @action(
        description="Reinstate", url_path="reinstate", icon="redo", variant=ActionVariant.PRIMARY,
        permissions=["revoke"],
    )  # fmt: skip
    def reinstate(self, request: HttpRequest, object_id: str) -> HttpResponse:
        award = self._award(request, object_id)
        paid = bonus_of(award)
        question = Question(
            title=f"Reinstate {award.badge} of {award.user}",
            explanation=f"{award.user} holds the badge again, and what was taken back of its bonus is paid again.",
            button="Reinstate",
            figures=[
                ("Revoked", award.revoked_at or "–"),
                ("By", award.revoked_by or "–"),
                ("Why", award.reason or "–"),
                ("Bonus", amount(paid.amount, paid.currency) if paid else "none"),
            ],
            needs_reason=True,
        )

        def do(reason: str) -> str:
            reinstate(award.pk, cast(User, request.user), reason)
            return f"{award.user} holds {award.badge} again."

        return ask_then_do(request, question, do, back=admin_url(award), context=page_context(request, self, award))

    def _award(self, request: HttpRequest, object_id: str) -> BadgeAward:
        if not self.has_view_permission(request):
            raise PermissionDenied
        return get_object_or_404(BadgeAward.objects.select_related("badge", "user", "revoked_by"), pk=object_id)


def revoking_in_words(award: BadgeAward, paid: Transfer | None, found: Clawback | None) -> str:
    stays = "The award stays in the list, marked, and stands in the way of another until it is reinstated."
    if paid is None:
        return f"It came without a bonus: nothing is taken back. {stays}"
    if found is None or not found.recipients:
        return f"Its bonus was taken back already. {stays}"
    return f"{amount(found.total, paid.currency)} of bonus go back to where they came from. {stays}"


# ------------------------------------------------------------------------------------------------ on the page of a user


def badges_of(request: HttpRequest, user: User) -> tuple[str, Table, str, str] | None:
    """The newest badges of a user for his page, for whoever may see them."""
    if not request.user.has_perm("badges.view_badgeaward"):  # type: ignore[union-attr]
        return None
    awards = BadgeAward.objects.filter(user=user).select_related("badge").order_by("-awarded_at", "-pk")
    rows = [
        (
            link_to(each, named(each.badge)),
            "once" if each.period_key == ONCE else each.period_key.replace(":", " "),
            each.awarded_at,
            label("reversed", "revoked", kind="danger") if each.revoked_at else label("done", "held"),
        )
        for each in awards[:AWARDS_SHOWN]
    ]
    table = Table(["Badge", "For", "Given", "State"], rows, empty="No badge yet: they are given hourly, as earned.")
    return "Badges", table, f"{admin_url(BadgeAward)}?user__id__exact={user.pk}", "All badges"


on_the_page_of_a_user(badges_of)
