// Keeps a page up to date: relative times each second, the rest every ten seconds, without a jump. Nothing needs it.
"use strict";
(() => {
  const units = [[86400, "day"], [3600, "hour"], [60, "minute"], [1, "second"]];
  const words = (seconds) => {
    const parts = [];
    for (const [size, name] of units) {
      const n = Math.floor(seconds / size);
      seconds -= n * size;
      if (n > 0) parts.push(`${n} ${name}${n === 1 ? "" : "s"}`);
      if (parts.length === 2 || (parts.length === 1 && n === 0)) break;
    }
    return parts.length ? parts.join(" ") : "0 seconds";
  };
  const tick = () => {
    const now = Date.now();
    for (const time of document.querySelectorAll("time[data-relative]")) {
      const seconds = Math.round((now - Date.parse(time.dateTime)) / 1000);
      const past = time.dataset.relative === "due" ? "now" : `${words(seconds)} ago`;
      const text = seconds >= 0 ? past : `in ${words(-seconds)}`;
      if (time.textContent !== text) time.textContent = text;
    }
  };

  const isChanged = (field) => {
    if (field.type === "checkbox" || field.type === "radio") return field.checked !== field.defaultChecked;
    if (!field.options) return field.value !== field.defaultValue;
    const options = [...field.options];
    const first = options.find((option) => option.defaultSelected) ?? options[0];
    return !!first && !first.selected;
  };
  // Whoever types, has chosen something or selected a text is not disturbed.
  const isBusy = (live) => {
    const fields = "input, select, textarea";
    const selection = getSelection();
    return (
      (live.contains(document.activeElement) && document.activeElement.matches(fields)) ||
      [...live.querySelectorAll(fields)].some(isChanged) ||
      (!selection.isCollapsed && live.contains(selection.anchorNode))
    );
  };
  // What an element is known by, in this content and the next.
  const known = (one) => one.id || `${one.localName} ${one.getAttribute("href") ?? one.form?.getAttribute("action") ?? ""}`;
  const alike = (live, name) => [...live.querySelectorAll("a[href], button, [tabindex]")].filter((one) => known(one) === name);
  const replace = (live, fresh) => {
    const focused = document.activeElement;
    const name = focused !== live && live.contains(focused) ? known(focused) : null;
    const place = name === null ? 0 : alike(live, name).indexOf(focused);
    const scrolled = focused?.scrollTop;
    live.replaceChildren(...fresh.childNodes);
    if (name === null) return;
    const again = alike(live, name)[place];
    (again ?? live).focus({ preventScroll: true });
    if (again) again.scrollTop = scrolled;
  };
  const refresh = async () => {
    const live = document.querySelector("#live");
    if (!live || !("live" in live.dataset) || document.hidden || isBusy(live)) return;
    try {
      const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
      if (!answer.ok) return;
      // The session has ended.
      if (answer.redirected && new URL(answer.url).pathname.endsWith("/login")) return location.replace(answer.url);
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector("#live");
      if (fresh && !isBusy(live) && fresh.innerHTML !== live.innerHTML) replace(live, fresh);
      tick();
    } catch {
      // The next time may do better.
    }
  };
  setInterval(tick, 1000);
  setInterval(refresh, 10000);
  tick();
})();
