"""Asking a language model for a case, at any endpoint that speaks OpenAI's `/chat/completions`."""

from __future__ import annotations

import logging
import time

from django.conf import settings
from django.db.models import Q
from django.views.decorators.debug import sensitive_variables

from rewards.cases.generator.answers import read_answer
from rewards.cases.generator.endpoint import EndpointMisconfigured, NotAnswered, question
from rewards.cases.generator.written import WrittenCase
from rewards.cases.models import Case

PAUSES_SECONDS = (1.0, 4.0)  # after the first try and after the second; there is a third
TITLES_TO_AVOID = 30

PROMPT = """\
You write moral dilemmas for a community that votes on them and argues.
Invent one: a concrete situation with named people, in which reasonable persons disagree, and a question about it that
can be answered with YES or NO. Both sides must have good arguments. No party politics, no living persons, nothing
cruel for its own sake. Then decide it, and weigh both sides in your reasoning.
Reply with one JSON object and nothing around it, with exactly these members:
title: the question, at most 100 characters
context: the situation, 60 to 140 words, without a hint at the decision
verdict: YES or NO
reasoning: 40 to 100 words
confidence: a number from 0 to 1, how sure you are"""

logger = logging.getLogger(__name__)


@sensitive_variables()
def ask() -> WrittenCase:
    """A case that the model of the settings has written. Tries three times where trying again may help.

    Raises `GeneratorFailed`, which quotes neither the key nor the answer.
    """
    if not (settings.CASE_AI_BASE_URL and settings.CASE_AI_MODEL):
        raise EndpointMisconfigured
    for pause in PAUSES_SECONDS:
        try:
            return _ask_once()
        except NotAnswered as failure:
            logger.warning("%s It is asked again.", failure.message, extra={"event": "generator_retried"})
        time.sleep(pause)
    return _ask_once()


@sensitive_variables()
def _ask_once() -> WrittenCase:
    titles = _titles_to_avoid()
    body = {
        "model": settings.CASE_AI_MODEL,
        "messages": [
            {"role": "system", "content": PROMPT},
            {"role": "user", "content": "\n".join(["Write the next one. These exist already:", *titles])},
        ],
    }
    answer = question(
        settings.CASE_AI_BASE_URL, settings.CASE_AI_KEY, body, timeout_seconds=settings.CASE_AI_TIMEOUT_SECONDS
    )
    written = read_answer(answer, PROMPT)
    if Case.objects.filter(Q(title__iexact=written.title) | Q(context=written.context)).exists():
        raise NotAnswered("The model wrote a dilemma that stands already.")
    return written


def _titles_to_avoid() -> list[str]:
    """Of generated cases alone: what users write is not put before the model."""
    generated = Case.objects.filter(created_by=None).order_by("-pk")
    return list(generated.values_list("title", flat=True)[:TITLES_TO_AVOID])
