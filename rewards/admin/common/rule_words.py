"""A rule in words, for people who read no JSON. The rules themselves are explained in `docs/rules.md`."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

Words = list[Any]  # a sentence, or a list of the sentences below the one before, as the filter unordered_list takes it


def rule_in_words(rule: Any) -> Words:
    """The rule as nested sentences. A rule that does not make sense is said to be one, not refused."""
    try:
        return _sentences(rule, "The amount is")
    except (KeyError, TypeError, ValueError, AttributeError, ZeroDivisionError):
        return ["This rule cannot be put into words."]


def _sentences(rule: dict[str, Any], subject: str) -> Words:
    kind = rule["rule"]
    if kind == "slices":
        return [f"{subject} cut into {len(rule['slices'])} slices:", _slices(rule["slices"])]
    if kind == "tiers":
        return [f"{subject} paid by tiers of {rule.get('by', 'position')}s:", _tiers(rule["tiers"])]
    return [f"{subject} {_sharing(rule)}."]


def _sharing(rule: dict[str, Any]) -> str:
    kind = rule["rule"]
    if kind == "equal":
        return "shared equally"
    if kind == "fixed":
        return "paid as set for each participant"
    if kind != "proportional":
        raise ValueError(kind)
    words = [f"shared in proportion to {'the ' + rule['by'] if rule.get('by') else 'the score'}"]
    cap = rule.get("weight_cap")
    if cap:
        words.append(f"counted up to {cap['times']} times the mean of the first {cap['mean_of_top_percent']}%")
    if rule.get("max_share"):
        words.append(f"nobody more than {_percent(Fraction(rule['max_share']))} of it")
    if rule.get("max_amount"):
        words.append(f"at most {rule['max_amount']} each")
    if rule.get("min_amount"):
        words.append(f"shares under {rule['min_amount']} are not paid")
    return ", ".join(words)


def _slices(slices: list[dict[str, Any]]) -> Words:
    total = sum(Fraction(each["weight"]) for each in slices)
    words: Words = []
    for each in slices:
        subject = f"{each['name']}: {_percent(Fraction(each['weight']) / total)} to {_members(each['members'])},"
        words += _sentences(each["rule"], subject)
    return words


def _members(members: dict[str, Any]) -> str:
    if "top" in members:
        words = f"the first {_counted(members['top'], 'places')}"
    elif "top_percent" in members:
        words = f"the first {members['top_percent']}% of places"
    elif "group" in members:
        words = f"group {members['group']}"
    else:
        words = "everyone"
    conditions = [f"at least {_counted(least, name)}" for name, least in members.get("at_least", {}).items()]
    if "min_score" in members:
        conditions.append(f"a score of at least {members['min_score']}")
    return f"{words} with {' and '.join(conditions)}" if conditions else words


def _counted(least: Any, name: str) -> str:
    """`10 votes`, `1 vote`: what is counted is named in the plural, as a rule."""
    is_one = Fraction(least) == 1 and name.endswith("s") and not name.endswith("ss")
    return f"{least} {name[:-1] if is_one else name}"


def _tiers(tiers: list[dict[str, Any]]) -> Words:
    words, first = [], 1
    for tier in tiers:
        last = tier["to"]
        places = (
            f"place {first}" if last == first else f"places {first} to {last}" if last else f"places from {first} on"
        )
        pays = f"{tier['each']} each" if "each" in tier else f"{_percent(Fraction(tier['share']))} shared equally"
        words.append(f"{places}: {pays}")
        first = (last or 0) + 1
    return words


def _percent(share: Fraction) -> str:
    """`20%`, `12.5%`; thirds and the like as fractions."""
    percent = share * 100
    if percent.denominator in (1, 2, 4, 5, 10, 20):
        return f"{float(percent):g}%"
    return f"{share.numerator}/{share.denominator}"
