// Explains the schedule as it is typed. Without it a button does.
"use strict";
(() => {
  const form = document.querySelector("form[data-editor]");
  const place = document.querySelector("#explained");
  if (!form || !place) return;
  let timer, latest = 0;
  const explain = async () => {
    const mine = ++latest;
    try {
      const answer = await fetch(form.dataset.editor, { method: "POST", body: new URLSearchParams(new FormData(form)) });
      const text = await answer.text();
      if (answer.ok && mine === latest) place.innerHTML = text;
    } catch {
      // What is typed next may do better.
    }
  };
  form.addEventListener("input", (event) => {
    const choice = event.target.closest(".choice");
    if (!choice && event.target.name !== "grace") return;
    // Whoever types a cron expression means that kind.
    const kind = choice?.querySelector("input[name=kind]");
    if (kind) kind.checked = true;
    clearTimeout(timer);
    timer = setTimeout(explain, 200);
  });
})();
