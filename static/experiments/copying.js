// Copies the text that a button names with `data-copy`.
(function () {
  "use strict";

  function copy(element) {
    if (navigator.clipboard && window.isSecureContext) {
      return navigator.clipboard.writeText(element.textContent);
    }
    // Plain HTTP from another machine has no clipboard object.
    window.getSelection().selectAllChildren(element);
    return document.execCommand("copy") ? Promise.resolve() : Promise.reject();
  }

  document.addEventListener("click", function (event) {
    var button = event.target.closest("[data-copy]");
    if (!button) {
      return;
    }
    copy(document.querySelector(button.dataset.copy)).then(
      function () { button.textContent = "Copied"; },
      function () { button.textContent = "Select it and copy"; }
    );
    setTimeout(function () { button.textContent = "Copy"; }, 2000);
  });
})();
