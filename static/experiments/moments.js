// Every moment on a page in the reader's own zone, also in what comes later; the zone when pointed at.
(function () {
  "use strict";

  function two(number) {
    return String(number).padStart(2, "0");
  }

  function zone(at) {
    var minutes = -at.getTimezoneOffset();
    var sign = minutes < 0 ? "−" : "+";
    var name = Intl.DateTimeFormat().resolvedOptions().timeZone;
    minutes = Math.abs(minutes);
    return name + " (UTC" + sign + two(Math.floor(minutes / 60)) + ":" + two(minutes % 60) + ")";
  }

  function write(element) {
    var at = new Date(element.dateTime);
    if (isNaN(at)) {
      return;
    }
    var day = at.getFullYear() + "-" + two(at.getMonth() + 1) + "-" + two(at.getDate());
    var minute = two(at.getHours()) + ":" + two(at.getMinutes());
    var second = minute + ":" + two(at.getSeconds());
    var forms = { second: day + " " + second, minute: day + " " + minute, clock: second };
    element.textContent = forms[element.dataset.form] || forms.second;
    element.title = forms.second + " " + zone(at);
  }

  function writeAll(root) {
    root.querySelectorAll("time[data-form]").forEach(write);
  }

  document.addEventListener("DOMContentLoaded", function () {
    writeAll(document.body);
    new MutationObserver(function (changes) {
      changes.forEach(function (change) {
        change.addedNodes.forEach(function (one) {
          if (one.nodeType === Node.ELEMENT_NODE) {
            if (one.matches("time[data-form]")) {
              write(one);
            }
            writeAll(one);
          }
        });
      });
    }).observe(document.body, { childList: true, subtree: true });
  });
})();
