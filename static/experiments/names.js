// What the theme draws as an icon alone has no name for who cannot see it: it gets one here.
(function () {
  "use strict";
  var NAMES = { speed: "Start page", dock_to_right: "Menu", close: "Close the menu", more_vert: "More", light_mode: "Theme", dark_mode: "Theme", computer: "Theme", unfold_more: "Account" };

  function text(element) {
    var copy = element.cloneNode(true);
    copy.querySelectorAll("[aria-hidden=true]").forEach(function (one) { one.remove(); });
    return copy.textContent.trim();
  }

  function name(root) {
    root.querySelectorAll(".material-symbols-outlined").forEach(function (icon) {
      var word = icon.textContent.trim();
      var owner = icon.closest("a, button, [role=button]");
      // A menu that only a mouse could open
      if (!owner && (word === "dock_to_right" || (word === "close" && icon.classList.contains("cursor-pointer")))) {
        owner = icon;
        icon.setAttribute("role", "button");
        icon.tabIndex = 0;
        icon.setAttribute("aria-label", NAMES[word]);
        icon.addEventListener("keydown", function (event) {
          if (event.key === "Enter" || event.key === " ") {
            event.preventDefault();
            icon.click();
          }
        });
        return;
      }
      icon.setAttribute("aria-hidden", "true");
      if (!owner && icon.parentElement.title) { // Yes, no and unknown are three icons
        icon.parentElement.setAttribute("role", "img");
        icon.parentElement.setAttribute("aria-label", icon.parentElement.title);
      }
      if (owner && owner !== icon && !owner.title && !owner.hasAttribute("aria-label") && !text(owner)) {
        owner.setAttribute("aria-label", NAMES[word] || word.replace(/_/g, " "));
      }
    });
    root.querySelectorAll(".date-icon[title], .clock-icon[title]").forEach(function (icon) {
      icon.parentElement.setAttribute("aria-label", icon.title);
    });
    var list = root.querySelector("#result_list");
    var title = document.querySelector("h1");
    if (list && title) {
      list.setAttribute("aria-label", title.textContent.trim().replace(/\s+/g, " "));
      list.querySelectorAll("tbody th").forEach(function (one) { one.scope = "row"; });
    }
    root.querySelectorAll("table.formset").forEach(function (table) {
      table.setAttribute("aria-label", "Every change of its status");
      table.querySelectorAll("thead th").forEach(function (one) { one.scope = "col"; });
    });
  }

  document.addEventListener("DOMContentLoaded", function () { name(document.body); });
  // Calendars come later
  window.addEventListener("load", function () { setTimeout(name, 0, document.body); });
})();
