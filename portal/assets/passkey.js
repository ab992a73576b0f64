// SPDX-License-Identifier: EUPL-1.2
// What signing in and enrolling cannot do without a script: passkeys (WebAuthn). And small comforts that the pages work without:
// a code from a QR code's "#" goes into its field, waiting looks by itself, printing has a button.
// All words stand in data attributes, written by the server in the reader's language.
(() => {
  "use strict";

  const bytes = (text) => Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (c) => c.charCodeAt(0));
  const text = (buffer) => btoa(String.fromCharCode(...new Uint8Array(buffer))).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
  const ids = (list) => (list || []).map((c) => ({ ...c, id: bytes(c.id) }));

  // ask lets the browser ask for a passkey: options as the server has written them, the answer as it reads it.
  async function ask(how, publicKey) {
    publicKey.challenge = bytes(publicKey.challenge);
    if (how === "create") {
      publicKey.user.id = bytes(publicKey.user.id);
      publicKey.excludeCredentials = ids(publicKey.excludeCredentials);
    } else {
      publicKey.allowCredentials = ids(publicKey.allowCredentials);
    }
    const c = await navigator.credentials[how]({ publicKey });
    const r = c.response, response = { clientDataJSON: text(r.clientDataJSON) };
    if (how === "create") {
      response.attestationObject = text(r.attestationObject);
      response.transports = r.getTransports ? r.getTransports() : [];
    } else {
      response.authenticatorData = text(r.authenticatorData);
      response.signature = text(r.signature);
      if (r.userHandle) response.userHandle = text(r.userHandle);
    }
    return { id: c.id, rawId: text(c.rawId), type: c.type, response, clientExtensionResults: c.getClientExtensionResults(),
      authenticatorAttachment: c.authenticatorAttachment || undefined };
  }

  // post sends JSON. What went wrong comes back as the page that a person would have got; its alert has the words.
  async function post(path, body) {
    const r = await fetch(path, { method: "POST", credentials: "same-origin", headers: { "Content-Type": "application/json" },
      body: JSON.stringify(body ?? {}) });
    if (r.ok) return r.json();
    const page = new DOMParser().parseFromString(await r.text(), "text/html").querySelector("main [role=alert]");
    throw Object.assign(new Error(page ? page.textContent.replace(/\s+/g, " ").trim() : ""), { name: "Answered" });
  }

  function wire(box) {
    const d = box.dataset, button = box.querySelector("button"), note = box.querySelector("[role=alert]");
    const say = (words) => {
      note.querySelector("[data-words]").textContent = words;
      note.hidden = !words;
    };
    if (!window.PublicKeyCredential || !window.isSecureContext) {
      say(d.unable);
      return;
    }
    box.querySelector("[data-ready]").hidden = false;
    let timer = 0;
    button.addEventListener("click", async (e) => {
      e.preventDefault();
      if (button.disabled) return;
      button.disabled = true;
      say("");
      try {
        const options = await post(d.options);
        const answer = await ask(d.passkey, options.publicKey);
        const label = box.querySelector("input[name=label]");
        const done = await post(d.finish, label ? { label: label.value, answer } : answer);
        location.assign(done.to);
        timer = setTimeout(() => { button.disabled = false; }, 10000); // the next page did not come
        return;
      } catch (problem) {
        clearTimeout(timer);
        const words = { NotAllowedError: d.cancelled, AbortError: d.cancelled, InvalidStateError: d.twice, SecurityError: d.address,
          NotSupportedError: d.unable, ConstraintError: d.unable, TypeError: d.offline };
        say((problem.name === "Answered" && problem.message) || words[problem.name] || d.failed);
      }
      button.disabled = false;
    });
  }
  document.querySelectorAll("[data-passkey]").forEach(wire);

  // A code behind "#" goes into its field and out of the address, so that nobody reads it there.
  const field = document.querySelector("[data-from-hash]");
  if (field && location.hash.length > 8) {
    field.value = decodeURIComponent(location.hash.slice(1));
    history.replaceState(null, "", location.pathname + location.search);
    field.form.querySelector("button").focus();
  }

  // A form that is answered with a file leaves the page as it is: say that it was sent, and take it away, so that it is sent once.
  document.querySelectorAll("[data-once]").forEach((f) => f.addEventListener("submit", (e) => {
    if (e.submitter && e.submitter.hasAttribute("formaction")) return;
    setTimeout(() => {
      const done = document.getElementById(f.dataset.once);
      f.hidden = true; done.hidden = false; done.focus();
    }, 0);
  }));

  document.querySelectorAll("[data-print]").forEach((b) => {
    b.hidden = false;
    b.addEventListener("click", () => print());
  });

  // Waiting for colleagues: look again and again, and go in when enough have confirmed.
  const waiting = document.querySelector("[data-poll]");
  async function look() {
    try {
      const r = await fetch(waiting.dataset.poll, { credentials: "same-origin", headers: { "X-Holdfast-Fragment": "1" } });
      const html = r.ok ? await r.text() : "";
      if (html && html !== waiting.dataset.last) {
        waiting.dataset.last = html;
        waiting.innerHTML = html;
      }
    } catch { /* the next look may succeed */ }
    const go = waiting.querySelector("form[data-go]");
    if (go) { go.submit(); return; }
    if (waiting.querySelector("[data-waiting]")) setTimeout(look, 2500);
  }
  if (waiting && waiting.querySelector("[data-waiting]")) setTimeout(look, 2500);
})();
