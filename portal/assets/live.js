// SPDX-License-Identifier: EUPL-1.2
// Keeps the parts of a page marked data-src fresh: the server sends the name of what changed, we fetch that part again.
// Without this file every page works; it shows what was true when it was loaded.
(() => {
  "use strict";
  const body = document.body;
  const parts = () => [...document.querySelectorAll("[data-src]")];
  const lost = document.getElementById("lost");
  const voice = document.createElement("p");
  voice.className = "kern-sr-only";
  voice.setAttribute("role", "status");
  voice.setAttribute("aria-live", "polite");
  body.append(voice);

  const waiting = new Set();
  let timer = 0, spoken = 0, busy = false;

  function later(part) {
    waiting.add(part);
    if (!timer) timer = setTimeout(refresh, 250 + Math.random() * 250);
  }

  async function refresh() {
    timer = 0;
    if (busy) { timer = setTimeout(refresh, 250); return; }
    busy = true;
    const now = [...waiting];
    waiting.clear();
    await Promise.all(now.map(load));
    busy = false;
  }

  async function load(part) {
    try {
      const r = await fetch(part.dataset.src, { credentials: "same-origin", headers: { "X-Holdfast-Fragment": "1" } });
      if (r.redirected || r.status === 401) { location.reload(); return; }
      if (!r.ok) return;
      replace(part, await r.text());
    } catch {
      later(part);
    }
  }

  // replace keeps the focus on the link that had it, and open details open.
  function replace(part, html) {
    if (part.dataset.last === html) return;
    part.dataset.last = html;
    const held = part.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
    const open = [...part.querySelectorAll("details[open]")].map((d) => d.id);
    part.innerHTML = html;
    for (const id of open) { const d = id && document.getElementById(id); if (d) d.open = true; }
    if (held) part.querySelector(`[href="${CSS.escape(held)}"]`)?.focus({ preventScroll: true });
    const summary = part.querySelector("[data-summary]");
    if (summary && Date.now() - spoken > 10000) { spoken = Date.now(); voice.textContent = summary.textContent; }
  }

  function say(text) {
    if (!lost) return;
    lost.textContent = text;
    lost.hidden = !text;
  }

  let gone = 0;
  const events = new EventSource(body.dataset.events);
  events.onopen = () => {
    if (gone) parts().forEach(later);
    gone = 0;
    say("");
  };
  events.addEventListener("changed", (e) => {
    const names = e.data.split(" ");
    parts().filter((p) => names.includes("all") || names.includes(p.dataset.name)).forEach(later);
  });
  events.onerror = () => {
    gone ||= Date.now();
    say(events.readyState === EventSource.CLOSED ? body.dataset.again : body.dataset.lost);
  };
  // A receipt becomes "secured" without any event of its own: look a few times, then leave it.
  let looks = 0;
  const look = () => {
    const r = parts().filter((p) => p.dataset.name === "receipt" && !p.querySelector(".hf-saved--secured"));
    r.forEach(later);
    if (r.length && ++looks < 20) setTimeout(look, 500 + looks * 250);
  };
  look();
})();
