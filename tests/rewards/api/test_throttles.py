"""How often users, machines and strangers may call, at moments that stand still."""

from __future__ import annotations

import logging
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import time_machine
from django.core.cache import cache
from django.test import RequestFactory
from rest_framework.exceptions import Throttled
from rest_framework.request import Request

from rewards.access.services import create_api_key
from rewards.api import throttles
from rewards.api.authentication import Machine
from rewards.api.throttles import AddressThrottle, CallerThrottle, count_call, count_sign_in
from rewards.parameters.services import set_parameter

NOON = "2026-11-21T12:00:00Z"


@pytest.fixture
def clock():
    with time_machine.travel(NOON, tick=False) as travelled:
        yield travelled


@pytest.fixture
def thread_changes_often():
    """Between reading and writing, where there are two steps."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def calls_let_through(bucket: str, limit: int, calls: int) -> int:
    return [count_call(bucket, limit) for _ in range(calls)].count(0)


def refused_for(throttle: CallerThrottle | AddressThrottle, caller=None, **meta: str) -> int:
    """Seconds to wait; 0 where the call is let through."""
    request = Request(RequestFactory().get("/", **meta))
    request._user = caller  # as the authentication sets it
    return 0 if throttle.allow_request(request, None) else int(throttle.wait())


class TestCounting:
    def test_as_many_as_the_limit_and_no_more(self, clock):
        assert calls_let_through("alice", 600, 700) == 600

    def test_buckets_are_apart(self, clock):
        calls_let_through("alice", 5, 9)
        assert calls_let_through("bob", 5, 9) == 5

    def test_a_minute_after_the_call_that_filled_it_there_is_room(self, clock):
        for start in (0, 9.9, 5):
            cache.clear()
            clock.move_to(1_795_000_000 + start)
            assert calls_let_through("alice", 3, 5) == 3
            clock.shift(49)
            assert calls_let_through("alice", 3, 5) == 0
            clock.shift(11)
            assert calls_let_through("alice", 3, 5) == 3

    def test_what_was_refused_does_not_count(self, clock):
        calls_let_through("alice", 3, 3)
        clock.shift(30)
        assert calls_let_through("alice", 3, 100) == 0
        clock.shift(30)
        assert calls_let_through("alice", 3, 100) == 3

    def test_whoever_keeps_to_it_is_never_refused(self, clock):
        """Ten a second, at every phase of the slices."""
        clock.move_to(1_795_000_003.05)
        for _ in range(3_000):
            assert count_call("alice", 600) == 0
            clock.shift(0.1)

    @pytest.mark.parametrize("seconds_before", [0, 7, 13, 31, 58])
    def test_after_the_wait_that_is_told_a_call_is_let_through(self, clock, seconds_before):
        count_call("alice", 3)
        clock.shift(seconds_before)
        calls_let_through("alice", 3, 9)
        seconds = count_call("alice", 3)
        assert 1 <= seconds <= 60
        clock.shift(seconds)
        assert count_call("alice", 3) == 0

    def test_calls_that_race_are_all_counted(self, clock, thread_changes_often):
        with ThreadPoolExecutor(8) as pool:
            waits = list(pool.map(lambda number: count_call("alice", 300), range(600)))
        assert waits.count(0) == 300

    def test_a_cache_in_trouble_lets_calls_pass_and_says_so(self, clock, monkeypatch, caplog):
        class Broken:
            def __getattr__(self, name):
                raise ConnectionError("nobody there")

        monkeypatch.setattr(throttles, "cache", Broken())
        with caplog.at_level(logging.WARNING):
            assert calls_let_through("alice", 1, 5) == 5
        assert "nobody there" in caplog.text


@pytest.mark.django_db
class TestCallers:
    def test_a_user_has_600_a_minute(self, clock, alice, bob):
        assert {refused_for(CallerThrottle(), alice) for _ in range(600)} == {0}
        assert refused_for(CallerThrottle(), alice) == 60
        assert refused_for(CallerThrottle(), bob) == 0

    def test_or_what_the_parameter_says(self, clock, alice, django_capture_on_commit_callbacks):
        with django_capture_on_commit_callbacks(execute=True):
            set_parameter("api.user_requests_per_minute", 2, actor=None, reason="test")
        assert [bool(refused_for(CallerThrottle(), alice)) for _ in range(3)] == [False, False, True]

    def test_a_machine_has_as_many_as_it_likes(self, clock):
        machine = Machine(create_api_key("game", ["claims:write"], by=None)[0])
        assert {refused_for(CallerThrottle(), machine) for _ in range(1_000)} == {0}
        assert not cache.get_many([f"throttle:key:{machine.key.pk}:{number}" for number in range(10)])

    def test_unless_its_key_says_how_many(self, clock):
        machine = Machine(create_api_key("game", ["claims:write"], by=None, requests_per_minute=5)[0])
        assert [bool(refused_for(CallerThrottle(), machine)) for _ in range(6)] == [False] * 5 + [True]

    def test_a_user_and_a_key_of_one_number_are_apart(self, clock, alice):
        key, _ = create_api_key("game", ["read"], by=None, requests_per_minute=1)
        key.pk = alice.pk
        assert refused_for(CallerThrottle(), Machine(key)) == 0
        assert refused_for(CallerThrottle(), alice) == 0


class TestStrangers:
    def test_an_address_has_20_a_minute(self, clock):
        assert {refused_for(AddressThrottle(), REMOTE_ADDR="10.0.0.1") for _ in range(20)} == {0}
        assert refused_for(AddressThrottle(), REMOTE_ADDR="10.0.0.1") == 60
        assert refused_for(AddressThrottle(), REMOTE_ADDR="10.0.0.2") == 0

    def test_a_header_makes_no_other_address_where_no_proxy_is_declared(self, clock):
        for number in range(20):
            refused_for(AddressThrottle(), REMOTE_ADDR="10.0.0.1", HTTP_X_FORWARDED_FOR=f"10.9.9.{number}")
        assert refused_for(AddressThrottle(), REMOTE_ADDR="10.0.0.1", HTTP_X_FORWARDED_FOR="10.8.8.8")

    def test_behind_a_proxy_it_is_the_address_that_the_proxy_saw(self, clock, settings):
        settings.REST_FRAMEWORK = settings.REST_FRAMEWORK | {"NUM_PROXIES": 1}
        for number in range(20):
            forwarded = f"{number}.{number}.1.1, 203.0.113.7"
            assert not refused_for(AddressThrottle(), REMOTE_ADDR="10.0.0.1", HTTP_X_FORWARDED_FOR=forwarded)
        assert refused_for(AddressThrottle(), REMOTE_ADDR="10.0.0.1", HTTP_X_FORWARDED_FOR="203.0.113.7")
        assert not refused_for(AddressThrottle(), REMOTE_ADDR="10.0.0.1", HTTP_X_FORWARDED_FOR="203.0.113.8")

    @pytest.mark.parametrize("username", ["alice", "a b\x00c", "\ud800", "é" * 10_000, ""])
    def test_a_username_has_10_sign_ins_a_minute_from_wherever(self, clock, username):
        for _ in range(10):
            count_sign_in(username)
        with pytest.raises(Throttled) as refusal:
            count_sign_in(username)
        assert refusal.value.wait == 60
        count_sign_in("somebody else")
