// SPDX-License-Identifier: EUPL-1.2
// Walks through the portal of a running demonstration as people do: every page in both languages at two widths, without
// JavaScript, with the keyboard alone, and while something happens elsewhere. Prints one line of JSON per check:
// {"name","ok","detail"}. It judges; portal_test.go starts it and turns the lines into tests.
//
//   node portal.mjs CONFIG.json      CONFIG: {"sites": [...], "staff": [...], "phones": URL, "links": {purpose: sign-in link},
//                                    "folder": for files, "screenshots": folder or ""}
import { readFileSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { execFileSync } from "node:child_process";
import { attempt, authenticator, finished, fits, judge, launch, must, until } from "./browser.mjs";

const config = JSON.parse(readFileSync(process.argv[2], "utf8"));
const [here, there] = config.sites.map((s) => s.url);
const authority = "lk-nordtal", other = "sv-westmark";
const firstLoad = 120_000; // bytes as they come over the wire, with an empty cache
const words = {
  de: { go: /Übungsalarm auslösen/, cleared: /Entwarnung gegeben/ },
  en: { go: /Raise the exercise alarm/, cleared: /all-clear given/ },
};

const browser = await launch(config.chromium);

// visit opens a context of its own, so the cache is cold, and watches what the page asks for and complains about.
async function visit({ language = "en", width = 1440, state, script = true, site = here } = {}) {
  const context = await browser.newContext({
    viewport: { width, height: width < 500 ? 780 : 900 }, locale: language === "de" ? "de-DE" : "en-GB", storageState: state,
    javaScriptEnabled: script, reducedMotion: "reduce",
  });
  await context.addCookies(config.sites.map((s) => ({ name: "lang", value: language, url: s.url })));
  const page = await context.newPage();
  const v = { context, page, foreign: [], complaints: [], bytes: 0, expected: 0 };
  page.on("request", (r) => { if (!r.url().startsWith("data:") && new URL(r.url()).origin !== site) v.foreign.push(r.url()); });
  page.on("console", (m) => { if (m.type() === "error" && !(v.expected && /status of (4\d\d)/.test(m.text()))) v.complaints.push(m.text()); });
  page.on("pageerror", (e) => v.complaints.push(String(e)));
  const wire = await context.newCDPSession(page);
  await wire.send("Network.enable");
  wire.on("Network.loadingFinished", (e) => { v.bytes += e.encodedDataLength; });
  return v;
}

async function signIn(link, options) {
  const v = await visit({ ...options, site: new URL(link).origin });
  await v.page.goto(link);
  await v.page.locator("main form button").click();
  await v.page.waitForURL(new URL("/", link).href);
  return v;
}

async function newest(authority) {
  const v = await visit({ state: session });
  await v.page.goto(`${here}/a/${authority}/alarms`);
  const path = await v.page.locator(".hf-alarms a").first().getAttribute("href");
  await v.context.close();
  return path;
}

async function phones(path) { return (await fetch(config.phones + path)).json(); }

// replyPath finds the reply link that was sent to somebody in an alarm who has not replied; n counts these people.
async function replyPath(alarmPath, n = 0) {
  const id = alarmPath.split("/").at(-1);
  const message = await until("a message of the alarm arrives", async () => {
    const replied = new Set((await phones("/replies")).filter((r) => r.alarm === id).map((r) => r.person));
    const messages = (await phones("/messages")).filter((m) => {
      const [, alarm, person, channel, wave] = m.key.split("/");
      return alarm === id && wave === "0" && channel === "sms" && !replied.has(person);
    });
    return messages.sort((a, b) => (a.key < b.key ? -1 : 1))[n];
  });
  return new URL(message.text.match(/https?:\/\/\S+\/r\/[\w-]+/)[0]).pathname;
}

async function fillAlarm(page, { text = "Bitte antworten Sie mit einem Tipp auf den Link.", english = "Please reply with one tap on the link.", mode = "exercise" } = {}) {
  await page.locator(`#mode-${mode}`).check();
  await page.locator("#text-de").fill(text);
  await page.locator("#text-en").fill(english);
  await page.locator("#everyone").check();
}

async function raise(page, language, at = here, who = authority) {
  await page.goto(`${at}/a/${who}/alarms/new`);
  await fillAlarm(page);
  await page.locator("form[action$='/preview'] button[type=submit]").click();
  const go = page.locator("form[action$='/alarms'] button");
  must(words[language].go.test(await go.innerText()), `the button says ${await go.innerText()}`);
  await go.click();
  await page.waitForURL(/\/alarms\/[0-9a-f]+\?/);
  return new URL(page.url()).pathname;
}

// --- what the pages need to exist ---

const first = await signIn(config.links.pages, {});
const session = await first.context.storageState();
const board = await newest(authority), otherBoard = await newest(other);
const openReply = await replyPath(otherBoard, 3);
await first.page.goto(`${here}/a/${authority}/people`);
const names = await first.page.locator("tbody th a").allInnerTexts();
const umlaut = names.join(" ").match(/[\p{L}]*[äöüß][\p{L}]*/u)?.[0];
const person = await first.page.locator("tbody th a").first().getAttribute("href");
const leaving = await first.page.locator("tbody th a").last().getAttribute("href");
await first.page.goto(`${here}${otherBoard}?list=without`);
const without = await first.page.locator(".hf-people a").first().getAttribute("href");
const closed = await raise(first.page, "en");
const closedReply = await replyPath(closed, 1);
const doneReply = await replyPath(otherBoard, 4);
await first.page.goto(`${here}${closed}/allclear`);
await first.page.locator(".hf-decide form button").click();
await first.page.waitForURL(/wrote=closed/);
const afterWrite = new URL(first.page.url());
await first.page.goto(here + doneReply);
await first.page.locator("button[value=coming]").click();
await first.page.waitForURL(/receipt=/);
const doneURL = new URL(first.page.url());
await first.context.close();

// Staff with a session of their own each, which is good at all sites; a chief who administers, a deputy who decides with them,
// somebody who enrols, and a guest of the alarm that is open.
const [chief, deputy, newcomer] = config.staff.filter((s) => s.authority === authority);
const sessions = { operator: session };
const signedInAs = async (link) => { const v = await signIn(link, {}); return v; };
const chiefs = await signedInAs(chief.signIn), office = `${here}/a/${authority}`;
const key = await authenticator(chiefs.page);
await chiefs.page.goto(here + "/account");
await chiefs.page.locator("#label").fill("Diensthandy");
await pressed(chiefs.page, "[data-passkey] [data-ready] button");
let keys = await key.credentials();
await key.awake(false);
await authenticator(chiefs.page, "usb");
await chiefs.page.locator("#label").fill("Schlüssel am Bund");
await pressed(chiefs.page, "[data-passkey] [data-ready] button");
await chiefs.page.goto(here + "/account");
await makeCodes(chiefs.page);
await chiefs.page.goto(`${here}${leaving}/erase`);
await chiefs.page.locator("#understood").check();
await pressed(chiefs.page, ".hf-decide button");
const approval = new URL(chiefs.page.url()).pathname;
await chiefs.page.goto(`${office}/roles`);
const withdrawal = await chiefs.page.locator("a[href$='/withdraw']").first().getAttribute("href");
await inviteGuest(chiefs.page, "Gast aus Ostheim");
const guestCode = await chiefs.page.locator(".hf-secret code").innerText();
sessions.chief = await chiefs.context.storageState();
await chiefs.context.close();
const deputies = await signedInAs(deputy.signIn);
sessions.deputy = await deputies.context.storageState();
await deputies.context.close();
sessions.newcomer = await formSession(newcomer.invite, "main form button");
sessions.guest = await formSession(here + "/signin/guest", "form[action='/signin/guest'] button", { "#code": guestCode });
const unopened = new URL(config.staff.find((s) => s.authority !== authority && s.invite).invite).pathname;

// pressed clicks and waits for the page that comes of it.
async function pressed(page, what) {
  const come = page.waitForNavigation({ waitUntil: "load", timeout: 20_000 });
  await page.locator(what).first().click();
  return come;
}

// young returns the session of whoever looks at a page. The chief signs in again in time: making codes, passkeys and the like takes
// a sign-in of the last ten minutes, and on a slow machine the walk takes longer.
let since = Date.now(), renewal = Promise.resolve();
async function young(who) {
  if (who === "chief") await (renewal = renewal.then(async () => {
    if (Date.now() - since < 300_000) return;
    const v = await byPasskey(here);
    sessions.chief = await v.context.storageState();
    await v.context.close();
    since = Date.now();
  }));
  return sessions[who];
}

async function formSession(url, button, fields = {}) {
  const v = await visit({});
  await v.page.goto(here + new URL(url).pathname);
  for (const [field, value] of Object.entries(fields)) await v.page.locator(field).fill(value);
  await pressed(v.page, button);
  must(await v.page.locator("form[action='/signout']").count() === 1, `is not in at ${v.page.url()}: ${await v.page.locator("main").innerText()}`);
  const state = await v.context.storageState();
  await v.context.close();
  return state;
}

async function inviteGuest(page, name) {
  await page.goto(`${office}/guests`);
  await page.locator("#name").fill(name);
  await page.locator("input[name=incident]").first().check();
  await pressed(page, `form[action='/a/${authority}/guests'] button`);
}

async function makeCodes(page) {
  await page.locator("details:has(form[action='/account/codes']) summary").click();
  await pressed(page, "form[action='/account/codes'] button");
  return page.locator(".hf-codes code").allInnerTexts();
}

// typed fills a form in and sends it.
const typed = (fields, button) => async (p) => {
  for (const [field, value] of Object.entries(fields)) await p.locator(field).fill(value);
  await pressed(p, button);
};

// The pages of who comes in and how, and of administration.
const somebody = leaving.split("/").at(-1);
const identityPages = {
  "sign-in-code": { path: "/signin/code", open: true },
  "sign-in-code-wrong": { path: "/signin/code", open: true, expected: 401, then: typed({ "#code": "ABCD-EFGH" }, "form[action='/signin/code'] button") },
  "sign-in-guest": { path: "/signin/guest", open: true },
  "sign-in-guest-wrong": { path: "/signin/guest", open: true, expected: 401, then: typed({ "#code": "ABCDE-FGHJK" }, "form[action='/signin/guest'] button") },
  vouching: { path: "/signin/vouching", open: true },
  "vouching-asked": { path: "/signin/vouching", open: true, then: (p) => pressed(p, "form[action='/signin/vouching'] button") },
  invitation: { path: unopened, open: true, shot: true },
  "invitation-wrong": { path: "/enrol/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", open: true, expected: 401 },
  "enrol-passkey": { path: "/enrol?step=1", as: "newcomer", shot: true },
  "enrol-second": { path: "/enrol?step=2", as: "newcomer" },
  "enrol-codes": { path: "/enrol?step=3", as: "newcomer" },
  "enrol-nothing-done": { path: "/enrol?step=done", as: "newcomer" },
  account: { path: "/account", as: "chief", shot: true },
  "account-of-the-machine": { path: "/account", as: "operator" },
  codes: { path: "/account", as: "chief", shot: true, then: async (p) => must((await makeCodes(p)).length === 10, "not ten codes") },
  totp: { path: "/account/totp", as: "chief" },
  "totp-wrong": { path: "/account/totp", as: "chief", expected: 422, then: typed({ "#passcode": "000000" }, "form[action='/account/totp'] button") },
  password: { path: "/account", as: "chief", then: async (p) => {
    await p.locator("details:has(form[action='/account/passwords']) summary").click();
    await typed({ "#password-name": "Adressbuch im Diensthandy" }, "form[action='/account/passwords'] button")(p);
  } },
  vouch: { path: `/a/${authority}/vouch`, as: "deputy" },
  "vouch-found": { path: `/a/${authority}/vouch?q=${encodeURIComponent(umlaut ?? "")}`, as: "deputy" },
  "vouch-person": { path: `/a/${authority}/vouch?person=${somebody}`, as: "deputy" },
  "vouch-wrong": { path: `/a/${authority}/vouch?person=${somebody}`, as: "chief", expected: 422, then: async (p) => {
    await p.locator("#sure").check();
    await typed({ "#code": "zu kurz" }, `form[action='/a/${authority}/vouch'] button`)(p);
  } },
  incident: { path: `/a/${authority}/incident`, as: "guest" },
  "no-right": { path: `/a/${authority}/people`, as: "guest", expected: 403 },
  admin: { path: `/a/${authority}/admin`, as: "chief", shot: true },
  accounts: { path: `/a/${authority}/accounts`, as: "chief", shot: true },
  "accounts-none": { path: `/a/${authority}/accounts?state=none`, as: "chief" },
  "accounts-found": { path: `/a/${authority}/accounts?q=${encodeURIComponent(umlaut ?? "")}`, as: "chief" },
  "account-of": { path: `/a/${authority}/accounts/${chief.person}`, as: "deputy" },
  "accounts-invite": { path: `/a/${authority}/accounts/invite?person=${somebody}`, as: "chief" },
  roles: { path: `/a/${authority}/roles`, as: "chief" },
  "roles-new": { path: `/a/${authority}/roles/new`, as: "chief" },
  "roles-new-errors": { path: `/a/${authority}/roles/new`, as: "chief", expected: 422, then: (p) => pressed(p, ".hf-actions button[type=submit]") },
  "roles-withdrawn": { path: `/a/${authority}/roles/withdrawn`, as: "chief" },
  "roles-withdraw": { path: withdrawal, as: "chief" },
  approvals: { path: `/a/${authority}/approvals`, as: "deputy", shot: true },
  approval: { path: approval, as: "deputy", shot: true },
  "approval-asked": { path: approval, as: "chief" },
  guests: { path: `/a/${authority}/guests`, as: "chief" },
  "guest-code": { path: `/a/${authority}/guests`, as: "chief", then: (p) => inviteGuest(p, "Noch ein Gast") },
  programs: { path: `/a/${authority}/programs`, as: "chief" },
  "program-token": { path: `/a/${authority}/programs`, as: "chief", then: async (p) => {
    await p.locator("input[id='scope-alarm.see']").check();
    await typed({ "#program-name": "Lagekarte" }, `form[action='/a/${authority}/programs'] button`)(p);
  } },
  policy: { path: `/a/${authority}/policy`, as: "chief" },
  "policy-errors": { path: `/a/${authority}/policy`, as: "chief", expected: 422, then: typed({ "#hours": "viele" }, `form[action='/a/${authority}/policy'] button`) },
  privacy: { path: `/a/${authority}/privacy`, as: "chief" },
  erase: { path: `/a/${authority}/people/${somebody}/erase`, as: "chief" },
  "person-as-chief": { path: person, as: "chief" },
  audit: { path: `/a/${authority}/audit`, as: "chief", shot: true },
  "audit-refused": { path: `/a/${authority}/audit?outcome=refused`, as: "chief" },
  "audit-errors": { path: `/a/${authority}/audit?who=Zzyzx`, as: "chief" },
};

const visitPages = {
  "sign-in": { path: "/signin", open: true, shot: true },
  "sign-in-link": { path: "/signin/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", open: true },
  overview: { path: "/", shot: true },
  alarms: { path: `/a/${authority}/alarms` },
  raise: { path: `/a/${authority}/alarms/new`, shot: true },
  "raise-lists": { path: `/a/${authority}/alarms/new`, then: async (p) => { for (const s of await p.locator("summary").all()) await s.click(); } },
  "raise-person": { path: `/a/${authority}/alarms/new?person=${person.split("/").at(-1)}` },
  "raise-errors": { path: `/a/${authority}/alarms/new`, expected: 422, then: async (p) => {
    await p.locator("form[action$='/preview'] button[type=submit]").click();
    await p.locator("#errors").waitFor();
  } },
  preview: { path: `/a/${authority}/alarms/new`, shot: true, then: async (p) => {
    await fillAlarm(p, { text: "Das Netz des Hauses ist ausgefallen. Lagebesprechung um 14 Uhr im Sitzungssaal.",
      english: "The network of the house is down. Briefing at 2 pm in the council chamber." });
    await p.locator("form[action$='/preview'] button[type=submit]").click();
    await p.locator(".hf-decide").waitFor();
  } },
  "preview-actual": { path: `/a/${other}/alarms/new`, shot: true, then: async (p) => {
    await fillAlarm(p, { mode: "actual", text: "Schadsoftware im Haus. Rechner sofort ausschalten, nichts anschließen. Lagebesprechung um 3:30 Uhr am Telefon.",
      english: "Malware in the house. Switch computers off now, connect nothing. Briefing at 3:30 by telephone." });
    await p.locator("form[action$='/preview'] button[type=submit]").click();
    await p.locator(".hf-decide").waitFor();
  } },
  board: { path: otherBoard, shot: true },
  "board-of-the-other-half": { path: board },
  ...Object.fromEntries(["coming", "safe", "cannot", "silent", "pending", "failed", "without"]
    .map((l) => [`board-list-${l}`, { path: `${otherBoard}?list=${l}` }])),
  "board-closed": { path: closed },
  "board-written": { path: afterWrite.pathname + afterWrite.search },
  cancel: { path: `${otherBoard}/cancel` },
  "all-clear": { path: `${otherBoard}/allclear`, shot: true },
  people: { path: `/a/${authority}/people`, shot: true },
  "people-found": { path: `/a/${authority}/people?q=${encodeURIComponent(umlaut ?? "")}`, then: async (p) => {
    must(umlaut, "nobody on the first page of people has an umlaut");
    const found = await p.locator("tbody th a").allInnerTexts();
    must(found.length > 0 && found.every((n) => n.includes(umlaut)), `looked for ${umlaut}, found ${found.join("; ") || "nobody"}`);
  } },
  "people-none": { path: `/a/${authority}/people?q=Zzyzx` },
  person: { path: person, shot: true },
  "person-without-channel": { path: without },
  merges: { path: "/merges", shot: true, then: async (p) => {
    // On a busy machine what another site has written comes late, too, and is a merge above that of the site that was cut off.
    const card = p.locator(".hf-card").filter({ hasText: config.sites[2].name }).first();
    must(await card.count() === 1, `no merge says that it came from where the cut was: ${await p.locator("main").innerText()}`);
    must(await card.locator("time").count() >= 3, "the merge does not say from when");
    must(/[1-9]/.test(await card.locator("h2").first().innerText()), "the merge does not say how much");
  } },
  reply: { path: openReply, open: true, shot: true },
  "reply-done": { path: doneURL.pathname + doneURL.search, open: true, shot: true },
  "reply-closed": { path: closedReply, open: true },
  "reply-wrong-link": { path: "/r/AVAsKSXxbLgW1GkXVgk2Ibqhx4IWAcijTUId_FOUcS6C9Pg", open: true, expected: 404 },
  "no-page": { path: "/nowhere", expected: 404, shot: true },
  "no-authority": { path: "/a/nobody/alarms", expected: 404 },
  "no-alarm": { path: `/a/${authority}/alarms/0000000000000000`, expected: 404 },
};

// Pages of what no demonstration has: an alarm that came too late and is held, clocks that differ. They are judged as portal's own
// tests keep them, with the style sheets of the site, and without the scripts, which would ask for an alarm that is not there.
const keptPages = {
  "held-overview": { path: "/kept/overview", kept: "overview" },
  "held-board": { path: "/kept/board", kept: "board-held" },
  "held-call": { path: "/kept/call", kept: "call" },
};

const assets = new Map((await (await fetch(here + "/signin")).text()).match(/\/assets\/\w+\.\w+\.(css|svg)/g)
  .map((found) => [found.replace(/\.\w+\./, ".HASH."), found]));

function keptPage(name, language) {
  const file = new URL(`../portal/testdata/${name}.${language}.html`, import.meta.url);
  return readFileSync(file, "utf8").replace(/<script[^>]*><\/script>/g, "").replace(/\/assets\/\w+\.HASH\.\w+/g, (wanted) => {
    must(assets.has(wanted), `the site has no ${wanted}`);
    return assets.get(wanted);
  });
}

async function visitPage(name, spec, language, width) {
  const label = (check) => `pages/${name}/${language}/${width}/${check}`;
  const v = await visit({ language, width, state: spec.open ? undefined : await young(spec.as ?? "operator") });
  const { page } = v;
  v.expected = spec.expected;
  try {
    await attempt(label("shows"), async () => {
      if (spec.kept) await page.route(here + spec.path, (route) => route.fulfill({
        contentType: "text/html; charset=utf-8", body: keptPage(spec.kept, language) }));
      const response = await page.goto(here + spec.path);
      const status = response.status(), wanted = spec.then ? 200 : spec.expected ?? 200;
      must(status === wanted || (wanted === 404 && status < 500 && status >= 400), `answered ${status}, wanted ${wanted}`);
      const lang = await page.locator("html").getAttribute("lang");
      must(lang === language, `the page is in ${lang}`);
      must(await page.locator("h1").count() === 1, "the page has not exactly one h1");
      if (spec.then) await spec.then(page);
      await page.waitForTimeout(350); // what the page asks for by itself belongs to its first load
      return `${v.bytes} bytes`;
    });
    await attempt(label("light"), async () => { must(v.bytes <= firstLoad, `${v.bytes} bytes`); return `${v.bytes} bytes`; });
    await attempt(label("quiet"), () => must(v.complaints.length === 0, v.complaints.join("\n")));
    await attempt(label("fits"), () => fits(page));
    await attempt(label("axe"), () => judge(page));
    await page.emulateMedia({ colorScheme: "dark" });
    await attempt(label("dark"), () => judge(page, ["color-contrast", "link-in-text-block"]));
    await page.emulateMedia({ colorScheme: "light" });
    if (config.screenshots && spec.shot) await picture(page, name, language, width);
    if (width === 360) { // WCAG 1.4.10: nothing is lost at 320 px either
      await page.setViewportSize({ width: 320, height: 780 });
      await attempt(label("reflow"), () => fits(page));
    }
    await attempt(label("own"), () => must(v.foreign.length === 0, v.foreign.join("\n")));
  } finally {
    await v.context.close();
  }
}

// Pictures for the documentation: both languages, both widths for the board, one each for the rest, to keep the folder small.
async function picture(page, name, language, width) {
  const wanted = name === "board" || (language === "en") === (width === 1440);
  if (!wanted) return;
  mkdirSync(config.screenshots, { recursive: true });
  await page.evaluate(() => window.scrollTo(0, 0));
  const tall = await page.evaluate(() => document.documentElement.scrollHeight);
  const clip = width === 360 ? { x: 0, y: 0, width, height: Math.min(tall, 2000) } : undefined;
  await page.screenshot({ path: join(config.screenshots, `${name}-${language}-${width}.png`), clip, fullPage: width === 360 });
}

// The instruments are judged first: each must see a fault that is planted.
await attempt("instruments", async () => {
  const v = await visit({ state: session });
  const blind = async (what, look) => must(await look().then(() => false, () => true), `${what} was not noticed`);
  await v.page.goto(here + "/");
  await v.page.evaluate(() => { document.documentElement.removeAttribute("lang"); document.querySelector("h1").className = "hf-asof"; });
  await blind("a page without a language", () => judge(v.page));
  await v.page.goto(here + "/");
  await v.page.evaluate(() => { document.querySelector("h1").style.cssText = "width: 2000px"; });
  await blind("a page that is too wide", () => fits(v.page));
  must(v.foreign.length === 0 && v.complaints.length === 0, "the page itself was not clean");
  await v.page.evaluate(() => { console.error("planted"); const i = new Image(); i.src = "http://127.0.0.3:9/x.png"; document.body.append(i); });
  await until("a foreign request or the browser's refusal is seen", async () => v.foreign.length + v.complaints.length > 1);
  await v.page.goto(here + "/");
  await v.page.evaluate(() => {
    const plain = new CSSStyleSheet();
    plain.replaceSync("* { outline: none !important; box-shadow: none !important }");
    document.adoptedStyleSheets = [plain];
  });
  await v.page.keyboard.press("Tab");
  must(!(await focused(v.page)).ring, "a focus without a ring was not noticed");
  await v.page.evaluate(() => { document.adoptedStyleSheets[0].replaceSync("* { outline: 2px solid red !important }"); });
  await v.page.keyboard.press("Tab");
  await focused(v.page);
  await v.page.keyboard.press("Tab");
  must((await focused(v.page)).same, "a ring that is always there was not noticed");
  must(v.bytes > 3000, `${v.bytes} bytes cannot be true`);
  await v.context.close();
});

const only = process.env.HOLDFAST_E2E_ONLY; // the pages to judge, for whoever mends one; they are too few to pass
const jobs = Object.entries({ ...identityPages, ...visitPages, ...keptPages }).filter(([name]) => !only || name.match(only)).flatMap(([name, spec]) =>
  ["de", "en"].flatMap((language) => [360, 1440].map((width) => () => visitPage(name, spec, language, width))));
const hand = async () => { for (let job; (job = jobs.shift());) await job(); };
await Promise.all([hand(), hand(), hand()]);

// --- without JavaScript ---

for (const language of ["de", "en"]) {
  await attempt(`without-javascript/${language}`, async () => {
    const v = await signIn(config.links[`plain-${language}`], { language, script: false, width: 360 });
    const { page } = v;
    await page.goto(`${here}/a/${authority}/people`);
    await page.locator("#q").fill(umlaut);
    await page.locator("form[role=search] button").click();
    await page.waitForURL(/q=/);
    must((await page.locator("tbody th a").first().innerText()).includes(umlaut), `${umlaut} was not found`);
    const path = await raise(page, language);
    await page.goto(here + path);
    must(await page.locator(".hf-modebar--exercise").count() === 1, "the board does not say that this is an exercise");
    await until("the board shows that people are called", async () => {
      await page.locator(".hf-reload").click();
      return Number((await page.locator(".hf-figure strong").innerText()).replace(/\D/g, "")) > 0;
    });
    await answer(v, path, language);
    await page.goto(here + path);
    await page.locator("a[href$='/allclear']").click();
    await page.locator(".hf-decide form button").click();
    await page.waitForURL(/wrote=closed/);
    must(words[language].cleared.test(await page.locator(".hf-state").innerText()), await page.locator(".hf-state").innerText());
    await page.goto(here + "/");
    const foreign = language === "de" ? "en" : "de";
    await page.locator(`.hf-tools a[hreflang=${foreign}]`).click();
    must(await page.locator("html").getAttribute("lang") === foreign, "the language has not changed");
    await page.goto(`${here}/a/${authority}/people`);
    must(await page.locator("html").getAttribute("lang") === foreign, "the language is forgotten on the next page");
    await pressed(page, "form[action='/signout'] button");
    must(new URL(page.url()).pathname === "/signin", `is at ${page.url()}: ${await page.locator("main").innerText()}`);
    must(v.foreign.length === 0, v.foreign.join("\n"));
    await v.context.close();
  });
}

async function answer({ context }, path, language) {
  const page = await context.newPage();
  await page.goto(here + await replyPath(path, 2));
  await page.locator("#minutes").selectOption("45");
  await page.locator("button[value=coming]").click();
  await page.waitForURL(/receipt=/);
  must((await page.locator(".done").innerText()).includes("45"), "the reply page does not repeat the reply");
  await page.locator(`a[hreflang=${language === "de" ? "en" : "de"}]`).click();
  must(await page.locator("html").getAttribute("lang") !== language, "the reply page does not change its language");
  await page.close();
  await context.addCookies([{ name: "lang", value: language, url: here }]);
}

// --- on paper, by code ---

const papers = await byPasskey(here, { language: "de" });
let sheet = [];

// byPasskey signs the chief in with the passkey that they made at the first site.
async function byPasskey(site, options = {}) {
  const v = await visit({ ...options, site });
  const mine = await authenticator(v.page);
  for (const credential of keys) await mine.wire.send("WebAuthn.addCredential", { authenticatorId: mine.authenticatorId, credential });
  await v.page.goto(site + "/signin");
  await pressed(v.page, "[data-passkey] [data-ready] button");
  must(v.page.url().startsWith(site) && await v.page.locator("form[action='/signout']").count() === 1, `is at ${v.page.url()}`);
  keys = await mine.credentials(); // with the counter that the sites have seen
  return v;
}

await attempt("sheet/the-page-and-the-paper-have-the-same-codes", async () => {
  await papers.page.goto(here + "/account");
  sheet = await makeCodes(papers.page);
  must(sheet.length === 10, `${sheet.length} codes: ${papers.page.url()} ${await papers.page.locator("main").innerText()}`);
  const [download] = await Promise.all([papers.page.waitForEvent("download"),
    papers.page.locator("form[action='/account/codes/sheet.pdf'] button").click()]);
  await download.saveAs(join(config.folder, "codes-sheet-de.pdf"));
  const text = execFileSync("pdftotext", ["-layout", join(config.folder, "codes-sheet-de.pdf"), "-"], { encoding: "utf8" });
  must(sheet.length === 10 && sheet.every((c) => text.includes(c) || text.includes(c.slice(0, 15)) && text.includes(c.slice(15))), text);
});
await attempt("sheet/legible-in-black-and-white", async () => {
  for (const dots of ["110", "150"]) {
    execFileSync("pdftoppm", ["-mono", "-r", dots, "-singlefile", join(config.folder, "codes-sheet-de.pdf"), join(config.folder, "sheet-mono")]);
    const read = execFileSync("zbarimg", ["-q", "--raw", join(config.folder, "sheet-mono.pbm")], { encoding: "utf8" }).trim().split("\n");
    must(read.some((l) => /^https?:\/\/[^#]+\/signin\/code$/.test(l)), `at ${dots} dots an inch it reads ${read.join(" and ")}`);
  }
});
if (config.screenshots) {
  mkdirSync(config.screenshots, { recursive: true });
  execFileSync("pdftoppm", ["-gray", "-png", "-r", "110", "-singlefile", join(config.folder, "codes-sheet-de.pdf"), join(config.screenshots, "codes-sheet-de")]);
}
await papers.context.close();

await attempt("without-javascript/a-code-lets-in", async () => {
  const v = await visit({ script: false, width: 360, language: "de" });
  await v.page.goto(here + "/signin");
  await pressed(v.page, "a[href='/signin/code']");
  await typed({ "#code": sheet[0] }, "form[action='/signin/code'] button")(v.page);
  must(await v.page.locator("form[action='/signout']").count() === 1, `is at ${v.page.url()}`);
  await v.context.close();
});

await attempt("passkey/one-made-here-is-good-at-the-other-sites", async () => {
  const v = await byPasskey(there);
  await v.context.close();
});

// --- with the keyboard alone ---

// focused describes what has the focus, and whether one can see that.
function focused(page) {
  return page.evaluate(() => {
    const e = document.activeElement;
    if (!e || e === document.body) return { what: "nothing" };
    // A ring that is there without the focus is none: the look of each stop is compared with its look at the next stop.
    const look = (x) => { const s = getComputedStyle(x); return [s.outlineStyle, s.outlineWidth, s.outlineColor, s.boxShadow].join(); };
    const looks = (x) => look(x) + (x.nextElementSibling ? look(x.nextElementSibling) : "");
    const last = window.hfLast, same = last && last.e !== e && last.e.isConnected && looks(last.e) === last.looks ? last.what : "";
    const box = (x) => { const s = getComputedStyle(x); return (s.outlineStyle !== "none" && parseFloat(s.outlineWidth) > 0) || s.boxShadow !== "none"; };
    const r = e.getBoundingClientRect();
    const what = `${e.tagName.toLowerCase()}${e.id ? "#" + e.id : ""}${e.getAttribute("href") ? `[href="${e.getAttribute("href")}"]` : ""} "${(e.innerText || e.value || "").trim().slice(0, 30)}"`;
    window.hfLast = { e, what, looks: looks(e) };
    return { what, same, id: e.id, href: e.getAttribute("href") ?? "", tag: e.tagName, form: e.closest("form")?.getAttribute("action") ?? "", text: e.innerText ?? "",
      ring: box(e) || (e.nextElementSibling?.tagName === "LABEL" && box(e.nextElementSibling)),
      inView: r.width > 0 && r.height > 0 && r.bottom > 0 && r.right > 0 && r.top < innerHeight && r.left < innerWidth };
  });
}

async function tabTo(page, trail, wanted, key = "Tab") {
  for (let i = 0; i < 250; i++) {
    await page.keyboard.press(key);
    const f = await focused(page);
    if (f.what === "nothing") continue;
    trail.push(f);
    if (wanted(f)) return f;
  }
  throw new Error("the keyboard does not get there; the last stops: " + trail.slice(-8).map((f) => f.what).join(" → "));
}

let used = 0;
for (const language of ["de", "en"]) for (const width of [360, 1440]) {
  const name = `keyboard/${language}/${width}`, trail = [];
  const v = await visit({ language, width });
  const { page } = v, link = config.links[`keys-${language}-${width}`];
  await attempt(`${name}/raise`, async () => {
    await page.goto(link);
    await tabTo(page, trail, (f) => f.form.startsWith("/signin/"));
    await page.keyboard.press("Enter");
    await page.waitForURL(here + "/");
    await tabTo(page, trail, (f) => f.href === `/a/${authority}/alarms/new`);
    await page.keyboard.press("Enter");
    await page.waitForURL(/alarms\/new$/);
    await tabTo(page, trail, (f) => f.id.startsWith("mode-"));
    await page.keyboard.press("Space");
    await page.keyboard.press("ArrowDown");
    must(await page.locator("#mode-exercise").isChecked(), "the arrow does not choose the exercise");
    await tabTo(page, trail, (f) => f.id === "text-de");
    await page.keyboard.type("Übung mit der Tastatur");
    await tabTo(page, trail, (f) => f.id === "everyone");
    await page.keyboard.press("Space");
    await page.keyboard.press("Tab");
    await page.keyboard.press("Space"); // opens the list of functions
    await page.keyboard.press("Shift+Tab");
    must((await focused(page)).id === "everyone", "Shift+Tab does not lead back");
    await tabTo(page, trail, (f) => f.tag === "BUTTON" && f.form.endsWith("/preview"));
    await page.keyboard.press("Enter");
    await page.waitForURL(/\/preview$/);
    await tabTo(page, trail, (f) => f.tag === "BUTTON" && f.form === `/a/${authority}/alarms`);
    await page.keyboard.press("Enter");
    await page.waitForURL(/\/alarms\/[0-9a-f]+\?/);
    await tabTo(page, trail, (f) => f.href.endsWith("/allclear"));
    await page.keyboard.press("Enter");
    await page.waitForURL(/\/allclear$/);
    await tabTo(page, trail, (f) => f.tag === "BUTTON" && f.form.endsWith("/allclear"));
    await page.keyboard.press("Enter");
    await page.waitForURL(/wrote=closed/);
    await tabTo(page, trail, (f) => f.href.includes("list=coming"));
    await page.keyboard.press("Enter");
    await page.waitForURL(/list=coming/);
  });
  await attempt(`${name}/focus-is-visible`, () => {
    const hidden = [...new Set(trail.map((f) => (f.ring ? f.same : f.what)).filter(Boolean))];
    must(trail.length > 40, `only ${trail.length} stops`);
    must(hidden.length === 0, hidden.join("\n"));
    return `${trail.length} stops`;
  });
  await attempt(`${name}/focus-is-in-view`, () => {
    const lost = [...new Set(trail.filter((f) => !f.inView).map((f) => f.what))];
    must(lost.length === 0, lost.join("\n"));
  });
  await attempt(`${name}/skip-link`, async () => {
    await page.goto(here + "/");
    await page.keyboard.press("Tab");
    const skip = await focused(page);
    must(skip.href === "#main" && skip.inView, `the first stop is ${skip.what}, in view: ${skip.inView}`);
    await page.keyboard.press("Enter");
    must((await focused(page)).id === "main", "the skip link does not lead to the content");
    const next = await tabTo(page, [], () => true);
    must(await page.evaluate(() => document.getElementById("main").contains(document.activeElement)), `after the skip link comes ${next.what}`);
  });
  await attempt(`${name}/sign-in-with-a-code`, async () => {
    const stranger = await visit({ language, width });
    await stranger.page.goto(here + "/signin");
    await tabTo(stranger.page, trail, (f) => f.href === "/signin/code");
    await stranger.page.keyboard.press("Enter");
    await stranger.page.waitForURL(/signin\/code$/);
    await tabTo(stranger.page, trail, (f) => f.id === "code");
    await stranger.page.keyboard.type(sheet[++used]);
    await stranger.page.keyboard.press("Enter");
    await stranger.page.waitForURL((url) => !url.pathname.startsWith("/signin"));
    await tabTo(stranger.page, trail, (f) => f.href === "/account");
    await stranger.context.close();
  });
  await attempt(`${name}/reply`, async () => {
    await page.goto(here + openReply);
    await tabTo(page, trail, (f) => f.id === "minutes");
    await page.keyboard.press("ArrowDown");
    const safe = await tabTo(page, trail, (f) => f.tag === "BUTTON");
    must(safe.ring, `no ring around ${safe.what}`);
    await page.keyboard.press("Enter");
    await page.waitForURL(/receipt=/);
  });
  await v.context.close();
}

// --- while something happens elsewhere ---

await attempt("live/a-reply-at-another-site", async () => {
  await until("the phones are quiet", async () => (await phones("/count")).replying === 0, 60_000);
  const v = await visit({ state: session });
  await v.page.goto(here + otherBoard);
  const tile = (status) => v.page.locator(`.hf-tile--${status} strong`).innerText().then((s) => Number(s.replace(/\D/g, "")));
  const before = { coming: await tile("coming"), cannot: await tile("cannot"), safe: await tile("safe") };
  const reply = async (kind) => {
    const r = await fetch(there + openReply, { method: "POST", redirect: "manual", body: new URLSearchParams({ reply: kind, minutes: "5" }) });
    must(r.status === 303, `the other site answered ${r.status}`);
  };
  const took = [];
  for (const kind of ["cannot", "safe", "coming"]) { // each moves at least one tile, whatever was there before
    const last = await Promise.all(["coming", "cannot", "safe"].map(tile));
    const begin = Date.now();
    await reply(kind);
    if (kind === "cannot") { await v.page.waitForTimeout(1500); continue; }
    await until(`the board shows the reply "${kind}"`, async () => (await tile(kind)) > last[["coming", "cannot", "safe"].indexOf(kind)], 8000);
    took.push(Date.now() - begin);
  }
  must(v.complaints.length === 0, v.complaints.join("\n"));
  await v.context.close();
  return `${took.join(" and ")} ms after the reply was sent; ${JSON.stringify(before)}`;
});

await browser.close();
finished();
