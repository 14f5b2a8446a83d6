"""Writing a dilemma with its verdict: from those that ship with the product, or by a language model.

Which of the two, the setting `CASE_GENERATOR` says.
"""

from __future__ import annotations

from django.conf import settings

from rewards.cases.generator.builtin import next_dilemma
from rewards.cases.generator.openai import ask
from rewards.cases.generator.written import GeneratorFailed, WrittenCase

__all__ = ["GENERATORS", "GeneratorFailed", "WrittenCase", "write_case"]

GENERATORS = {"builtin": next_dilemma, "openai": ask}


def write_case() -> WrittenCase:
    """A dilemma and its verdict. It may ask a machine far away: call it outside of transactions.

    Raises `GeneratorFailed`.
    """
    return GENERATORS[settings.CASE_GENERATOR]()
