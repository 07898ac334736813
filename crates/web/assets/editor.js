// Explains the schedule while it is typed. Without this script, a button requests the explanation.
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
      // The explanation is requested again at the next input.
    }
  };
  form.addEventListener("input", (event) => {
    const choice = event.target.closest(".choice");
    if (!choice && event.target.name !== "grace") return;
    // Input in a field of a kind of schedule selects that kind.
    const kind = choice?.querySelector("input[name=kind]");
    if (kind) kind.checked = true;
    clearTimeout(timer);
    timer = setTimeout(explain, 200);
  });
})();
