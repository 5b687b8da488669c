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

  const suggest = () => names.replaceChildren(
    ...Object.entries(suggested()).map(([name, example]) => make("option", { value: name, label: example })),
  );
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
  const input = (value, label) => {
    const made = make("input", { type: "text", value, className: "at-input at-code" });
    made.setAttribute("aria-label", label);
    return made;
  };
  const addRow = (first = "", second = "") => {
    const number = rows.children.length + 1;
    const title = `${what[0].toUpperCase()}${what.slice(1)} ${number}`;
    const name = input(first, `${title}: name`);
    const given = input(second, `${title}: ${value}`);
    const remove = button("×", `Remove ${what} ${number}`);
    const row = make("div", { className: "at-row-inputs" }, name, given, remove);
    const hint = () => {
      const example = suggested()[name.value.trim()];
      given.placeholder = example ? `for example ${example}` : "";
    };
    name.setAttribute("list", names.id);
    name.addEventListener("input", hint);
    row.addEventListener("input", changed);
    remove.addEventListener("click", () => {
      row.remove();
      changed();
      add.focus();
    });
    hint();
    rows.append(row);
    return name;
  };
  const mark = () => {
    const wrong = [...document.querySelectorAll(`#${text.id}_error li`)].map((one) => one.textContent.trim());
    [...rows.children].forEach((row, at) => {
      const name = row.querySelector("input").value.trim().split(" ")[0];
      const mine = wrong.find((one) => one.startsWith(`line ${at + 1}:`) ||
        (name && one.startsWith(name) && ":.[".includes(one.charAt(name.length))));
      if (!mine) return;
      row.querySelectorAll("input").forEach((one) => one.setAttribute("aria-invalid", "true"));
      row.append(make("p", { className: "at-text-bad", textContent: mine }));
    });
  };
  const show = (asRows) => {
    const pairs = asRows ? parsed() : null;
    rows.replaceChildren();
    if (pairs) pairs.concat(pairs.length ? [] : [["", ""]]).forEach((pair) => addRow(...pair));
    editor.hidden = add.hidden = !pairs;
    text.hidden = Boolean(pairs);
    toggle.textContent = pairs ? "As text" : "As rows";
    toggle.setAttribute("aria-label", `${toggle.textContent}: ${what}s`);
  };

  add.addEventListener("click", () => addRow().focus());
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
