// What can be told about a page from its boxes. `look` runs in the page, so it uses nothing from outside itself.

// Returns what is wrong, as sentences.
export function look() {
  const found = [];
  const short = (text) => JSON.stringify(text.trim().slice(0, 60));
  const named = (element) => `<${element.localName}${element.className ? ` class="${element.className}"` : ""}>`;
  const hides = (overflow) => overflow === "hidden" || overflow === "clip";

  const { scrollWidth } = document.documentElement;
  if (scrollWidth > innerWidth) {
    const widest = [...document.querySelectorAll("body *")].filter((one) => one.getBoundingClientRect().right > innerWidth + 1);
    found.push(`it is ${scrollWidth} px wide on ${innerWidth}: ${widest.slice(0, 3).map(named).join(", ")}`);
  }

  // What is there for screen readers alone is a pixel wide, or off the screen.
  for (const element of document.querySelectorAll("body *")) {
    const style = getComputedStyle(element);
    const { clientWidth, clientHeight } = element;
    if (clientWidth <= 1 || clientHeight <= 1 || element.textContent.trim() === "") continue;
    const cutAcross = hides(style.overflowX) && element.scrollWidth > clientWidth + 1;
    const cutDown = hides(style.overflowY) && element.scrollHeight > clientHeight + 1;
    if (cutAcross || cutDown) found.push(`text is cut: ${named(element)} ${short(element.textContent)}`);
  }

  // Each line of each text, as far as it is not scrolled out of a box around it.
  const clips = new Map();
  const clipOf = (element) => {
    if (element === null) return { left: 0, top: -Infinity, right: Infinity, bottom: Infinity };
    if (!clips.has(element)) {
      const outer = clipOf(element.parentElement);
      const style = getComputedStyle(element);
      const scrolls = element !== document.body && element !== document.documentElement && style.overflowX !== "visible";
      const box = element.getBoundingClientRect();
      clips.set(
        element,
        scrolls
          ? {
              left: Math.max(outer.left, box.left),
              top: Math.max(outer.top, box.top),
              right: Math.min(outer.right, box.right),
              bottom: Math.min(outer.bottom, box.bottom),
            }
          : outer,
      );
    }
    return clips.get(element);
  };
  const lines = [];
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const range = document.createRange();
  while (texts.nextNode()) {
    const node = texts.currentNode;
    const parent = node.parentElement;
    if (node.data.trim() === "" || ["script", "style", "option", "title"].includes(parent.localName)) continue;
    if (!parent.checkVisibility({ checkOpacity: true, checkVisibilityCSS: true })) continue;
    const clip = clipOf(parent);
    range.selectNodeContents(node);
    for (const rect of range.getClientRects()) {
      const [left, right] = [Math.max(rect.left, clip.left), Math.min(rect.right, clip.right)];
      const [top, bottom] = [Math.max(rect.top, clip.top), Math.min(rect.bottom, clip.bottom)];
      if (right - left > 2 && bottom - top > 2) lines.push({ node, left, right, top, bottom, height: rect.height });
    }
    // In a text of plain letters each one stands to the right of the one before, whatever its neighbours try.
    if (/^[\x20-\x7e\s]*$/.test(node.data)) {
      let before;
      for (let at = 0; at < Math.min(node.data.length, 200); at++) {
        range.setStart(node, at);
        range.setEnd(node, at + 1);
        const rect = range.getBoundingClientRect();
        if (rect.width === 0) continue;
        if (before && Math.abs(rect.top - before.top) < 2 && rect.left < before.left - 1) {
          found.push(`text is turned round: ${named(parent)} ${short(node.data)}`);
          break;
        }
        before = rect;
      }
    }
  }
  lines.sort((one, other) => one.top - other.top);
  const seen = new Set();
  for (const [index, upper] of lines.entries()) {
    for (let next = index + 1; next < lines.length && lines[next].top < upper.bottom; next++) {
      const lower = lines[next];
      const across = Math.min(upper.right, lower.right) - Math.max(upper.left, lower.left);
      const down = Math.min(upper.bottom, lower.bottom) - lower.top;
      if (upper.node === lower.node || across < 3 || down < 0.4 * Math.min(upper.height, lower.height)) continue;
      const pair = `${short(upper.node.data)} and ${short(lower.node.data)}`;
      if (!seen.has(pair)) found.push(`texts cover each other: ${pair}`);
      seen.add(pair);
    }
  }
  return found;
}

// Returns which tables are wider than what holds them, so that columns are lost at its edge, and which cells are so narrow that their
// text stands in a column of single words.
export function lookAtTables() {
  const found = [];
  const short = (text) => JSON.stringify(text.trim().slice(0, 60));
  for (const table of document.querySelectorAll("table")) {
    const [own, room] = [table.getBoundingClientRect().width, table.parentElement.clientWidth];
    const heading = table.querySelector("thead")?.textContent ?? table.textContent;
    if (own > room + 1) found.push(`a table is ${Math.round(own)} px wide where there are ${room}: ${short(heading)}`);
    for (const cell of table.querySelectorAll("td")) {
      const style = getComputedStyle(cell);
      const inside = cell.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight);
      const range = document.createRange();
      range.selectNodeContents(cell);
      const text = range.getBoundingClientRect();
      const lines = Math.round(text.height / parseFloat(style.lineHeight));
      // A name as long as a name may be fills any column.
      if (cell.textContent.split(/\s+/).some((word) => word.length > 60)) continue;
      if (inside < 150 && lines > 6) found.push(`a cell is squeezed to ${Math.round(inside)} px and ${lines} lines: ${short(cell.textContent)}`);
    }
  }
  return found;
}
