// Passkeys: lets the browser create or use one, and sends its answer with the form. No other page
// needs this script.
"use strict";
(() => {
  const bytes = (text) => Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (c) => c.charCodeAt(0));
  const text = (buffer) =>
    btoa(String.fromCharCode(...new Uint8Array(buffer))).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
  const known = (credentials) => credentials?.map((one) => ({ ...one, id: bytes(one.id) }));

  // Converts the server's options to the form that browsers expect.
  const options = ({ publicKey }) => ({
    ...publicKey,
    challenge: bytes(publicKey.challenge),
    ...(publicKey.user && { user: { ...publicKey.user, id: bytes(publicKey.user.id) } }),
    ...(publicKey.excludeCredentials && { excludeCredentials: known(publicKey.excludeCredentials) }),
    ...(publicKey.allowCredentials && { allowCredentials: known(publicKey.allowCredentials) }),
  });

  // Converts the browser's answer to the form that the server expects.
  const answer = ({ id, rawId, type, response }) => {
    const fields = { clientDataJSON: text(response.clientDataJSON) };
    if (response.attestationObject) {
      fields.attestationObject = text(response.attestationObject);
      fields.transports = response.getTransports?.() ?? [];
    } else {
      fields.authenticatorData = text(response.authenticatorData);
      fields.signature = text(response.signature);
      fields.userHandle = response.userHandle ? text(response.userHandle) : null;
    }
    return JSON.stringify({ id, rawId: text(rawId), type, response: fields, extensions: {} });
  };

  const problems = {
    InvalidStateError: "This device has a passkey of this account already.",
    NotAllowedError: "Nothing came of it: it was cancelled, took too long, no passkey of this account is at hand, or it was made under another address.",
    NotSupportedError: "This device cannot make a passkey of a kind that is taken here.",
    SecurityError: "The browser allows no passkeys at this address.",
  };

  // Requests options for `button` and returns the authenticator's answer; nothing if the session
  // has ended.
  const ask = async (form, button) => {
    const asked = await fetch(button.dataset.passkey, { method: "POST", body: new URLSearchParams(new FormData(form)) });
    if (asked.redirected) return location.assign(asked.url);
    if (!asked.headers.get("content-type")?.includes("json")) throw new Error(`The server answers with ${asked.status}.`);
    const begun = await asked.json();
    if (!asked.ok) throw new Error(begun.message);
    const publicKey = options(begun);
    return answer(await navigator.credentials[publicKey.user ? "create" : "get"]({ publicKey }));
  };

  // A submit button sends its form at once. Another button stores the answer until the form is
  // sent.
  const press = async (form, button) => {
    const credential = await ask(form, button);
    if (!credential) return;
    form.elements.credential.value = credential;
    if (button.dataset.instead) {
      const other = document.getElementById(button.dataset.instead);
      Object.assign(other, { disabled: true, value: "", placeholder: "A passkey is shown instead" });
      button.hidden = true;
      return;
    }
    // The server has already checked these fields.
    for (const name of ["password", "code"]) if (form.elements[name]) form.elements[name].value = "";
    form.submit();
  };

  // The server has used up the stored answer, so the field for a code or the button is offered
  // again.
  const showAgain = (form) => {
    form.elements.credential.value = "";
    for (const button of form.querySelectorAll("[data-instead]")) {
      const other = document.getElementById(button.dataset.instead);
      if (!other.disabled) continue;
      Object.assign(other, { disabled: false, value: "", placeholder: "" });
      button.hidden = false;
    }
  };

  for (const button of document.querySelectorAll("button[data-passkey]")) {
    const { form } = button;
    const problem = form.querySelector("[role=alert]");
    const say = (text) => {
      problem.textContent = text;
      problem.hidden = text === "";
    };
    if (location.origin !== form.dataset.origin) {
      say(`Passkeys work at ${form.dataset.origin}; this page was opened at ${location.origin}.`);
      continue;
    }
    if (!window.PublicKeyCredential) {
      say("This browser knows no passkeys.");
      continue;
    }
    button.disabled = false;
    button.addEventListener("click", async (event) => {
      event.preventDefault();
      if (button.type === "submit" && !form.reportValidity()) return;
      button.disabled = true;
      say("");
      try {
        await press(form, button);
      } catch (error) {
        say(problems[error.name] ?? error.message);
        showAgain(form);
      }
      button.disabled = false;
    });
  }
})();
