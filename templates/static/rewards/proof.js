// Checks in the reader's own browser: that a row is part of a distribution's digest, and that a revealed verdict is the
// one that was committed. Nothing is asked of the server but the proof; the hashing is the browser's own (WebCrypto).
// The forms that are hashed are told in docs/pages.md; rewards/allocation/verify.py checks the same without a browser.
"use strict";

(() => {
    const HASH = /^[0-9a-f]{64}$/;
    const AMOUNT = /^[0-9]{1,40}(\.[0-9]{1,40})?$/;
    const LEAF_KEYS = ["amount", "breakdown", "position", "salt", "score", "user"];
    const NO_HASHING =
        "This browser offers no hashing here: it does so on a secure address alone (https, or this machine). " +
        "Check offline instead, as told below.";

    // ------------------------------------------------------------------------------------------------------- hashing

    const bytesOf = (text) => new TextEncoder().encode(text);
    const fromHex = (hex) => Uint8Array.from(hex.match(/../g) || [], (pair) => parseInt(pair, 16));
    const toHex = (buffer) => Array.from(new Uint8Array(buffer), (byte) => byte.toString(16).padStart(2, "0")).join("");

    async function sha256(...parts) {
        const whole = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
        let end = 0;
        for (const part of parts) {
            whole.set(part, end);
            end += part.length;
        }
        return toHex(await crypto.subtle.digest("SHA-256", whole));
    }

    /** Canonical JSON (RFC 8785) of text, whole numbers, lists and objects: keys by their UTF-16 units, no spaces. */
    function canonical(value) {
        if (typeof value === "string") {
            if (/[\ud800-\udfff]/u.test(value)) throw new Error("a text holds half a character");
            return JSON.stringify(value);
        }
        if (typeof value === "number") {
            if (!Number.isSafeInteger(value)) throw new Error("a number is not whole: amounts are written as text");
            return String(value);
        }
        if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`;
        if (value === null || typeof value === "boolean") return String(value);
        const members = Object.keys(value).sort().map((key) => `${canonical(key)}:${canonical(value[key])}`);
        return `{${members.join(",")}}`;
    }

    // ---------------------------------------------------------------------------------------------- the steps of a proof

    /** What is wrong with a proof before anything is hashed; empty where it can be followed. */
    function unreadable(proof) {
        if (typeof proof !== "object" || proof === null) return "This is no proof: it is not a JSON object.";
        const missing = ["root", "tree_size", "leaf_index", "leaf", "path"].filter((key) => !(key in proof));
        if (missing.length) return `This is no proof: it has no ${missing.join(", ")}.`;
        if (!HASH.test(proof.root)) return "The root of this proof is not 64 hex digits.";
        if (!Array.isArray(proof.path) || proof.path.length > 64 || !proof.path.every((node) => HASH.test(node))) {
            return "The path of this proof is not a list of hashes of 64 hex digits.";
        }
        if (![proof.tree_size, proof.leaf_index].every(Number.isSafeInteger)) {
            return "tree_size and leaf_index of this proof are not whole numbers.";
        }
        const leaf = proof.leaf;
        if (typeof leaf !== "object" || leaf === null || String(Object.keys(leaf).sort()) !== String(LEAF_KEYS)) {
            return `The row of this proof does not consist of ${LEAF_KEYS.join(", ")}.`;
        }
        return "";
    }

    /** The sum of decimal texts as a whole number of 10⁻⁴⁰, so that nothing is rounded; null where one is none. */
    function sum(amounts) {
        let total = 0n;
        for (const amount of amounts) {
            if (typeof amount !== "string" || !AMOUNT.test(amount)) return null;
            const [whole, fraction = ""] = amount.split(".");
            total += BigInt(whole + fraction.padEnd(40, "0"));
        }
        return total;
    }

    /** Each step of the check: {title, right (true, false; null: neither), lines: [[name, value]]}. */
    async function proofSteps(proof, published) {
        const leaf = proof.leaf, text = canonical(leaf), parts = sum(Object.values(leaf.breakdown || {}));
        const steps = [{
            title: "The row as it is hashed: canonical JSON",
            right: parts !== null && parts === sum([leaf.amount]) && leaf.position === proof.leaf_index,
            note: "Its parts add up to its amount, and it stands at the place that the proof is for.",
            lines: [["Row", text]],
        }];
        let current = await sha256(Uint8Array.of(0), bytesOf(text));
        steps.push({
            title: "Hash of the row", right: null, note: "SHA-256 of a zero byte and the row.", lines: [["Hash", current]],
        });
        let node = proof.leaf_index, last = proof.tree_size - 1, isComplete = node >= 0 && node <= last;
        for (const [number, sibling] of proof.path.entries()) {
            if (last === 0) { isComplete = false; break; }
            const isRight = node % 2 === 1 || node === last;
            const pair = isRight ? [sibling, current] : [current, sibling];
            current = await sha256(Uint8Array.of(1), fromHex(pair[0]), fromHex(pair[1]));
            steps.push({
                title: `Level ${number + 1} of ${proof.path.length}: joined with its neighbour on the ${isRight ? "left" : "right"}`,
                right: null,
                note: "SHA-256 of a one byte, the left hash and the right hash.",
                lines: [["Neighbour", sibling], ["Together", current]],
            });
            if (isRight) while (node % 2 === 0 && node !== 0) { node = Math.floor(node / 2); last = Math.floor(last / 2); }
            node = Math.floor(node / 2);
            last = Math.floor(last / 2);
        }
        steps.push({
            title: "The size of the tree",
            right: isComplete && last === 0 && proof.tree_size === published.treeSize,
            note: `The path ends at the top of a tree of ${published.treeSize} leaves: the header and every row.`,
            lines: [["Leaves", String(proof.tree_size)]],
        });
        steps.push({
            title: "Compared with the published digest",
            right: current === published.digest && proof.root === published.digest,
            note: "What the path leads to is the digest at the top of this page, and what the proof says it is.",
            lines: [["Worked out", current], ["Published", published.digest]],
        });
        return steps;
    }

    /** What shows that the check can fail: the same proof with one unit more in its row. */
    function withOneUnitMore(proof, unit) {
        const places = (unit.split(".")[1] || "").length, changed = structuredClone(proof);
        const more = (amount) => {
            const [whole, fraction = ""] = amount.split(".");
            const minor = String(BigInt(whole + fraction.padEnd(places, "0")) + 1n).padStart(places + 1, "0");
            return places ? `${minor.slice(0, -places)}.${minor.slice(-places)}` : minor;
        };
        changed.leaf.amount = more(changed.leaf.amount);
        const first = Object.keys(changed.leaf.breakdown)[0];
        if (first) changed.leaf.breakdown[first] = more(changed.leaf.breakdown[first]);
        return changed;
    }

    // ------------------------------------------------------------------------------------------------- what is shown

    function element(tag, className, text) {
        const made = document.createElement(tag);
        if (className) made.className = className;
        if (text !== undefined) made.textContent = text;
        return made;
    }

    function mark(right) {
        const shown = element("span", `check-mark ${right === null ? "done" : right ? "right" : "wrong"}`);
        const sign = element("span", "", right === null ? "·" : right ? "✓" : "✗");
        sign.setAttribute("aria-hidden", "true");
        shown.append(sign, element("span", "check-word", right === null ? "done" : right ? "right" : "wrong"));
        return shown;
    }

    function listed(steps) {
        const list = element("ol", "check-steps");
        for (const step of steps) {
            const item = element("li", "check-step"), head = element("p", "check-title"), lines = element("dl", "check-lines");
            head.append(mark(step.right), element("strong", "", step.title));
            for (const [name, value] of step.lines) lines.append(element("dt", "", name), element("dd", "", value));
            item.append(head, element("p", "check-note", step.note), lines);
            list.append(item);
        }
        return list;
    }

    /** Say the result in the live region of a check, and lay its steps below. */
    function show(root, right, sentence, steps) {
        const result = root.querySelector("[data-check-result]");
        result.replaceChildren();
        result.className = `check-result ${right ? "right" : "wrong"}`;
        result.append(mark(right), element("span", "", sentence));
        root.querySelector("[data-check-steps]").replaceChildren(...(steps.length ? [listed(steps)] : []));
        root.dataset.checked = right ? "right" : "wrong";
    }

    const allRight = (steps) => steps.every((step) => step.right !== false);

    async function checkProof(root, proof, sentences) {
        const published = { digest: root.dataset.digest, treeSize: Number(root.dataset.treeSize) };
        try {
            const wrong = unreadable(proof);
            if (wrong) return show(root, false, wrong, []);
            const steps = await proofSteps(proof, published), right = allRight(steps);
            show(root, right, sentences[right ? "right" : "wrong"](proof.leaf), steps);
        } catch (error) {
            show(root, false, `This proof cannot be followed: ${error.message}.`, []);
        }
    }

    const OWN = {
        right: (leaf) => `Your row is part of the digest: ${leaf.user}, place ${leaf.position}, ${leaf.amount}.`,
        wrong: () => "This proof does not lead to the published digest. Tell an operator, and keep the file.",
    };
    const CHANGED = {
        right: () => "The changed row still leads to the digest: do not trust this check.",
        wrong: (leaf) => `As it must be: with ${leaf.amount} instead, the row does not lead to the digest.`,
    };
    const PASTED = {
        right: (leaf) => `This row is part of the digest: ${leaf.user}, place ${leaf.position}, ${leaf.amount}.`,
        wrong: () => "This proof does not lead to the digest of this distribution.",
    };

    // ----------------------------------------------------------------------------------------------- own proof, pasted

    async function fetched(address) {
        const answer = await fetch(address, { headers: { Accept: "application/json" }, credentials: "same-origin" });
        const body = await answer.json();
        if (!answer.ok) throw new Error(body.detail || `the server answered ${answer.status}`);
        return body;
    }

    function setUpProof(root) {
        const check = root.querySelector("[data-check-own]"), change = root.querySelector("[data-check-changed]");
        let proof = null;
        const own = async () => {
            check.setAttribute("aria-busy", "true");
            try {
                proof = proof || await fetched(root.dataset.proof);
                await checkProof(root, proof, OWN);
                change.hidden = false;
            } catch (error) {
                show(root, false, `The proof could not be fetched: ${error.message}. Try again in a moment.`, []);
            }
            check.removeAttribute("aria-busy");
        };
        check.addEventListener("click", own);
        change.addEventListener("click", () => checkProof(root, withOneUnitMore(proof, root.dataset.unit), CHANGED));
        check.disabled = false;
    }

    function setUpPasted(root) {
        const form = root.querySelector("form");
        form.addEventListener("submit", async (event) => {
            event.preventDefault();
            let proof;
            try {
                proof = JSON.parse(form.elements.proof.value);
            } catch {
                return show(root, false, "This is not JSON. Paste the whole file, from { to }.", []);
            }
            await checkProof(root, proof, PASTED);
        });
        form.querySelector("button").disabled = false;
    }

    // ------------------------------------------------------------------------------------------------ revealed verdict

    async function verdictSteps(told) {
        const text = [told.verdict, told.reasoning, told.nonce].join("|");
        const hash = await sha256(bytesOf(text));
        const steps = [
            {
                title: "What was sealed, as it is hashed", right: null,
                note: "Verdict, reasoning and nonce as UTF-8, with | between them.", lines: [["Text", text]],
            },
            { title: "Its hash", right: null, note: "SHA-256 of this text.", lines: [["Hash", hash]] },
            {
                title: "Compared with the published hash", right: hash === told.verdict_hash,
                note: "Both are the same, to the last digit.", lines: [["Worked out", hash], ["Published", told.verdict_hash]],
            },
        ];
        if (told.tx_hash) steps.push({
            title: "Compared with what the chain transaction carries", right: hash === told.payload_hash,
            note: "When it was sent stands below. Look it up on the chain to be sure of both: what it carries, and since when.",
            lines: [["Carried", told.payload_hash], ["Transaction", told.tx_hash]],
        });
        return steps;
    }

    function setUpVerdict(root) {
        const told = JSON.parse(document.getElementById(root.dataset.verdict).textContent);
        const change = root.querySelector("[data-check-changed]");
        const other = { ...told, verdict: told.verdict === "YES" ? "NO" : "YES" };
        const check = async () => {
            const steps = await verdictSteps(told), right = allRight(steps);
            show(root, right, right
                ? "This is the verdict that was committed: its hash is the published one."
                : "This is not the verdict that was committed. Tell an operator, and keep this page.", steps);
            change.hidden = false;
        };
        change.addEventListener("click", async () => {
            const steps = await verdictSteps(other), right = allRight(steps);
            show(root, right, right
                ? "The other verdict has the same hash: do not trust this check."
                : `As it must be: with ${other.verdict} instead, the hash is another one.`, steps);
        });
        const button = root.querySelector("[data-check-own]");
        button.addEventListener("click", check);
        button.disabled = false;
    }

    // ------------------------------------------------------------------------------------------------------- start

    const kinds = [["[data-proof]", setUpProof], ["[data-pasted]", setUpPasted], ["[data-verdict]", setUpVerdict]];
    for (const [selector, setUp] of kinds) {
        for (const root of document.querySelectorAll(selector)) {
            if (window.crypto && crypto.subtle) setUp(root);
            else root.querySelector("[data-check-result]").textContent = NO_HASHING;
        }
    }
})();
