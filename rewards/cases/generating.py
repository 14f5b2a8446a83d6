"""Writing cases: a dilemma and its verdict from the generator, committed to the chain before it opens."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import IntegrityError, transaction
from django.views.decorators.debug import sensitive_variables

from rewards.audit.services import record
from rewards.cases.commitments import Outcome, bring_on
from rewards.cases.failures import note_failure
from rewards.cases.generator import GeneratorFailed, WrittenCase, write_case
from rewards.cases.models import Case
from rewards.cases.sealing import commit, seal
from rewards.chain.errors import ChainUnavailable
from rewards.chain.services import broadcast
from rewards.jobs.progress import Steps, Unwatched
from rewards.parameters.services import param

MOST_TRIES = 100

logger = logging.getLogger(__name__)


@dataclass
class GenerateResult:
    """What a run did: how many cases it wrote, and how many of those are open already."""

    created: int = 0
    opened: int = 0

    def figures(self) -> dict[str, Any]:
        """For the row of the job: JSON."""
        return dict(vars(self))


def generate_case(at: datetime, progress: Steps | None = None) -> GenerateResult:
    """Write one case, commit its verdict to the chain, and open it where the chain has taken it already.

    Else `check_verdicts` opens it. While `cases.generate` is off nothing is written. Raises `GeneratorFailed`, and
    leaves nothing behind then.
    """
    progress, result = progress or Unwatched(), GenerateResult()
    if not param("cases.generate"):
        return result
    case = write_draft(at)
    result.created = 1
    broadcast(case.commitment, at)  # type: ignore[arg-type]
    result.opened = int(_is_open_at_once(case, at))
    progress.step(successes=1)
    return result


@sensitive_variables("written")
def write_draft(at: datetime) -> Case:
    """A draft with its sealed verdict, and the row of the transaction that is to commit it. Raises `GeneratorFailed`.

    The generator is asked outside of any transaction. Whoever finds that another process was faster with the same
    dilemma takes the next one.
    """
    for _ in range(MOST_TRIES):
        written = write_case()
        case = _keep(written, at)
        if case is not None:
            return case
    raise GeneratorFailed("Other processes were faster with each dilemma that was chosen. The next run tries again.")


@sensitive_variables("written")
def _keep(written: WrittenCase, at: datetime) -> Case | None:
    """The case with all that belongs to it, or None when this use of its dilemma is taken."""
    with transaction.atomic():
        case = _first_row(written, at)
        if case is not None:
            seal(case, written.verdict, written.reasoning, written.confidence)
            commitment = commit(case, at)
            about = {"case": case.pk, "verdict_hash": case.verdict_hash, "transaction": commitment.pk}
            record("case_generated", data=about)
    return case


@sensitive_variables("written")
def _first_row(written: WrittenCase, at: datetime) -> Case | None:
    use = {"dilemma": written.dilemma, "dilemma_use": written.dilemma_use}
    try:
        with transaction.atomic():
            return Case.objects.create(
                title=written.title, context=written.context, payout=param("cases.payout"), created_at=at, **use
            )
    except IntegrityError:
        if written.dilemma and Case.objects.filter(**use).exists():
            return None
        raise


def _is_open_at_once(case: Case, at: datetime) -> bool:
    """The draft stands whatever happens here: `check_verdicts` looks after it."""
    try:
        return bring_on(case, at) == Outcome.OPENED
    except ChainUnavailable as error:
        logger.warning("Case %s waits: %s", case.pk, error.message, extra={"event": "commitment_waits"})
    except Exception as error:
        note_failure(case.pk, error)
    return False
