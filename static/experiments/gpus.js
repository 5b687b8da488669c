// The readings of GPUs on an experiment's page: what was read where one points, or moves by arrow keys.
(function () {
  "use strict";
  var chosen = {}; // By attempt, the point that the cursor is at
  var KEYS = { ArrowLeft: -1, ArrowRight: 1, PageUp: -10, PageDown: 10, Home: -1e6, End: 1e6 };

  function show(charts) {
    var readings = JSON.parse(charts.dataset.readings);
    var at = chosen[charts.id];
    var isShown = at !== undefined && readings.length > 0;
    at = Math.max(0, Math.min(isShown ? at : readings.length - 1, readings.length - 1));
    charts.setAttribute("aria-valuenow", at);
    charts.setAttribute("aria-valuetext", readings[at][1]);
    charts.querySelector(".at-reading").textContent = readings[at][1];
    charts.querySelectorAll(".at-cursor").forEach(function (line) {
      line.setAttribute("visibility", isShown ? "visible" : "hidden");
      line.setAttribute("x1", readings[at][0]);
      line.setAttribute("x2", readings[at][0]);
    });
  }

  function showAll() {
    document.querySelectorAll(".at-gpu-charts").forEach(show);
  }

  document.addEventListener("pointermove", function (event) {
    var plot = event.target.closest && event.target.closest(".at-gpu-charts .at-plot > svg");
    if (!plot) {
      return;
    }
    var charts = plot.closest(".at-gpu-charts");
    var box = plot.getBoundingClientRect();
    var x = (1000 * (event.clientX - box.left)) / box.width;
    var nearest = 0;
    var readings = JSON.parse(charts.dataset.readings);
    readings.forEach(function (one, index) {
      if (Math.abs(one[0] - x) < Math.abs(readings[nearest][0] - x)) {
        nearest = index;
      }
    });
    chosen[charts.id] = nearest;
    show(charts);
  });
  document.addEventListener("pointerout", function (event) {
    var charts = event.target.closest && event.target.closest(".at-gpu-charts");
    if (charts && !charts.contains(event.relatedTarget)) {
      delete chosen[charts.id]; // The latest again
      show(charts);
    }
  });
  document.addEventListener("keydown", function (event) {
    var charts = event.target.classList.contains("at-gpu-charts") ? event.target : null;
    if (!charts || !(event.key in KEYS)) {
      return;
    }
    event.preventDefault();
    var last = JSON.parse(charts.dataset.readings).length - 1;
    var from = chosen[charts.id] === undefined ? last : chosen[charts.id];
    chosen[charts.id] = Math.max(0, Math.min(last, from + KEYS[event.key]));
    show(charts);
  });

  // What is replaced keeps its cursor, its focus (htmx, by its id) and what was unfolded
  var unfolded = [];
  document.addEventListener("htmx:beforeSwap", function () {
    unfolded = Array.from(document.querySelectorAll("#gpu-readings details[open]"), function (one) {
      return one.id;
    });
  });
  document.addEventListener("htmx:afterSettle", function () {
    unfolded.forEach(function (id) {
      var one = document.getElementById(id);
      if (one) {
        one.open = true;
      }
    });
    showAll();
  });
  document.addEventListener("DOMContentLoaded", showAll);
})();
