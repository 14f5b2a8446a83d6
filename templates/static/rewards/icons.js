// The icons of the theme are words drawn as pictures by their font; read aloud they would stand before every name.
// An icon that is all a button or a link says stays, or that would say nothing.
document.addEventListener("DOMContentLoaded", () => {
    for (const icon of document.querySelectorAll(".material-symbols-outlined:not([aria-hidden])")) {
        const control = icon.closest("a, button");
        const isNamed = !control || control.ariaLabel || control.title
            || control.textContent.trim() !== icon.textContent.trim();
        if (isNamed) icon.setAttribute("aria-hidden", "true");
    }
});
