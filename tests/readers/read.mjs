// Reads JSON bodies as servers written in JavaScript do, and tells what it read of the keys that it was given.
//
// A body comes as its length (four bytes, big-endian) and its bytes; one line of JSON answers: null where it is refused.

import { readFileSync } from "node:fs";

const POLICY = process.argv[2].split(",");
const PATTERNS = POLICY.map((key) => new RegExp(`^${key}$`, "iu"));

/** Whether a server that matches loosely takes a key for another that it isn't. */
function alike(key) {
  if (POLICY.includes(key)) return false;
  const plain = key.normalize("NFKC");
  const forms = [key.toLowerCase(), plain.toLowerCase(), plain.toUpperCase().toLowerCase()];
  return forms.some((form) => POLICY.includes(form)) || PATTERNS.some((pattern) => pattern.test(plain));
}

// JavaScript's own strings are UTF-16: what has no lone surrogate is the same in UTF-8.
const text = (value) => (value.isWellFormed?.() ?? true ? Buffer.from(value).toString("hex") : "lone");

function tell(value) {
  if (value === null || value === undefined) return "null";
  if (typeof value === "boolean") return `b:${value}`;
  if (typeof value === "number") {
    return Number.isInteger(value) && !Object.is(value, -0) ? `i:${BigInt(value)}` : "other";
  }
  if (typeof value === "string") return `s:${text(value)}`;
  if (Array.isArray(value)) {
    return value.every((entry) => typeof entry === "string") ? `l:${value.map(text).join(",")}` : "other";
  }
  return `o:${[value.include_usage, value.continuous_usage_stats].map(tell).join(",")}`;
}

function read(body) {
  let value;
  try {
    value = JSON.parse(new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(body));
  } catch {
    return null;
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) return { "": typeof value };
  const told = {};
  for (const key of POLICY) if (Object.hasOwn(value, key)) told[key] = tell(value[key]);
  const others = Object.keys(value).filter(alike);
  if (others.length) told.alike = JSON.stringify(others);
  return told;
}

const pipe = readFileSync(0);
const lines = [];
for (let at = 0; at < pipe.length; ) {
  const length = pipe.readUInt32BE(at);
  lines.push(JSON.stringify(read(pipe.subarray(at + 4, at + 4 + length))));
  at += 4 + length;
}
process.stdout.write(lines.map((line) => `${line}\n`).join(""));
