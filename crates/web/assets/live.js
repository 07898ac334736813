// Keeps a page up to date: relative times each second, the rest every eight seconds, without moving
// the page. If that is not possible, it shows how old the page is. The page also works without it.
"use strict";
(() => {
  // Milliseconds: the pause between two requests after a success; the same after a failure; how
  // long there may be no answer before the page is marked as old; and how long after a wake-up it
  // is not marked, since an answer may still come at once.
  const [LOOK, LOOK_AGAIN, SILENT, WAKING] = [8000, 4000, 12000, 2500];
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
  const page = () => document.querySelector("#live");
  // The difference between the server's clock and this one, which may be wrong.
  let ahead = 0;
  // The time of the content shown, of the last answer, of the last wake-up of this machine or page,
  // and of the last tick.
  let [made, answered, woke, ticked] = [0, Date.now(), 0, Date.now()];
  // The icon of a page without a number that is not answered. It is drawn here, since the server cannot be asked for it.
  const UNKNOWN = `data:image/svg+xml,${encodeURIComponent(
    "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 32 32'><rect width='32' height='32' rx='7' fill='#5b646e'/>" +
      "<text x='16' y='23' font-family='sans-serif' font-weight='bold' font-size='20' text-anchor='middle' fill='white'>?</text></svg>",
  )}`;
  // What is wrong with the answers, while something is.
  let problem = "";
  const learn = (iso) => {
    made = Date.parse(iso);
    ahead = made - Date.now();
    answered = Date.now();
  };

  const tick = () => {
    const now = Date.now();
    if (now - ticked > 5000) {
      woke = now;
      if (timer) look();
    }
    ticked = now;
    for (const time of document.querySelectorAll("time[data-relative]")) {
      const seconds = Math.round((now + ahead - Date.parse(time.dateTime)) / 1000);
      const past = time.dataset.relative === "due" ? "now" : `${words(seconds)} ago`;
      const text = seconds >= 0 ? past : `in ${words(-seconds)}`;
      if (time.textContent !== text) time.textContent = text;
    }
    tell(now);
  };

  // Marks the page as old, also in its title and icon, or removes the mark.
  const tell = (now) => {
    const notice = document.querySelector("#gone");
    const silent = now - answered > SILENT && now - woke > WAKING;
    if (!problem && !silent) {
      if (!notice.hidden) {
        notice.hidden = true;
        notice.replaceChildren();
        wear(document.title.replace("Not answering · ", ""), icon().dataset.last);
      }
      return;
    }
    if (notice.hidden) {
      const said = document.createElement("strong");
      const age = document.createElement("span");
      // Screen readers announce the notice once, not each second.
      age.setAttribute("aria-live", "off");
      notice.replaceChildren(said, " ", age);
      notice.hidden = false;
      icon().dataset.last = icon().getAttribute("href");
      const last = icon().dataset.last;
      wear(`Not answering · ${document.title}`, last.startsWith("data:") ? last.replace(/%23[0-9a-f]{6}/, "%235b646e") : UNKNOWN);
    }
    const [said, age] = notice.children;
    const text = problem || "Innkeeper does not answer.";
    if (said.textContent !== text) said.textContent = text;
    const [at, zone] = stamp(made, page().dataset.zone || "UTC");
    age.textContent = `This page is as it was ${words(Math.max(0, Math.round((now + ahead - made) / 1000)))} ago, at ${at} (${zone}).`;
  };
  // The instant in this time zone with the zone's name; in UTC if the browser does not know the
  // zone.
  const stamp = (at, zone) => {
    const options = { dateStyle: "short", timeStyle: "medium", timeZone: zone };
    try {
      return [new Intl.DateTimeFormat("sv-SE", options).format(at), zone];
    } catch {
      return stamp(at, "UTC");
    }
  };
  const icon = () => document.querySelector("link[rel=icon]");
  const wear = (title, picture) => {
    if (document.title !== title) document.title = title;
    if (picture && icon().getAttribute("href") !== picture) icon().setAttribute("href", picture);
  };

  const isChanged = (field) => {
    if (field.type === "checkbox" || field.type === "radio") return field.checked !== field.defaultChecked;
    if (!field.options) return field.value !== field.defaultValue;
    const options = [...field.options];
    const first = options.find((option) => option.defaultSelected) ?? options[0];
    return !!first && !first.selected;
  };
  // The content is not replaced while somebody types, has changed a field or has selected text.
  const isBusy = (live) => {
    const fields = "input, select, textarea";
    const selection = getSelection();
    return (
      (live.contains(document.activeElement) && document.activeElement.matches(fields)) ||
      [...live.querySelectorAll(fields)].some(isChanged) ||
      (!selection.isCollapsed && live.contains(selection.anchorNode))
    );
  };
  // Identifies an element in the old and the new content.
  const known = (one) => one.id || `${one.localName} ${one.getAttribute("href") ?? one.form?.getAttribute("action") ?? ""}`;
  const alike = (live, name) => [...live.querySelectorAll("a[href], button, summary, [tabindex]")].filter((one) => known(one) === name);
  const replace = (live, fresh) => {
    const focused = document.activeElement;
    const name = focused !== live && live.contains(focused) ? known(focused) : null;
    const place = name === null ? 0 : alike(live, name).indexOf(focused);
    const scrolled = focused?.scrollTop;
    // Sections that somebody has opened stay open.
    for (const open of live.querySelectorAll("details[id][open]")) {
      const again = fresh.querySelector(`#${CSS.escape(open.id)}`);
      if (again) again.open = true;
    }
    live.replaceChildren(...fresh.childNodes);
    if (name === null) return;
    const again = alike(live, name)[place];
    (again ?? live).focus({ preventScroll: true });
    if (again) again.scrollTop = scrolled;
  };

  // Fetches the page; for a page without live content it only requests the health check. Returns
  // whether that succeeded.
  const refresh = async (live) => {
    const isLive = "live" in live.dataset;
    const base = document.documentElement.dataset.base;
    const url = isLive ? location.href : `${base}/healthcheck`;
    let answer, text;
    try {
      // Marks the request as automatic, so that it does not keep the session of an abandoned page
      // alive.
      const headers = { Accept: isLive ? "text/html" : "*/*", "X-Requested-By": "live" };
      answer = await fetch(url, { headers, cache: "no-store", signal: AbortSignal.timeout(30000) });
      text = await answer.text();
    } catch {
      problem = "Innkeeper does not answer.";
      return false;
    }
    // The session has ended, and the login page explains that.
    if (answer.redirected && new URL(answer.url).pathname === `${base}/login`) return location.replace(answer.url);
    if (answer.redirected && new URL(answer.url).pathname === `${base}/account/second-factor`) return location.replace(answer.url);
    if (answer.status >= 500 || answer.status === 429) {
      problem = `Innkeeper cannot show this now: it answers with status ${answer.status}.`;
      return false;
    }
    if (!answer.ok) {
      // The page no longer exists; reloading shows the reason.
      if (isLive && !isBusy(live)) location.reload();
      return true;
    }
    problem = "";
    answered = Date.now();
    if (!isLive) {
      made = Date.now() + ahead;
      return true;
    }
    const whole = new DOMParser().parseFromString(text, "text/html");
    const fresh = whole.querySelector("#live");
    if (!fresh || !("live" in fresh.dataset)) return true;
    tell(Date.now());
    wear(whole.title, whole.querySelector("link[rel=icon]")?.getAttribute("href"));
    if (isBusy(live)) return true;
    learn(fresh.dataset.now);
    if (fresh.innerHTML !== live.innerHTML) replace(live, fresh);
    return true;
  };
  let timer = 0;
  const look = async () => {
    clearTimeout(timer);
    timer = 0;
    let well = false;
    try {
      well = await refresh(page());
      tick();
    } finally {
      timer = setTimeout(look, well ? LOOK : LOOK_AGAIN);
    }
  };
  // The browser's own time zone comes first in the list of zones.
  const zones = document.querySelector("#zone");
  const own = [...(zones?.options ?? [])].find((option) => option.value === Intl.DateTimeFormat().resolvedOptions().timeZone);
  if (own) zones.options[0].after(new Option(`${own.value} (this browser’s)`, own.value));
  for (const event of ["visibilitychange", "pageshow", "online"]) {
    addEventListener(event, ({ persisted }) => {
      if (document.hidden || !timer || persisted === false) return;
      woke = Date.now();
      look();
    });
  }
  learn(page().dataset.now);
  setInterval(tick, 1000);
  timer = setTimeout(look, LOOK);
  tick();
})();
