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
      const text = seconds >= 0 ? `${words(seconds)} ago` : `in ${words(-seconds)}`;
      if (time.textContent !== text) time.textContent = text;
    }
  };
  const refresh = async () => {
    if (document.hidden || document.querySelector("#live :focus")) return;
    const live = document.querySelector("#live");
    if (!live || !("live" in live.dataset)) return;
    try {
      const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
      if (!answer.ok) return;
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector("#live");
      if (fresh && fresh.innerHTML !== live.innerHTML) live.replaceChildren(...fresh.childNodes);
      tick();
    } catch {
      // The next time may do better.
    }
  };
  setInterval(tick, 1000);
  setInterval(refresh, 10000);
  tick();
})();
