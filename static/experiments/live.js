// The live page: says whether it is connected, keeps its buttons usable.
(function () {
  "use strict";

  // After an outage the page is back within seconds, also after a long one.
  htmx.config.wsReconnectDelay = function (tries) {
    return Math.min(500 * Math.pow(2, tries), 5000) * (0.5 + Math.random() / 2);
  };
  // … also when what it asks does not answer at all: a connection that is never made is given up.
  var PATIENCE = 10000; // milliseconds
  htmx.createWebSocket = function (address) {
    var made = new WebSocket(address, []);
    var over = setTimeout(function () { made.close(); }, PATIENCE);
    made.addEventListener("open", function () { clearTimeout(over); });
    made.addEventListener("close", function () { clearTimeout(over); });
    return made;
  };
  htmx.config.includeIndicatorStyles = false;
  htmx.config.allowNestedOobSwaps = false; // A page in another view has the same parts inside
  htmx.config.historyCacheSize = 0; // What is shown is of now; and it is not for the browser's storage

  function say(text, state) {
    var dot = document.getElementById("connection");
    if (dot) {
      dot.textContent = text;
      dot.dataset.state = state;
    }
  }

  document.addEventListener("htmx:wsOpen", function (event) {
    socket = event.detail.event.target;
    hear();
    say("live", "live");
  });
  document.addEventListener("htmx:wsClose", function (event) {
    var comesBack = [1006, 1011, 1012, 1013].indexOf(event.detail.event.code) >= 0;
    say(comesBack ? "reconnecting…" : "not live: reload the page", "away");
  });

  // An answer has the whole page, for a page whose socket is away; but what a socket has shown since
  // may be newer, and what it sends next is only what differs from that.
  var SAID = "<!-- said -->";
  function news(response) {
    var dot = document.getElementById("connection");
    var at = dot && dot.dataset.state === "live" ? response.lastIndexOf(SAID) : -1;
    return at < 0 ? response : response.slice(at + SAID.length);
  }
  document.addEventListener("htmx:beforeSwap", function (event) {
    event.detail.serverResponse = news(event.detail.serverResponse);
  });

  // The socket may replace a button before its answer is here, and htmx looks for the places of the
  // answer's parts in the document that the button is in: in none, then.
  function takeAnyhow(event) {
    var answer = event.detail.xhr;
    if (document.contains(event.target) || answer.getResponseHeader("HX-Redirect")) {
      return;
    }
    event.preventDefault();
    if (event.detail.boosted) { // A link to another view of the page: asked for by what is there now
      history.replaceState(null, "", event.detail.pathInfo.finalRequestPath);
      htmx.ajax("GET", location.href, {
        target: "#live-page", select: "#live-page", swap: "outerHTML show:none"
      });
    } else {
      htmx.swap(document.body, news(answer.response), { swapStyle: "none" });
    }
  }
  document.addEventListener("htmx:beforeRequest", function (event) {
    event.detail.elt.addEventListener("htmx:beforeOnLoad", takeAnyhow, { once: true });
  });

  // What is as it was stays: a button that is drawn anew while it is pressed hears no click.
  function bare(element) {
    var copy = element.cloneNode(true);
    copy.removeAttribute("hx-swap-oob");
    return copy;
  }
  document.addEventListener("htmx:oobBeforeSwap", function (event) {
    var drawn = event.detail.fragment.firstElementChild;
    if (drawn && bare(event.detail.target).isEqualNode(bare(drawn))) {
      event.preventDefault();
    }
  });

  // A connection can be gone without a word: the laptop slept, the network or the server hangs.
  // The server says something every five seconds; who hears nothing for long connects anew.
  var SILENCE = 15000; // milliseconds
  var socket = null;
  var heard = 0;
  function hear() {
    heard = Date.now();
  }
  function giveUp() {
    if (!socket || !socket.onclose) {
      return;
    }
    var closed = socket.onclose;
    socket.onclose = null;
    socket.close();
    closed.call(socket, new CloseEvent("close", { code: 1006 }));
  }
  function listen() {
    if (Date.now() - heard > SILENCE) {
      giveUp();
    }
  }
  document.addEventListener("htmx:wsAfterMessage", hear);
  document.addEventListener("visibilitychange", listen);
  window.addEventListener("offline", giveUp);
  setInterval(listen, 1000);

  // The times of what runs go on by themselves: nothing is sent while nothing changes.
  var beginnings = new WeakMap();
  function span(seconds) {
    var whole = Math.max(0, Math.floor(seconds));
    function two(number) { return String(number).padStart(2, "0"); }
    if (whole < 60) { return whole + " s"; }
    if (whole < 3600) { return Math.floor(whole / 60) + " min " + two(whole % 60) + " s"; }
    return Math.floor(whole / 3600) + " h " + two(Math.floor(whole % 3600 / 60)) + " min";
  }
  function tick() {
    var now = performance.now() / 1000;
    var dot = document.getElementById("connection");
    var isLive = dot && dot.dataset.state === "live";
    document.querySelectorAll("[data-runs-for]").forEach(function (one) {
      if (!beginnings.has(one)) {
        beginnings.set(one, now - Number(one.dataset.runsFor));
      }
      if (isLive) {
        one.textContent = span(now - beginnings.get(one));
      }
    });
  }
  setInterval(tick, 1000);
  document.addEventListener("htmx:wsAfterMessage", tick);

  // A part that is replaced takes the focus of the keyboard with it: give it to its successor.
  var focused = "";
  document.addEventListener("htmx:wsBeforeMessage", function () {
    focused = document.activeElement ? document.activeElement.id : "";
  });
  document.addEventListener("htmx:wsAfterMessage", function () {
    var successor = focused && document.getElementById(focused);
    if (successor && successor !== document.activeElement) {
      successor.focus({ preventScroll: true });
    }
  });

  // An experiment that is pointed at, or has the focus, is marked in all parts of the page.
  var pointed = "";
  function mark() {
    document.querySelectorAll(".at-pointed").forEach(function (one) {
      one.classList.remove("at-pointed");
    });
    document.querySelectorAll('[data-n="' + pointed + '"]').forEach(function (one) {
      one.classList.add("at-pointed");
    });
    document.body.classList.toggle("at-pointing", pointed !== "");
  }
  function point(event) {
    var one = event.target.closest && event.target.closest("[data-n]");
    if (pointed !== (one ? one.dataset.n : "")) {
      pointed = one ? one.dataset.n : "";
      mark();
    }
  }
  // A page that scrolls below a pointer at rest, as when the keyboard's focus moves, points at nothing.
  var at = "";
  function place(event) {
    return event.screenX + "," + event.screenY;
  }
  document.addEventListener("pointermove", function (event) { at = place(event); });
  document.addEventListener("pointerover", function (event) {
    if (place(event) !== at) {
      point(event);
    }
  });
  document.addEventListener("focusin", point);
  document.addEventListener("htmx:wsAfterMessage", mark);
  document.addEventListener("htmx:afterSettle", mark);

  // A button that is replaced while it is pressed is never clicked: its successor is.
  var pressed = null;
  document.addEventListener("pointerdown", function (event) {
    pressed = event.target.closest("button[id]");
  });
  document.addEventListener("pointerup", function (event) {
    var button = event.target.closest("button[id]");
    if (pressed && !pressed.isConnected && button && button.id === pressed.id) {
      button.click();
    }
    pressed = null;
  });
})();
