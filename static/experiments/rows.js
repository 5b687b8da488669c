/* Text of lines "name: value" as rows. The text area stays what is sent, and what there is without
   this script; a text that is not of such lines is left as text. */
"use strict";

const make = (kind, properties, ...inner) => {
  const made = Object.assign(document.createElement(kind), properties);
  made.append(...inner);
  return made;
};
const button = (words, label) => {
  const made = make("button", { type: "button", className: "at-button", textContent: words });
  if (label) made.setAttribute("aria-label", label);
  return made;
};

/* `what` is what a row holds, `suggested` gives { name: an example of its value } for now. */
function rowsOf(text, what, value, suggested) {
  const names = make("datalist", { id: `${text.id}-names` });
  const rows = make("div", { className: "at-rows" });
  const add = button(`Add a ${what}`);
  const toggle = button("As text");
  const editor = make("div", {}, rows, names);
  editor.setAttribute("role", "group");
  editor.setAttribute("aria-label", `One ${what} a row`);

  const parsed = () => {
    const lines = text.value.split("\n").filter((line) => line.trim());
    const pairs = lines.map((line) => /^([^:{]+):\s*([^\s{].*)$/.exec(line));
    return pairs.every((pair) => pair && !/^\s/.test(pair[0])) ? pairs.map((pair) => [pair[1].trim(), pair[2].trim()]) : null;
  };
  const changed = () => {
    text.value = [...rows.children]
      .map((row) => [...row.querySelectorAll("input")].map((input) => input.value.trim()))
      .filter((pair) => pair.some(Boolean))
      .map((pair) => pair.join(": "))
      .join("\n");
    text.dispatchEvent(new Event("input", { bubbles: true }));
  };
  const input = (value) => make("input", { type: "text", value, className: "at-input at-code" });
  /* What is said of each row depends on where it is, and on what is suggested for now. */
  const describe = () => {
    const examples = suggested();
    const [first, its] = Object.entries(examples)[0] || ["", ""];
    const like = (example) => (example ? `for example ${example}` : "");
    [...rows.children].forEach((row, at) => {
      const [name, given] = row.querySelectorAll("input");
      const title = `${what[0].toUpperCase()}${what.slice(1)} ${at + 1}`;
      name.setAttribute("aria-label", `${title}: name`);
      given.setAttribute("aria-label", `${title}: ${value}`);
      row.querySelector("button").setAttribute("aria-label", `Remove ${what} ${at + 1}`);
      name.placeholder = like(first);
      given.placeholder = like(name.value.trim() ? examples[name.value.trim()] : its);
    });
  };
  const suggest = () => {
    names.replaceChildren(
      ...Object.entries(suggested()).map(([name, example]) => make("option", { value: name, label: example })),
    );
    describe();
  };
  const addRow = (first = "", second = "") => {
    const name = input(first);
    const given = input(second);
    const remove = button("×");
    const row = make("div", { className: "at-row-inputs" }, name, given, remove);
    name.setAttribute("list", names.id);
    row.addEventListener("input", () => {
      unmark(row);
      describe();
      changed();
    });
    row.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.target === remove) return;
      event.preventDefault(); // Here it is the next line, and does not send the form
      if (event.target === name) given.focus();
      else if (row.nextElementSibling) row.nextElementSibling.firstElementChild.focus();
      else added().focus();
    });
    name.addEventListener("paste", (event) => {
      const lines = event.clipboardData.getData("text").trim();
      if (name.value || !lines.includes(":")) return;
      event.preventDefault(); // Whole lines, a row each
      row.remove();
      changed();
      text.value = [text.value, lines].filter(Boolean).join("\n");
      show(true);
      text.dispatchEvent(new Event("input", { bubbles: true }));
      (text.hidden ? add : text).focus();
    });
    remove.addEventListener("click", () => {
      const next = row.nextElementSibling || row.previousElementSibling;
      row.remove();
      describe();
      changed();
      (next ? next.querySelector("button") : add).focus();
    });
    rows.append(row);
    return name;
  };
  const added = () => {
    const name = addRow();
    describe();
    return name;
  };
  const unmark = (row) => {
    row.querySelectorAll("[aria-invalid]").forEach((one) => {
      one.removeAttribute("aria-invalid");
      one.removeAttribute("aria-describedby");
    });
    row.querySelectorAll("p").forEach((one) => one.remove());
  };
  /* An error that the page has below is said in its row. */
  const mark = () => {
    const wrong = [...document.querySelectorAll(`#${text.id}_error li`)];
    [...rows.children].forEach((row, at) => {
      const name = row.querySelector("input").value.trim().split(" ")[0];
      const line = `line ${at + 1}: `;
      const mine = wrong.find((one) => {
        const said = one.textContent.trim();
        return said.startsWith(line) || (name && said.startsWith(name) && ":.[".includes(said.charAt(name.length)));
      });
      if (!mine) return;
      const said = mine.textContent.trim();
      const words = said.startsWith(line) ? said.slice(line.length) : said;
      const told = make("p", { id: `${text.id}-wrong-${at + 1}`, className: "at-text-bad", textContent: words });
      row.append(told);
      row.querySelectorAll("input").forEach((one) => {
        one.setAttribute("aria-invalid", "true");
        one.setAttribute("aria-describedby", told.id);
      });
      mine.hidden = true;
    });
  };
  const show = (asRows) => {
    const pairs = asRows ? parsed() : null;
    rows.replaceChildren();
    if (pairs) pairs.concat(pairs.length ? [] : [["", ""]]).forEach((pair) => addRow(...pair));
    describe();
    editor.hidden = add.hidden = !pairs;
    text.hidden = Boolean(pairs);
    document.querySelectorAll(`#${text.id}_error li`).forEach((one) => { one.hidden = false; });
    toggle.textContent = pairs ? "As text" : "As rows";
    toggle.setAttribute("aria-label", `${toggle.textContent}: ${what}s`);
  };

  add.addEventListener("click", () => added().focus());
  toggle.addEventListener("click", () => show(!text.hidden));
  suggest();
  text.before(editor);
  text.after(make("p", { className: "at-buttons" }, add, toggle));
  show(true);
  mark();
  return suggest;
}

document.addEventListener("DOMContentLoaded", () => {
  const told = (id) => JSON.parse(document.getElementById(id).textContent);
  const space = document.getElementById("id_search_space");
  const limits = document.getElementById("id_slo");
  if (!space || !limits || !document.getElementById("at-flags")) return;
  const engine = document.getElementById("id_engine");
  const flags = told("at-flags");
  const suggest = rowsOf(space, "parameter", "values", () => flags[engine.value] || {});
  engine.addEventListener("change", suggest);
  const known = told("at-limits");
  rowsOf(limits, "limit", "at most", () => known);
});

/* The first field that is wrong, else the one that is to be focused: the browser's own autofocus
   comes too early for a page that is drawn by a script. */
window.addEventListener("load", () => {
  const own = document.querySelector("[autofocus]");
  if (document.activeElement !== document.body && document.activeElement !== own) return;
  (document.querySelector("[aria-invalid=true]:not([hidden])") || own)?.focus();
});
