// What pages for recipients do beside htmx. Every page works without it.

// The button that changes between light and dark. It is hidden where there is no JavaScript.
const toggle = document.querySelector("[data-theme-toggle]");
if (toggle) {
    const root = document.documentElement;
    const dark = matchMedia("(prefers-color-scheme: dark)");
    const shown = () => root.dataset.theme || (dark.matches ? "dark" : "light");
    const tell = () => toggle.setAttribute("aria-pressed", String(shown() === "dark"));
    toggle.hidden = false;
    toggle.addEventListener("click", () => {
        root.dataset.theme = shown() === "dark" ? "light" : "dark";
        try {
            localStorage.setItem("theme", root.dataset.theme);
        } catch {
            // Then it holds for this page.
        }
        tell();
    });
    dark.addEventListener("change", tell);
    tell();
}

// What htmx put on the page is read out and can be left by keyboard: the button that opened it closes it again.
document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-closes]");
    if (!button) return;
    const body = document.getElementById(button.dataset.closes);
    const opener = document.querySelector(`[aria-controls="${button.dataset.closes}"]`);
    body.replaceChildren();
    if (opener) {
        opener.setAttribute("aria-expanded", "false");
        opener.focus();
    }
});
document.addEventListener("htmx:afterSwap", (event) => {
    const opener = event.target.id && document.querySelector(`[aria-controls="${event.target.id}"]`);
    if (opener) opener.setAttribute("aria-expanded", "true");
});

// An answer that is an error, or none at all, htmx puts nowhere. It is said beside what was pressed.
function tellFailure(event) {
    const { elt, target, xhr } = event.detail;
    const answer = new DOMParser().parseFromString(xhr.responseText, "text/html");
    const notice = document.createElement("p");
    notice.className = "notice notice-bad";
    notice.setAttribute("role", "alert");
    notice.dataset.failure = "";
    notice.textContent = answer.querySelector(".notice-bad")?.textContent
        || "That did not work. Load the page again, and try once more.";
    for (const earlier of document.querySelectorAll("[data-failure]")) earlier.remove();
    const form = elt.closest("form");
    if (form) form.after(notice);
    else target.replaceChildren(notice);
}
document.addEventListener("htmx:responseError", tellFailure);
document.addEventListener("htmx:sendError", tellFailure);
