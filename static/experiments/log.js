// The log on an experiment's page: follows its end, pauses, and shows only lines with a text.
(function () {
  "use strict";
  var atEnd = true;

  function log() { return document.getElementById("log-text"); }

  function show() {
    var text = log();
    var search = document.getElementById("log-search");
    var state = document.getElementById("log-state");
    if (!text || !search || !state) {
      return;
    }
    var wanted = search.value.toLowerCase();
    var lines = text.querySelectorAll(".at-line");
    var shown = 0;
    lines.forEach(function (line) {
      line.hidden = wanted !== "" && line.textContent.toLowerCase().indexOf(wanted) < 0;
      shown += line.hidden ? 0 : 1;
    });
    var pause = document.getElementById("log-pause");
    var isFollowed = text.dataset.followed === "yes";
    var words = !isFollowed ? "ended" : pause && pause.checked ? "paused" : "live";
    state.textContent = words + (wanted ? ": " + shown + " of " + lines.length + " lines" : "");
    if (atEnd) {
      text.scrollTop = text.scrollHeight;
    }
  }

  document.addEventListener("htmx:beforeRequest", function (event) {
    var pause = document.getElementById("log-pause");
    if (event.target === log() && pause && pause.checked) {
      event.preventDefault();
    }
  });
  // Who scrolled up to read stays there
  document.addEventListener("htmx:beforeSwap", function (event) {
    if (event.target === log()) {
      var text = log();
      atEnd = text.scrollHeight - text.scrollTop - text.clientHeight < 40;
    }
  });
  document.addEventListener("htmx:afterSettle", show);
  document.addEventListener("input", function (event) {
    if (event.target.id === "log-search" || event.target.id === "log-pause") {
      show();
    }
  });
  // Enter in the search box would send the form around it
  document.addEventListener("keydown", function (event) {
    if (event.target.id === "log-search" && event.key === "Enter") {
      event.preventDefault();
    }
  });
  show();
})();
