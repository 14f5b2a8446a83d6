"""What axe-core, the usual machine check of accessibility, finds on a page as it stands. It replaces no person."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import Page

TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]
IMPACTS = ["serious", "critical"]

# Whatever is fading in is let arrive first: half a colour has half a contrast.
FINISH_ANIMATIONS = """() => document.getAnimations()
    .filter(animation => animation.effect.getComputedTiming().endTime !== Infinity)
    .forEach(animation => animation.finish())"""

# One object for each element that breaks a rule, in the order of the page.
RUN = """({tags, impacts, exceptions}) => {
    const options = {runOnly: {type: "tag", values: tags}, resultTypes: ["violations"], elementRef: true, preload: false};
    const excepted = (rule, element) => exceptions.some(([name, selector]) => name === rule && element.matches(selector));
    return axe.run(document, options).then(({violations}) => violations
        .filter(rule => impacts.includes(rule.impact))
        .flatMap(rule => rule.nodes
            .filter(node => !excepted(rule.id, node.element))
            .map(node => ({
                rule: rule.id, impact: rule.impact, help: rule.help, element: node.target.join(" "), html: node.html,
                why: [...node.any, ...node.all, ...node.none].map(check => check.message).join("; "),
            }))));
}"""  # noqa: E501


def assert_accessible(page: Page, *, except_for: Iterable[tuple[str, str]] = ()) -> None:
    """Fail when the page breaks a rule of WCAG 2.1 A or AA in a way that is serious or critical.

    The message names rule, element and what helps. `except_for`: pairs of a rule and a CSS selector of elements that
    may break it; say beside them why.
    """
    found = violations(page, except_for)
    assert not found, f"{page.url} has {len(found)} to mend:\n" + "\n".join(map(told, found))


def violations(page: Page, except_for: Iterable[tuple[str, str]] = ()) -> list[dict[str, str]]:
    """Each element that breaks a rule, with rule, impact, help, element (a selector), its HTML and why."""
    page.evaluate(FINISH_ANIMATIONS)
    page.evaluate(AXE_SCRIPT)
    arguments: dict[str, Any] = {"tags": TAGS, "impacts": IMPACTS, "exceptions": [list(each) for each in except_for]}
    return page.evaluate(RUN, arguments)


def told(violation: dict[str, str]) -> str:
    return "{rule} ({impact}): {help}\n  {element}\n  {html}\n  {why}".format_map(violation)
