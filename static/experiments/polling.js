// A page that asks for its parts every two seconds: says whether it is answered.
(function () {
  "use strict";

  htmx.config.includeIndicatorStyles = false;

  function say(text, state) {
    var dot = document.getElementById("connection");
    if (dot && dot.dataset.state !== state) {
      dot.textContent = text;
      dot.dataset.state = state;
    }
  }

  function isPoll(event) {
    return event.target.closest && event.target.closest("[data-poll]");
  }

  document.addEventListener("htmx:afterRequest", function (event) {
    if (isPoll(event)) {
      if (event.detail.successful) {
        say("live", "live");
      } else {
        say("reconnecting… what is shown is not of now", "away");
      }
    }
  });
})();
