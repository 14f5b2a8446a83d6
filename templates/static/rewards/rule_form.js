/* The form of a rule (templates/admin/rule_form.html): drawn from the JSON in its textarea, and written back into it.
   Errors and words come from the server, which alone knows what a rule means. */
"use strict";

(() => {
    const CHECK_AFTER_MS = 300;
    const WHO = {top: "How many places", top_percent: "How many %", group: "Which group"};
    const NEW = {
        equal: () => ({rule: "equal"}),
        fixed: () => ({rule: "fixed"}),
        proportional: () => ({rule: "proportional"}),
        tiers: () => ({rule: "tiers", tiers: [{to: 1, share: "0.5"}, {to: 10, share: "0.5"}]}),
        slices: () => ({rule: "slices", slices: [newSlice("everybody")]}),
    };

    const newSlice = name => ({name, weight: "1", members: {all: true}, rule: {rule: "equal"}});
    const newTier = last => ({to: typeof last?.to === "number" ? last.to * 10 : null, [last && "share" in last ? "share" : "each"]: ""});

    // ---------------------------------------------------------------------------- what the form has fields for

    const isObject = value => typeof value === "object" && value !== null && !Array.isArray(value);
    const isScalar = value => value === null || ["string", "number"].includes(typeof value);
    const has = (value, required, optional = []) =>
        isObject(value) && required.every(key => key in value) &&
        Object.keys(value).every(key => required.includes(key) || optional.includes(key));

    const SAYABLE = {
        equal: rule => has(rule, ["rule"]),
        fixed: rule => has(rule, ["rule"]),
        proportional: rule =>
            has(rule, ["rule"], ["by", "max_share", "max_amount", "min_amount", "weight_cap"]) &&
            [rule.by, rule.max_share, rule.max_amount, rule.min_amount].every(value => value === undefined || isScalar(value)) &&
            (rule.weight_cap == null || has(rule.weight_cap, [], ["times", "mean_of_top_percent"])),
        tiers: rule =>
            has(rule, ["rule", "tiers"], ["by"]) && [undefined, "position", "rank"].includes(rule.by) &&
            Array.isArray(rule.tiers) && rule.tiers.every(tier =>
                has(tier, ["to"], ["each", "share", "name"]) && Object.values(tier).every(isScalar) &&
                ("each" in tier) !== ("share" in tier)),
        slices: rule =>
            has(rule, ["rule", "slices"]) && Array.isArray(rule.slices) && rule.slices.every(slice =>
                has(slice, ["name", "weight", "members", "rule"]) && isScalar(slice.name) && isScalar(slice.weight) &&
                membersSayable(slice.members) && sayable(slice.rule)),
    };

    function membersSayable(members) {
        const [who, ...others] = ["all", "top", "top_percent", "group"].filter(key => isObject(members) && key in members);
        return who !== undefined && others.length === 0 && has(members, [who], ["min_score", "at_least"]) &&
            (who === "all" ? members.all === true : isScalar(members[who])) &&
            (members.min_score === undefined || isScalar(members.min_score)) &&
            (members.at_least === undefined || (isObject(members.at_least) && Object.values(members.at_least).every(isScalar)));
    }

    const sayable = rule => isObject(rule) && rule.rule in SAYABLE && SAYABLE[rule.rule](rule);

    // ------------------------------------------------------------------------------------------------ the form

    class RuleForm {
        constructor(root) {
            this.root = root;
            this.textarea = root.querySelector("textarea");
            this.form = root.querySelector("[data-rule-form]");
            this.left = new Map(); // what was there before another kind was chosen: who comes back finds it
            this.textarea.addEventListener("input", () => {
                if (!this.writing) {
                    this.read();
                    this.checkSoon();
                }
            });
            this.textarea.form?.elements.currency?.addEventListener("change", () => this.checkSoon());
            this.read();
            root.querySelector("[data-rule-json]").open = !this.said;
            this.showProblem(root.dataset.refusedPath, root.dataset.refused);
        }

        read() {
            let rule;
            try {
                rule = JSON.parse(this.textarea.value || '{"rule": "equal"}');
            } catch {
                rule = null;
            }
            this.said = sayable(rule) && this.hasFieldsFor(rule);
            this.root.querySelector("[data-rule-unsaid]").hidden = this.said;
            this.form.hidden = !this.said;
            if (this.said) {
                this.holder = {rule};
                this.draw();
            }
        }

        /* The page leaves out what its participants do not have: a kind, measures, groups. */
        hasFieldsFor(rule) {
            const offered = (part, field) => this.root.querySelector(`template[data-part=${part}]`).content.querySelector(field);
            const members = (rule.slices ?? []).map(slice => slice.members);
            return offered("rule", `option[value=${rule.rule}]`) !== null &&
                (rule.by === undefined || rule.rule === "tiers" || offered("proportional", "[data-key=by]") !== null) &&
                members.every(each => !("group" in each) || offered("slice", "option[value=group]") !== null) &&
                (rule.slices ?? []).every(slice => this.hasFieldsFor(slice.rule));
        }

        draw(focusOn = null) {
            this.form.replaceChildren(this.drawnRule(this.holder, "rule", ""));
            this.form.querySelectorAll("[data-path]").forEach(each => {
                if (each.dataset.path === focusOn) {
                    (each.matches("input, select") ? each : each.querySelector("input, select"))?.focus();
                }
            });
        }

        /* After a change: the textarea says the same, whoever listens to it hears of it, the server is asked. */
        write() {
            this.textarea.value = JSON.stringify(this.holder.rule, null, 2);
            this.writing = true;
            this.textarea.dispatchEvent(new Event("input", {bubbles: true}));
            this.writing = false;
            this.checkSoon();
        }

        redraw(focusOn) {
            this.write();
            this.draw(focusOn);
        }

        part(name) {
            return this.root.querySelector(`template[data-part=${name}]`).content.cloneNode(true).firstElementChild;
        }

        parts(name) {
            return this.root.querySelector(`template[data-part=${name}]`).content.cloneNode(true);
        }

        drawnRule(owner, key, path) {
            const part = this.part("rule"), kind = part.querySelector("[data-kind]"), rule = owner[key];
            part.dataset.path = path;
            kind.dataset.path = at(path, "rule");
            kind.value = rule.rule;
            kind.addEventListener("change", () => {
                this.left.set(`${path} ${rule.rule}`, rule);
                owner[key] = this.left.get(`${path} ${kind.value}`) ?? NEW[kind.value]();
                this.redraw(at(path, "rule"));
            });
            const body = part.querySelector("[data-body]");
            if (rule.rule === "proportional") body.append(this.drawnProportional(rule, path));
            if (rule.rule === "tiers") body.append(this.drawnTiers(rule, path));
            if (rule.rule === "slices") body.append(this.drawnSlices(rule, path));
            return part;
        }

        drawnProportional(rule, path) {
            const drawn = this.parts("proportional"), capped = drawn.querySelector("[data-weight-cap]");
            for (const input of drawn.querySelectorAll("[data-limits] [data-key]")) {
                this.bind(input, rule, input.dataset.key, path);
            }
            capped.open = Boolean(rule.weight_cap);
            for (const input of capped.querySelectorAll("[data-key]")) {
                input.value = rule.weight_cap?.[input.dataset.key] ?? "";
                input.dataset.path = at(at(path, "weight_cap"), input.dataset.key);
                input.addEventListener("input", () => {
                    rule.weight_cap ??= {};
                    put(rule.weight_cap, input.dataset.key, input.value.trim());
                    if (Object.keys(rule.weight_cap).length === 0) delete rule.weight_cap;
                    this.write();
                });
            }
            capped.dataset.path = at(path, "weight_cap");
            return drawn;
        }

        drawnTiers(rule, path) {
            const drawn = this.parts("tiers"), by = drawn.querySelector("[data-by]"), rows = drawn.querySelector("[data-rows]");
            by.value = rule.by ?? "position";
            by.dataset.path = at(path, "by");
            by.addEventListener("change", () => {
                rule.by = by.value;
                this.write();
            });
            rows.dataset.path = at(path, "tiers");
            rule.tiers.forEach((tier, index) => rows.append(this.drawnTier(rule, index, path)));
            drawn.querySelector("[data-add]").addEventListener("click", () => {
                rule.tiers.push(newTier(rule.tiers.at(-1)));
                this.redraw(`${at(path, "tiers")}[${rule.tiers.length - 1}]`);
            });
            return drawn;
        }

        drawnTier(rule, index, path) {
            const row = this.part("tier"), tier = rule.tiers[index], own = `${at(path, "tiers")}[${index}]`;
            const pays = row.querySelector("[data-pays]"), value = row.querySelector("[data-value]");
            row.dataset.path = own;
            row.setAttribute("aria-label", `Tier ${index + 1}`);
            this.bind(row.querySelector("[data-key=to]"), tier, "to", own, {whole: true, blank: null});
            this.bind(row.querySelector("[data-key=name]"), tier, "name", own);
            const write = () => {
                tier[pays.value] = value.value.trim();
                value.dataset.path = at(own, pays.value);
                value.placeholder = pays.value === "share" ? "such as 0.3" : "such as 100";
            };
            pays.value = "share" in tier ? "share" : "each";
            value.value = tier[pays.value] ?? "";
            value.dataset.path = at(own, pays.value);
            pays.addEventListener("change", () => {
                delete tier.each;
                delete tier.share;
                write();
                this.write();
            });
            value.addEventListener("input", () => {
                write();
                this.write();
            });
            this.removable(row, rule.tiers, index, at(path, "tiers"));
            return row;
        }

        drawnSlices(rule, path) {
            const drawn = this.parts("slices"), rows = drawn.querySelector("[data-rows]");
            rows.dataset.path = at(path, "slices");
            rule.slices.forEach((slice, index) => rows.append(this.drawnSlice(rule, index, path)));
            drawn.querySelector("[data-add]").addEventListener("click", () => {
                rule.slices.push(newSlice(""));
                this.redraw(`${at(path, "slices")}[${rule.slices.length - 1}]`);
            });
            return drawn;
        }

        drawnSlice(rule, index, path) {
            const block = this.part("slice"), slice = rule.slices[index], own = `${at(path, "slices")}[${index}]`;
            block.dataset.path = own;
            block.setAttribute("aria-label", `Slice ${index + 1}`);
            this.bind(block.querySelector("[data-key=name]"), slice, "name", own, {blank: ""});
            this.bind(block.querySelector("[data-key=weight]"), slice, "weight", own, {blank: ""});
            this.drawMembers(block, slice.members, at(own, "members"));
            block.querySelector("[data-inner]").append(this.drawnRule(slice, "rule", at(own, "rule")));
            this.removable(block, rule.slices, index, at(path, "slices"));
            return block;
        }

        drawMembers(block, members, path) {
            const who = block.querySelector("[data-who]"), of = block.querySelector("[data-of]");
            const chosen = ["all", "top", "top_percent", "group"].find(key => key in members);
            block.querySelector("[data-members]").dataset.path = path;
            who.value = chosen;
            who.dataset.path = at(path, "all");
            who.addEventListener("change", () => {
                delete members[chosen];
                const others = {...members};
                Object.keys(members).forEach(key => delete members[key]);
                Object.assign(members, {[who.value]: who.value === "all" ? true : ""}, others);
                this.redraw(at(path, "all"));
            });
            of.hidden = chosen === "all";
            if (chosen !== "all") {
                of.querySelector("[data-of-label]").textContent = WHO[chosen];
                const input = of.querySelector("[data-of-value]");
                input.inputMode = chosen === "group" ? "text" : "decimal";
                this.bind(input, members, chosen, path, {whole: chosen === "top", blank: ""});
            }
            block.querySelector("[data-conditions]").open = "min_score" in members || "at_least" in members;
            this.bind(block.querySelector("[data-key=min_score]"), members, "min_score", path);
            this.drawThresholds(block, members, at(path, "at_least"));
        }

        drawThresholds(block, members, path) {
            const rows = block.querySelector("[data-least]"), pairs = Object.entries(members.at_least ?? {});
            rows.dataset.path = path;
            const write = () => {
                members.at_least = Object.fromEntries(pairs);
                if (pairs.length === 0) delete members.at_least;
            };
            pairs.forEach((pair, index) => {
                const row = this.part("least"), name = row.querySelector("[data-least-name]"), least = row.querySelector("[data-least-value]");
                [name.value, least.value] = pair;
                least.dataset.path = at(path, pair[0]);
                name.addEventListener("input", () => this.writeAfter(() => { pair[0] = name.value.trim(); write(); }));
                least.addEventListener("input", () => this.writeAfter(() => { pair[1] = least.value.trim(); write(); }));
                row.querySelector("[data-remove]").addEventListener("click", () => {
                    pairs.splice(index, 1);
                    write();
                    this.redraw(path);
                });
                rows.append(row);
            });
            block.querySelector("[data-add-least]")?.addEventListener("click", () => {
                pairs.push(["", ""]);
                write();
                this.redraw(at(path, ""));
            });
        }

        writeAfter(change) {
            change();
            this.write();
        }

        /* An input that writes one key. `blank`: what stands there when nothing does; left out: the key goes. */
        bind(input, owner, key, path, {whole = false, blank} = {}) {
            input.value = owner[key] ?? "";
            input.dataset.path = at(path, key);
            input.addEventListener("input", () => this.writeAfter(() => {
                const text = input.value.trim();
                if (text === "" && blank !== undefined) owner[key] = blank;
                else put(owner, key, whole ? wholeNumber(text) : text);
            }));
        }

        removable(part, list, index, path) {
            part.querySelector("[data-remove]").addEventListener("click", () => {
                list.splice(index, 1);
                this.redraw(list.length ? `${path}[${Math.min(index, list.length - 1)}]` : path);
            });
        }

        // ------------------------------------------------------------------------------- what the server says

        checkSoon() {
            clearTimeout(this.timer);
            this.timer = setTimeout(() => this.check(), CHECK_AFTER_MS);
        }

        async check() {
            const form = this.textarea.form, asked = this.textarea.value;
            const currency = form.elements.currency?.value ?? this.textarea.dataset.currency ?? "";
            const answer = await fetch(this.root.dataset.url, {
                method: "POST",
                headers: {"X-CSRFToken": form.elements.csrfmiddlewaretoken.value},
                body: new URLSearchParams({rule: asked, currency}),
            });
            if (!answer.ok || asked !== this.textarea.value) return;
            const {words, path, sentence} = await answer.json();
            this.root.querySelector("[data-rule-words]").innerHTML = words;
            this.showProblem(path, sentence);
        }

        /* At the field it belongs to, brought to light; else at the nearest part around it. */
        showProblem(path, sentence) {
            this.root.querySelectorAll("[data-problem]").forEach(each => each.remove());
            this.root.querySelectorAll("[aria-invalid]").forEach(each => each.removeAttribute("aria-invalid"));
            if (!sentence) return;
            const said = document.createElement("p");
            said.dataset.problem = "";
            said.className = "rewards-rule-problem";
            said.setAttribute("role", "alert");
            said.textContent = sentence;
            const place = this.said ? this.placeOf(path ?? "") : this.textarea;
            if (place.matches("input, select, textarea")) place.setAttribute("aria-invalid", "true");
            const row = place.closest(".rewards-rule-row, .rewards-rule-fields");
            if (row) row.append(said);  // below its fields, as wide as all of them
            else if (place.hasAttribute("aria-invalid")) place.after(said);
            else place.append(said);
            for (let fold = place.closest("details"); fold; fold = fold.parentElement.closest("details")) fold.open = true;
        }

        placeOf(path) {
            const places = new Map([...this.form.querySelectorAll("[data-path]")].map(each => [each.dataset.path, each]));
            for (let part = path; part; part = part.replace(/(\.[^.[\]]*|\[\d+\]|^[^.[\]]+)$/, "")) {
                if (places.has(part)) return places.get(part);
            }
            return this.form;
        }
    }

    const at = (path, key) => (path ? `${path}.${key}` : key);

    const wholeNumber = text => (/^\d{1,15}$/.test(text) ? Number(text) : text);

    function put(owner, key, value) {
        if (value === "") delete owner[key];
        else owner[key] = value;
    }

    document.addEventListener("DOMContentLoaded", () =>
        document.querySelectorAll("[data-rule]").forEach(root => new RuleForm(root)));
})();
