"""What axe-core, the usual machine check of accessibility, finds on a page as it stands. It replaces no person."""

from __future__ import annotations

from collections.abc import Iterable

from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import Page

TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]
# What may differ between light and dark.
COLOUR_RULES = ["color-contrast", "link-in-text-block"]
IMPACTS = ["serious", "critical"]

# Whatever is fading in is let arrive first: half a colour has half a contrast.
FINISH_ANIMATIONS = """() => document.getAnimations()
    .filter(animation => animation.effect.getComputedTiming().endTime !== Infinity)
    .forEach(animation => animation.finish())"""

# One object for each element that breaks a rule, in the order of the page.
RUN = """({runOnly, impacts, exceptions}) => {
    const options = {runOnly, resultTypes: ["violations"], elementRef: true, preload: false};
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


def violations(
    page: Page, except_for: Iterable[tuple[str, str]] = (), *, rules: list[str] | None = None
) -> list[dict[str, str]]:
    """Each element that breaks a rule (of `rules`, where given): rule, impact, help, element, its HTML and why."""
    page.evaluate(FINISH_ANIMATIONS)
    if not page.evaluate("'axe' in window"):
        page.evaluate(AXE_SCRIPT)
    only = {"type": "tag", "values": TAGS} if rules is None else {"type": "rule", "values": rules}
    exceptions = [list(each) for each in except_for]
    return page.evaluate(RUN, {"runOnly": only, "impacts": IMPACTS, "exceptions": exceptions})


def told(violation: dict[str, str]) -> str:
    return "{rule} ({impact}): {help}\n  {element}\n  {html}\n  {why}".format_map(violation)
