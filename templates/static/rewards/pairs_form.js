/* Names with numbers (templates/admin/pairs_form.html): drawn from the JSON in the textarea, and written back into it. */
"use strict";

(() => {
    const isObject = value => typeof value === "object" && value !== null && !Array.isArray(value);
    const isNumber = value => ["string", "number"].includes(typeof value);

    class PairsForm {
        constructor(root) {
            this.textarea = root.querySelector("textarea");
            this.form = root.querySelector("[data-pairs-form]");
            this.rows = root.querySelector("[data-rows]");
            this.unsaid = root.querySelector("[data-pairs-unsaid]");
            this.part = root.querySelector("template[data-part=pair]").content;
            this.textarea.addEventListener("input", () => this.read());
            root.querySelector("[data-add]").addEventListener("click", () => {
                this.pairs.push(["", ""]);
                this.draw(this.pairs.length - 1);
            });
            this.read();
            root.querySelector("[data-pairs-json]").open = this.form.hidden;
        }

        read() {
            let value;
            try {
                value = JSON.parse(this.textarea.value || "{}");
            } catch {
                value = null;
            }
            const sayable = isObject(value) && Object.values(value).every(isNumber);
            this.form.hidden = !sayable;
            this.unsaid.hidden = sayable;
            if (sayable) {
                this.pairs = Object.entries(value).map(([name, number]) => [name, String(number)]);
                if (this.pairs.length === 0) this.pairs.push(["", ""]);
                this.draw();
            }
        }

        draw(focusOn = null) {
            this.rows.replaceChildren(...this.pairs.map((pair, index) => this.drawn(pair, index)));
            this.rows.children[focusOn]?.querySelector("input").focus();
            this.markTwice();
        }

        drawn(pair, index) {
            const row = this.part.cloneNode(true).firstElementChild;
            const name = row.querySelector("[data-name]"), value = row.querySelector("[data-value]");
            row.setAttribute("aria-label", `Row ${index + 1}`);
            [name.value, value.value] = pair;
            name.addEventListener("input", () => this.write(pair, 0, name.value));
            value.addEventListener("input", () => this.write(pair, 1, value.value));
            row.querySelector("[data-remove]").addEventListener("click", () => {
                this.pairs.splice(index, 1);
                this.put();
                this.draw(Math.min(index, this.pairs.length - 1));
            });
            return row;
        }

        write(pair, place, text) {
            pair[place] = text.trim();
            this.put();
            this.markTwice();
        }

        /* Rows in which nothing stands are not there. */
        put() {
            const written = this.pairs.filter(([name, value]) => name || value);
            this.textarea.value = JSON.stringify(Object.fromEntries(written), null, 2);
        }

        markTwice() {
            const names = this.pairs.map(([name]) => name);
            this.pairs.forEach(([name], index) => {
                this.rows.children[index].querySelector("[data-twice]").hidden = !name || names.indexOf(name) === index;
            });
        }
    }

    document.addEventListener("DOMContentLoaded", () =>
        document.querySelectorAll("[data-pairs]").forEach(root => new PairsForm(root)));
})();
