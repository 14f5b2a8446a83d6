// Before anything is painted: the look that the reader chose, where he chose one. Else the machine's holds.
(() => {
    try {
        const chosen = localStorage.getItem("theme");
        if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
    } catch {
        // A browser that keeps nothing has the machine's look.
    }
})();
