// What is wrong with the page that is open, one line each: read by test_every_page.py.
() => {
  const wrong = [];
  const all = (what, within) => [...(within || document).querySelectorAll(what)];
  const isSeen = (one) => {
    const box = one.getBoundingClientRect();
    const style = getComputedStyle(one);
    const isThere = box.width > 0 && box.height > 0 && style.visibility !== "hidden";
    return isThere && !one.closest("[aria-hidden=true]");
  };
  const named = (one) =>
    one.getAttribute("aria-label") || one.getAttribute("aria-labelledby") || one.title || "";
  const short = (one) => one.outerHTML.replace(/\s+/g, " ").slice(0, 140);

  // ── names ─────────────────────────────────────────────────────────────────────────────────
  const controls = "a[href], button, input:not([type=hidden]), select, textarea, [tabindex='0']";
  all(controls).filter(isSeen).forEach((one) => {
    const labels = one.labels ? [...one.labels].map((label) => label.textContent).join("") : "";
    const own = ["INPUT", "SELECT", "TEXTAREA"].includes(one.tagName) ? "" : one.cloneNode(true);
    if (own) all("[aria-hidden=true]", own).forEach((icon) => icon.remove());
    const name = named(one) + labels + (one.placeholder || "") + (own ? own.textContent : "");
    if (!name.trim()) wrong.push("has no name: " + short(one));
  });
  all("svg").filter((one) => isSeen(one) && !one.parentElement.closest("svg")).forEach((one) => {
    if (!named(one) && !one.querySelector(":scope > title")) wrong.push("no title: " + short(one));
  });
  all("img:not([alt])").forEach((one) => wrong.push("no alt: " + short(one)));
  all("table").filter(isSeen).forEach((one) => {
    if (!named(one) && !one.caption) wrong.push("a table without a name: " + short(one));
    const without = all("th:not([scope])", one).length;
    if (without) wrong.push(without + " th without scope: " + short(one));
  });
  const ids = all("[id]").map((one) => one.id);
  const twice = ids.filter((id, at) => ids.indexOf(id) !== at);
  twice.forEach((id) => wrong.push("an id twice: " + id));

  // ── headings ──────────────────────────────────────────────────────────────────────────────
  const headings = all("h1, h2, h3, h4, h5, h6").filter(isSeen);
  const first = headings.filter((one) => one.tagName === "H1").length;
  if (first !== 1) wrong.push(first + " first headings");
  headings.reduce((above, one) => {
    const level = Number(one.tagName[1]);
    if (level > above + 1) wrong.push("a heading too deep: " + short(one));
    return level;
  }, 6);
  if (!document.title.trim() || !document.documentElement.lang) wrong.push("no title or language");

  // ── contrast (WCAG 2, AA) ─────────────────────────────────────────────────────────────────
  const dot = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const seen = {};
  const colour = (text) => {
    if (!seen[text]) {
      dot.clearRect(0, 0, 1, 1);
      dot.fillStyle = text;
      dot.fillRect(0, 0, 1, 1);
      const [red, green, blue, alpha] = dot.getImageData(0, 0, 1, 1).data;
      seen[text] = [red, green, blue, alpha / 255];
    }
    return [...seen[text]];
  };
  const over = (top, below) => [0, 1, 2].map((i) => top[i] * top[3] + below[i] * (1 - top[3]));
  const bright = (of) => {
    const [red, green, blue] = of.slice(0, 3).map((value) => {
      const share = value / 255;
      return share <= 0.03928 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };
  const behind = (one) => {
    const layers = [];
    for (let node = one; node; node = node.parentElement) {
      const layer = colour(getComputedStyle(node).backgroundColor);
      layers.unshift(layer);
      if (layer[3] === 1) break;
    }
    return layers.reduce((below, layer) => over(layer, below), [255, 255, 255]);
  };
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const said = new Set();
  while (texts.nextNode()) {
    const one = texts.currentNode.parentElement;
    const isText = texts.currentNode.textContent.trim() && isSeen(one);
    const isElsewhere = one.closest("svg, option, script, style, :disabled, .at-strip");
    if (!isText || isElsewhere) continue;
    const style = getComputedStyle(one);
    const back = behind(one);
    const fore = colour(style.color);
    for (let node = one; node; node = node.parentElement) {
      fore[3] *= Number(getComputedStyle(node).opacity);
    }
    const [low, high] = [bright(over(fore, back)), bright(back)].sort((a, b) => a - b);
    const ratio = (high + 0.05) / (low + 0.05);
    const size = parseFloat(style.fontSize);
    const isLarge = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    const line = "contrast " + ratio.toFixed(2) + ": " + one.className + " " + style.color;
    if (ratio < (isLarge ? 2.99 : 4.48) && !said.has(line)) {
      said.add(line);
      wrong.push(line + " " + texts.currentNode.textContent.trim().slice(0, 40));
    }
  }
  return wrong;
}
