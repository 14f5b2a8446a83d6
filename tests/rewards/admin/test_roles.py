"""Who opens and who sends which page of the admin: each page has a line here, a new one without a line fails."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import AnonymousUser, Group, Permission
from django.contrib.messages.storage.session import SessionStorage
from django.contrib.sessions.backends.signed_cookies import SessionStore
from django.core.exceptions import PermissionDenied
from django.db import connection
from django.db.migrations.loader import MigrationLoader
from django.http import Http404
from django.test import RequestFactory
from django.urls import NoReverseMatch, URLResolver, get_resolver, resolve, reverse
from pytest_django import DjangoDbBlocker

from rewards.access.services import create_api_key, create_token
from rewards.cases.models import Case
from rewards.ledger.corrections import correct
from rewards.ledger.models import ISSUANCE, Currency
from rewards.users.models import User
from rewards.users.roles import ROLES, create_missing_roles, rights_of, ship_rights
from tests.rewards.admin.conftest import make_whole_product
from tests.rewards.shared_rows import rows_for_all_tests

pytestmark = pytest.mark.django_db

PEOPLE = {"V": "Viewer", "S": "Support", "O": "Operator", "P": "Approver", "A": "Administrator"}
NOBODY = "-"

# V: Viewer, S: Support, O: Operator, P: Approver, A: Administrator, -: none of them. Nobody else opens any.
# List and row are opened by … | a row is added by … | changed by … | deleted by …
MODELS = """
auth_group                            A      -  -   -
badges_badge                          VSOPA  A  A   -
badges_badgeaward                     VSOPA  -  -   -
django_celery_beat_clockedschedule    VSOPA  A  A   A
django_celery_beat_crontabschedule    VSOPA  A  -   -
django_celery_beat_intervalschedule   VSOPA  A  -   -
django_celery_beat_periodictask       VSOPA  A  OA  A
django_celery_beat_solarschedule      VSOPA  A  A   A
leaderboard_board                     VSOPA  A  A   -
leaderboard_standings                 VSOPA  -  -   -
rewards_accesstoken                   VSOPA  -  -   -
rewards_account                       VSOPA  -  -   -
rewards_accrual                       VSOPA  -  -   -
rewards_activityevent                 VSOPA  -  -   -
rewards_alert                         VSOPA  -  -   -
rewards_apikey                        VSOPA  A  A   -
rewards_argument                      VSOPA  -  -   -
rewards_auditevent                    VSOPA  -  -   -
rewards_auditseal                     VSOPA  -  -   -
rewards_campaign                      VSOPA  A  A   -
rewards_campaignparticipant           VSOPA  -  -   -
rewards_case                          VSOPA  -  -   -
rewards_ccrate                        VSOPA  A  A   -
rewards_chaintransaction              VSOPA  -  -   -
rewards_claim                         VSOPA  -  -   -
rewards_claimtype                     VSOPA  A  A   A
rewards_correction                    VSOPA  -  -   -
rewards_currency                      VSOPA  A  A   -
rewards_deployment                    VSOPA  -  -   -
rewards_distribution                  VSOPA  -  -   -
rewards_jobrun                        VSOPA  -  -   -
rewards_journal                       VSOPA  -  -   -
rewards_monthlyrewardjob              VSOPA  -  -   -
rewards_parameter                     VSOPA  -  A   -
rewards_partnertransfer               VSOPA  -  -   -
rewards_pendingreward                 VSOPA  -  -   -
rewards_pool                          VSOPA  -  A   -
rewards_processheartbeat              VSOPA  -  -   -
rewards_rankingcategory               VSOPA  A  A   -
rewards_reward                        VSOPA  -  -   -
rewards_rewardclaim                   VSOPA  -  -   -
rewards_rewardlog                     VSOPA  -  -   -
rewards_stakingposition               VSOPA  -  -   -
rewards_transfer                      VSOPA  -  -   -
rewards_user                          VSOPA  A  A   -
rewards_voteweight                    VSOPA  A  A   A
"""

# Opened by … | sent by …; a page that only shows does not mind being sent.
PAGES = """
app_list                              VSOPA  VSOPA
auth_user_password_change             A      A
autocomplete                          -      -
badges_badge_change_criteria          A      A
badges_badgeaward_reinstate           SA     SA
badges_badgeaward_revoke              SA     SA
django_celery_beat_periodictask_run_job  OA  OA
index                                 VSOPA  VSOPA
jsi18n                                VSOPA  -
leaderboard_board_refresh             OA     OA
password_change                       VSOPA  VSOPA
password_change_done                  VSOPA  -
rewards_accesstoken_revoke            A      A
rewards_account_show_statement        VSOPA  VSOPA
rewards_account_statement_csv         VSOPA  VSOPA
rewards_alert_export_csv              VSOPA  VSOPA
rewards_alert_resolve                 OA     OA
rewards_apikey_revoke                 A      A
rewards_auditevent_export_csv         VSOPA  VSOPA
rewards_auditseal_verify              VSOPA  VSOPA
rewards_campaign_cancel               OA     OA
rewards_campaign_export               VSOPA  VSOPA
rewards_campaign_preview              VSOPA  VSOPA
rewards_campaign_rule                 -      VSOPA
rewards_campaign_run                  OA     OA
rewards_campaign_upload               A      A
rewards_case_approve                  OA     OA
rewards_case_edit                     OA     OA
rewards_case_reject                   OA     OA
rewards_case_unseal                   -      -
rewards_case_void                     OA     OA
rewards_chaintransaction_look         OA     OA
rewards_claim_export_csv              VSOPA  VSOPA
rewards_claimtype_preview             -      A
rewards_claimtype_preview_new         -      A
rewards_correction_take_back          SA     SA
rewards_deployment_take_down          OA     OA
rewards_distribution_approve          PA     PA
rewards_distribution_export           VSOPA  VSOPA
rewards_distribution_export_csv       VSOPA  VSOPA
rewards_distribution_late             VSOPA  OA
rewards_distribution_periods          VSOPA  VSOPA
rewards_distribution_preview          VSOPA  VSOPA
rewards_distribution_reject           PA     PA
rewards_distribution_retry            OA     OA
rewards_distribution_reverse          PA     PA
rewards_distribution_rule             -      VSOPA
rewards_distribution_simulator        VSOPA  VSOPA
rewards_distribution_verify           VSOPA  VSOPA
rewards_journal_export_csv            VSOPA  VSOPA
rewards_journal_take_back             SA     SA
rewards_monthlyrewardjob_retry        OA     OA
rewards_monthlyrewardjob_start        OA     OA
rewards_parameter_pause               A      A
rewards_parameter_resume              A      A
rewards_parameter_rules               VSOPA  A
rewards_parameter_rules_file          VSOPA  VSOPA
rewards_partnertransfer_send          OA     OA
rewards_pendingreward_dead            VSOPA  OA
rewards_pendingreward_queue_again     OA     OA
rewards_pool_liability                VSOPA  VSOPA
rewards_pool_preview                  VSOPA  VSOPA
rewards_pool_rule                     -      VSOPA
rewards_pool_run_now                  OA     OA
rewards_pool_top_up                   A      A
rewards_pool_trends                   VSOPA  VSOPA
rewards_rankingcategory_preview       VSOPA  VSOPA
rewards_rankingcategory_rule          -      VSOPA
rewards_reward_export_csv             VSOPA  VSOPA
rewards_reward_reverse                PA     PA
rewards_transfer_export_csv           VSOPA  VSOPA
rewards_user_correct                  SA     SA
search                                VSOPA  VSOPA
view_on_site                          VSOPA  VSOPA
"""

FOR_ALL = {"login", "logout"}  # signing in is for those who are nobody yet, signing out for everybody
STANDARD = ("changelist", "history", "change", "add", "delete")


def lines(table: str) -> dict[str, list[str]]:
    return {name: who for name, *who in map(str.split, table.strip().splitlines())}


def named(resolver: Any) -> Iterator[str]:
    for pattern in resolver.url_patterns:
        if isinstance(pattern, URLResolver):
            yield from named(pattern)
        elif pattern.name:
            yield pattern.name


BY_PREFIX = {f"{model._meta.app_label}_{model._meta.model_name}": model for model in admin.site._registry}
NAMES = set(named(get_resolver("rewards_site.urls").namespace_dict["admin"][1]))


def model_of(name: str) -> Any:
    if name == "auth_user_password_change":
        return User
    return next((BY_PREFIX[p] for p in sorted(BY_PREFIX, key=len, reverse=True) if name.startswith(f"{p}_")), None)


@pytest.fixture(scope="module")
def people(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[dict[str, Any]]:
    """One of each role and two who are none, in a product with a row of everything."""
    with rows_for_all_tests(django_db_blocker):
        make_whole_product()
        somebody = {letter: User.objects.create(username=role, is_staff=True) for letter, role in PEOPLE.items()}
        for letter, user in somebody.items():
            user.groups.add(Group.objects.get(name=PEOPLE[letter]))
        now, alice = datetime(2026, 11, 21, tzinfo=UTC), User.objects.get(username="alice")
        create_api_key("game", ["read"], by=None)
        create_token(alice)
        Case.objects.create(title="Bread", context="Who ate it?")
        points = Currency.objects.get(code="points")
        correct(alice, points, 5, against=ISSUANCE, key="k", reason="Lost", actor=somebody["S"], at=now)
        yield somebody | {"a user": User.objects.get(username="bob"), "somebody": AnonymousUser()}


def address(name: str) -> str:
    model = model_of(name)
    rows = model._default_manager.order_by("pk") if model else None
    row = User.objects.get(username="alice") if model is User else rows.last() if rows is not None else None
    for arguments in ([], [row.pk if row else 1], [row.pk if row else 1, 1], ["rewards"]):
        try:
            return reverse(f"admin:{name}", args=arguments)
        except NoReverseMatch:
            continue
    raise AssertionError(f"{name} has an address that this test cannot write")


def let_in(user: Any, url: str, method: str) -> bool:
    """Whether the view goes beyond its question of rights; what it would show is not drawn."""
    request = getattr(RequestFactory(), method)(url)
    request.user, request.session = user, SessionStore()
    request._messages, request._dont_enforce_csrf_checks = SessionStorage(request), True
    match = resolve(url)
    request.resolver_match = match
    try:
        response = match.func(request, *match.args, **match.kwargs)
    except PermissionDenied:
        return False
    except Http404:
        return True
    return response.status_code not in (403, 405) and "/login/" not in response.get("Location", "")


def let_in_of(people: dict[str, Any], name: str, method: str = "get") -> str:
    url = address(name)
    return "".join(who for who, user in people.items() if let_in(user, url, method)) or NOBODY


def test_each_page_has_a_line() -> None:
    models, pages = lines(MODELS), lines(PAGES)
    standard = {f"{name}_{view}" for name in models for view in STANDARD}
    # A version of a row is looked at by whoever may see the row; its library checks that.
    histories = {f"{name}_simple_history" for name in models}
    assert sorted(NAMES - standard - histories - pages.keys() - FOR_ALL) == []
    assert sorted((pages.keys() | standard) - NAMES) == []


@pytest.mark.parametrize("name", sorted(lines(MODELS)))
def test_a_model(people, name) -> None:
    look, add, change, delete = lines(MODELS)[name]
    for view in ("changelist", "history", "change"):
        assert let_in_of(people, f"{name}_{view}") == look, view
    assert let_in_of(people, f"{name}_add") == add
    assert let_in_of(people, f"{name}_change", "post") == change
    assert let_in_of(people, f"{name}_delete") == delete


@pytest.mark.parametrize("name", sorted(lines(PAGES)))
def test_a_page(people, name) -> None:
    opened, sent = lines(PAGES)[name]
    assert let_in_of(people, name) == opened
    assert let_in_of(people, name, "post") == sent


class TestShippedByMigration:
    """What stands in a database that was only migrated. Whoever runs the tests migrates a new one."""

    def test_each_role_has_the_rights_that_it_is_to_have(self, db) -> None:
        for name in ROLES:
            given = set(Group.objects.get(name=name).permissions.values_list("content_type__app_label", "codename"))
            due = set(rights_of(name).values_list("content_type__app_label", "codename"))
            assert given == due, f"{name}: end your migration with ship_rights"

    def test_a_standing_installation_gets_what_is_new_and_keeps_what_an_operator_decided(self, db) -> None:
        """The right to correct is new, Approver was deleted, and Viewer may not see accounts any more."""
        Permission.objects.filter(codename="post_correction").delete()
        viewer = Group.objects.get(name="Viewer")
        viewer.permissions.remove(Permission.objects.get(codename="view_account"))
        Group.objects.get(name="Approver").delete()

        state = MigrationLoader(connection).project_state()
        ship_rights(state.apps, SimpleNamespace(connection=connection), "rewards")
        for role in ("Support", "Administrator"):
            assert Group.objects.get(name=role).permissions.filter(codename="post_correction").exists()
        assert not viewer.permissions.filter(codename__in=["view_account", "post_correction"]).exists()
        assert not Group.objects.filter(name="Approver").exists()

        assert create_missing_roles() == ["Approver"]
        assert set(Group.objects.get(name="Approver").permissions.all()) == set(rights_of("Approver"))
        assert create_missing_roles() == []
