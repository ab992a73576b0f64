// SPDX-License-Identifier: EUPL-1.2
// What the scripts that judge pages share. A script prints one line of JSON per check: {"name","ok","detail"}; Go turns the
// lines into tests.
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
import { chromium } from "playwright-core";

let told = 0;
export function tell(name, ok, detail = "") {
  told++;
  process.stdout.write(JSON.stringify({ name, ok: Boolean(ok), detail: String(detail).slice(0, 4000) }) + "\n");
}

// finished says how many checks there were, so that a script that ends early is noticed.
export function finished() { tell("finished", true, told); }

// attempt runs one check; what it throws is the check's failure, and the others go on.
export async function attempt(name, check) {
  try {
    const detail = await check();
    tell(name, true, detail ?? "");
    return true;
  } catch (e) {
    tell(name, false, e.stack ?? e);
    return false;
  }
}

export function must(ok, message) { if (!ok) throw new Error(message); }

export async function until(what, probe, patience = 15_000) {
  const end = Date.now() + patience;
  for (;;) {
    const v = await probe();
    if (v) return v;
    must(Date.now() < end, `waited ${patience / 1000} s in vain: ${what}`);
    await new Promise((r) => setTimeout(r, 100));
  }
}

export function launch(path, ...more) {
  return chromium.launch({
    executablePath: path || "/usr/bin/chromium",
    args: ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
      "--disable-component-update", "--disable-sync", ...more],
  });
}

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];

// judge runs axe; run only by the named rules if there are any.
export async function judge(page, rules) {
  await page.evaluate(axe);
  const found = await page.evaluate(([values, rules]) => window.axe.run(document, {
    runOnly: rules ? { type: "rule", values: rules } : { type: "tag", values }, resultTypes: ["violations"],
    ...(rules ? {} : { rules: { "target-size": { enabled: true } } }),
  }), [tags, rules]);
  must(found.violations.length === 0, found.violations.map((x) => `${x.id}: ${x.help}\n` +
    x.nodes.slice(0, 3).map((n) => `  ${n.target}: ${n.html.slice(0, 200)} — ${(n.failureSummary || "").replaceAll("\n", " ")}`).join("\n")).join("\n"));
}

export async function fits(page) {
  const wide = await page.evaluate(() => ({
    scroll: document.documentElement.scrollWidth, inner: window.innerWidth,
    out: [...document.querySelectorAll("body *")].filter((e) => !e.closest(".hf-scroll, .hf-code") && e.getBoundingClientRect().right > window.innerWidth + 1)
      .slice(0, 4).map((e) => `${e.tagName}.${e.getAttribute("class")}`),
  }));
  must(wide.scroll <= wide.inner, `${wide.scroll} px wide in a window of ${wide.inner}: ${wide.out.join(", ")}`);
}

// authenticator gives the page's browser tab a passkey device that answers by itself, as a phone does whose owner always agrees.
export async function authenticator(page, transport = "internal") {
  const wire = await page.context().newCDPSession(page);
  await wire.send("WebAuthn.enable");
  const { authenticatorId } = await wire.send("WebAuthn.addVirtualAuthenticator", { options: {
    protocol: "ctap2", transport, hasResidentKey: true, hasUserVerification: true, isUserVerified: true, automaticPresenceSimulation: true,
  } });
  return {
    wire, authenticatorId,
    credentials: async () => (await wire.send("WebAuthn.getCredentials", { authenticatorId })).credentials,
    awake: (enabled) => wire.send("WebAuthn.setAutomaticPresenceSimulation", { authenticatorId, enabled }),
    remove: () => wire.send("WebAuthn.removeVirtualAuthenticator", { authenticatorId }),
  };
}
