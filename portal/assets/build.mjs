// SPDX-License-Identifier: EUPL-1.2
//
// Cuts the KERN design system (npm package @kern-ux/native, EUPL-1.2) down to what our templates use and writes
// kern.css beside this file. The result is committed; this runs only when a template begins to use another component:
//
//   d=$(mktemp -d) && npm install --prefix "$d" --no-audit --no-fund @kern-ux/native@2.7.2
//   node portal/assets/build.mjs "$d/node_modules/@kern-ux/native"
//
// No dependencies: the stylesheet is plain enough for a small reader of our own.
import { readFileSync, readdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const pkg = process.argv[2];
const version = JSON.parse(readFileSync(join(pkg, "package.json"), "utf8")).version;
if (version !== "2.7.2") throw new Error(`expected @kern-ux/native 2.7.2, found ${version}`);

// Names that templates put together from parts.
const used = new Set(["danger", "warning", "info", "success", "check", "help", "visibility", "mail"]
  .map((n) => `kern-icon--${n}`));
for (const tone of ["danger", "warning", "info", "success"]) used.add(`kern-alert--${tone}`).add(`kern-badge--${tone}`);
for (const dir of ["../templates"])
  for (const f of readdirSync(join(here, dir)))
    for (const m of readFileSync(join(here, dir, f), "utf8").matchAll(/kern-[a-z0-9_-]*[a-z0-9]/g)) used.add(m[0]);

// parse returns [{head, body | rules}] of a stylesheet without comments.
function parse(css) {
  const out = [];
  let i = 0;
  while (i < css.length) {
    const open = css.indexOf("{", i);
    if (open < 0) break;
    const head = css.slice(i, open).trim().replace(/^@charset[^;]*;/, "").trim();
    let depth = 1, j = open + 1;
    for (let quote = ""; depth > 0; j++) {
      const c = css[j];
      if (quote) quote = c === quote ? "" : quote;
      else if (c === '"' || c === "'") quote = c;
      else if (c === "{") depth++;
      else if (c === "}") depth--;
    }
    const inner = css.slice(open + 1, j - 1);
    out.push(head.startsWith("@media") ? { head, rules: parse(inner) } : { head, body: inner.trim() });
    i = j;
  }
  return out;
}

// wanted keeps those parts of a selector list whose every class is used; what :not() and :has() name need not be.
function wanted(selectors) {
  return split(selectors).filter((s) => {
    const plain = s.replace(/:(not|has|is|where)\((?:[^()]|\([^()]*\))*\)/g, "");
    return [...plain.matchAll(/\.(kern-[a-z0-9_-]+)/g)].every((m) => used.has(m[1]));
  });
}

function split(list) {
  const out = [];
  let depth = 0, from = 0;
  for (let i = 0; i <= list.length; i++) {
    const c = list[i];
    if (c === "(" || c === "[") depth++;
    if (c === ")" || c === "]") depth--;
    if (i === list.length || (c === "," && depth === 0)) {
      out.push(list.slice(from, i).trim());
      from = i + 1;
    }
  }
  return out;
}

function purge(rules) {
  const out = [];
  for (const r of rules) {
    if (r.rules) {
      const inner = purge(r.rules);
      if (inner.length) out.push({ head: r.head, rules: inner });
    } else if (r.head.startsWith("@")) {
      continue; // no fonts (the system's are used), no animations
    } else {
      const s = wanted(r.head);
      if (s.length && !/^(\.kern-(dark|light)|\[data-kern-theme)/.test(s.join())) out.push({ head: s.join(","), body: r.body });
    }
  }
  return out;
}

// dropVariables removes custom properties that nothing refers to any more, until none is left.
function dropVariables(rules) {
  for (;;) {
    const text = JSON.stringify(rules) + readFileSync(join(here, "holdfast.css"), "utf8");
    const referred = new Set([...text.matchAll(/var\((--[a-z0-9-]+)/g)].map((m) => m[1]));
    let dropped = 0;
    const visit = (list) => list.flatMap((r) => {
      if (r.rules) return [{ head: r.head, rules: visit(r.rules) }];
      const kept = declarations(r.body).filter((d) => {
        const name = d.slice(0, d.indexOf(":")).trim();
        const keep = !name.startsWith("--") || referred.has(name);
        if (!keep) dropped++;
        return keep;
      });
      return kept.length ? [{ head: r.head, body: kept.join(";") }] : [];
    });
    rules = visit(rules);
    if (!dropped) return rules;
  }
}

function declarations(body) {
  const out = [];
  let depth = 0, quote = "", from = 0;
  for (let i = 0; i <= body.length; i++) {
    const c = body[i];
    if (quote) { if (c === quote) quote = ""; continue; }
    if (c === '"' || c === "'") quote = c;
    if (c === "(") depth++;
    if (c === ")") depth--;
    if (i === body.length || (c === ";" && depth === 0)) {
      const d = body.slice(from, i).trim();
      if (d) out.push(d.replace(/\s+/g, " ").replace(/^([a-z-]+): /, "$1:"));
      from = i + 1;
    }
  }
  return out;
}

// merge puts neighbours of the same media query together and writes the shortest plain form.
function print(rules) {
  let out = "", last = "";
  for (const r of rules) {
    const head = r.head.replace(/\s+/g, " ").replace(/\s*([>,~+])\s*/g, "$1");
    if (r.rules) {
      if (head === last) out = out.slice(0, -1) + print(r.rules) + "}";
      else out += `${head}{${print(r.rules)}}`;
      last = head;
    } else {
      out += `${head}{${r.body}}`;
      last = "";
    }
  }
  return out;
}

let css = readFileSync(join(pkg, "dist/kern.css"), "utf8").replace(/\/\*[\s\S]*?\*\//g, "");
let rules = dropVariables(purge(parse(css)));
const family = 'system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "Liberation Sans", Arial, sans-serif';
let text = print(rules).replace(/"Fira Sans", ?sans-serif/g, family);
const header = `/*! KERN-UX native ${version}, cut down to the components used here by build.mjs, and with the system's fonts.
 * Copyright (c) KERN-Team, https://kern-ux.de
 * SPDX-License-Identifier: EUPL-1.2 (text: LICENSE-KERN.md)
 */\n`;
writeFileSync(join(here, "kern.css"), header + text + "\n");
console.log(`kern.css: ${text.length} bytes, ${used.size} names in use`);
