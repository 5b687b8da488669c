/* The search space as rows of name and values. The text area stays what is sent, and what there is
   without this script; a text that is not of such lines is left as text. */
"use strict";

document.addEventListener("DOMContentLoaded", () => {
  const text = document.getElementById("id_search_space");
  const known = document.getElementById("at-flags");
  if (!text || !known) return;
  const flags = JSON.parse(known.textContent);
  const engine = document.getElementById("id_engine");

  const make = (kind, properties, ...inner) => {
    const made = Object.assign(document.createElement(kind), properties);
    made.append(...inner);
    return made;
  };
  const names = make("datalist", { id: "at-flag-names" });
  const rows = make("div", { className: "at-rows" });
  const add = make("button", { type: "button", className: "at-button", textContent: "Add a parameter" });
  const toggle = make("button", { type: "button", className: "at-button", textContent: "As text" });
  const editor = make("div", { className: "at-rows-editor" }, rows, names);
  editor.setAttribute("role", "group");
  editor.setAttribute("aria-label", "Search space, one parameter a row");

  const usual = (name) => (flags[engine ? engine.value : ""] || {})[name.trim()];
  const suggest = () => {
    names.replaceChildren(
      ...Object.entries(flags[engine ? engine.value : ""] || {}).map(([name, values]) =>
        make("option", { value: name, label: values })),
    );
  };
  const parsed = () => {
    const lines = text.value.split("\n").filter((line) => line.trim());
    return lines.every((line) => /^[^:]+:/.test(line))
      ? lines.map((line) => {
          const at = line.indexOf(":");
          return [line.slice(0, at).trim(), line.slice(at + 1).trim()];
        })
      : null;
  };
  const write = () => {
    text.value = [...rows.children]
      .map((row) => [...row.querySelectorAll("input")].map((input) => input.value.trim()))
      .filter(([name, values]) => name || values)
      .map(([name, values]) => `${name}: ${values}`)
      .join("\n");
  };
  const changed = () => {
    write();
    text.dispatchEvent(new Event("input", { bubbles: true }));
  };
  const hint = (name, values) => {
    const found = usual(name.value);
    values.placeholder = found ? `for example ${found}` : "4, 8, 16 or 0.80..0.95 step 0.05";
  };
  const wrong = () => {
    const field = text.closest(".field-search_space") || text.parentElement.parentElement;
    return [...field.querySelectorAll(".errorlist li, [class*='text-red']")].map((one) => one.textContent.trim());
  };
  const addRow = (first = "", second = "") => {
    const number = rows.children.length + 1;
    const name = make("input", { type: "text", value: first, className: "at-input at-code", placeholder: "flag" });
    name.setAttribute("list", names.id);
    name.setAttribute("aria-label", `Parameter ${number}: name`);
    const values = make("input", { type: "text", value: second, className: "at-input at-code" });
    values.setAttribute("aria-label", `Parameter ${number}: values`);
    const remove = make("button", { type: "button", className: "at-button", textContent: "×", title: "Remove this parameter" });
    remove.setAttribute("aria-label", `Remove parameter ${number}`);
    const row = make("div", { className: "at-row-inputs" }, name, values, remove);
    name.addEventListener("input", () => hint(name, values));
    row.addEventListener("input", changed);
    remove.addEventListener("click", () => {
      row.remove();
      changed();
      add.focus();
    });
    hint(name, values);
    rows.append(row);
    return name;
  };
  const mark = () => {
    const found = wrong();
    [...rows.children].forEach((row, at) => {
      const name = row.querySelector("input").value.trim();
      const mine = found.find((one) => one.startsWith(`line ${at + 1}:`) ||
        (name && one.startsWith(name) && ":.[".includes(one.charAt(name.length))));
      if (mine) {
        row.querySelectorAll("input").forEach((input) => input.setAttribute("aria-invalid", "true"));
        row.append(make("p", { className: "at-text-bad", textContent: mine }));
      }
    });
  };
  const show = (asRows) => {
    const pairs = asRows ? parsed() : null;
    rows.replaceChildren();
    if (pairs) pairs.concat(pairs.length ? [] : [["", ""]]).forEach((pair) => addRow(...pair));
    editor.hidden = add.hidden = !pairs;
    text.hidden = Boolean(pairs);
    toggle.textContent = pairs ? "As text" : "As rows";
  };

  add.addEventListener("click", () => addRow().focus());
  toggle.addEventListener("click", () => show(!text.hidden));
  if (engine) engine.addEventListener("change", suggest);
  suggest();
  text.before(editor);
  text.after(make("p", { className: "at-buttons" }, add, toggle));
  show(true);
  mark();
});
