"""The rules of the vote-funded pools and of cases, written in the same language as everyone else's."""

from __future__ import annotations

from typing import Any

DAILY_TIERS = (10, 100, 1000, 10000)
CASE_SHARES = ("0.5", "0.3", "0.2")


def hourly_rule() -> dict[str, Any]:
    """Five equal slices (top 10%, 10, 100, 1000, all), each shared equally by its members."""
    return _slices(
        [
            _slice("top10p", {"top_percent": "10"}),
            _slice("top10", {"top": 10}),
            _slice("top100", {"top": 100}),
            _slice("top1000", {"top": 1000}),
            _slice("all", {"all": True}),
        ]
    )


def daily_rule(
    weights: tuple[str, str, str] = ("1", "1", "1"),
    ecc_percent: str = "10",
    minimum_votes: tuple[int, int, int, int, int] = (10, 5, 3, 2, 1),
) -> dict[str, Any]:
    """Three parts: fixed position, contribution (measure `ecc`, capped), participation.

    `weights` are those of the three parts, decimal text; a part of weight zero is left out. `ecc_percent` is the
    fraction of places that share the second part. `minimum_votes` (measure `votes`) are those of the five tiers of
    the first part, best first.
    """
    ecc = {"rule": "proportional", "by": "ecc", "weight_cap": {"times": "5", "mean_of_top_percent": "10"}}
    parts = [
        _slice("fixed_position", {"all": True}, weights[0], _fixed_position_rule(minimum_votes)),
        _slice("top10p_ecc", {"top_percent": ecc_percent}, weights[1], ecc),
        _slice("top50p", {"top_percent": "50"}, weights[2]),
    ]
    return _slices([part for part in parts if part["weight"].strip("0.")])


def case_rule() -> dict[str, Any]:
    """Four parts of a case's pool; whoever is in several gets from each.

    40% to who voted as the verdict, 30% to the first three arguments (50/30/20), 20% to all who took part, 10% to who
    wrote the case. The measures `winning_voter`, `argument`, `participant` and `creator` are 1 for who is in; places
    are those of the arguments.
    """
    places = [{"to": place, "share": share, "name": "top_argument"} for place, share in enumerate(CASE_SHARES, start=1)]
    return _slices(
        [
            _slice("winning_voter", _marked("winning_voter"), "40"),
            _slice("top_argument", _marked("argument"), "30", {"rule": "tiers", "tiers": places}),
            _slice("participant", _marked("participant"), "20"),
            _slice("creator", _marked("creator"), "10"),
        ]
    )


def _marked(measure: str) -> dict[str, Any]:
    return {"all": True, "at_least": {measure: "1"}}


def _fixed_position_rule(minimum_votes: tuple[int, ...]) -> dict[str, Any]:
    places: list[tuple[str, dict[str, Any]]] = [(f"top{top}", {"top": top}) for top in DAILY_TIERS]
    places.append(("all", {"all": True}))
    return _slices(
        [
            _slice(name, members | {"at_least": {"votes": str(votes)}})
            for (name, members), votes in zip(places, minimum_votes, strict=True)
        ]
    )


def _slices(slices: list[dict[str, Any]]) -> dict[str, Any]:
    return {"rule": "slices", "slices": slices}


def _slice(name: str, members: dict[str, Any], weight: str = "1", rule: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"name": name, "weight": weight, "members": members, "rule": rule or {"rule": "equal"}}
