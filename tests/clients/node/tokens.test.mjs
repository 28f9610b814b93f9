// Scoped tokens: what `tidegate` signs jose verifies, and what jose signs `tidegate` verifies.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { createHmac } from "node:crypto";
import { test } from "node:test";

import { SignJWT, errors, jwtVerify } from "jose";

import { KEY } from "./gate.mjs";

const ACCOUNT = "di:1000000000000";
const KID = `${ACCOUNT}:${Buffer.from("auto").toString("base64")}`;
const SECRET = new TextEncoder().encode(KEY);

function tidegate(...words) {
  return spawnSync(process.env.TIDEGATE_BIN, [...words, "--key-secret", "env:TIDEGATE_API_KEY"], { encoding: "utf8" });
}

function inspect(token) {
  const done = tidegate("inspect", token);
  const report = JSON.parse(done.stdout);
  assert.equal(report.verified, done.status === 0);
  return report;
}

const unsigned = (claims) =>
  new SignJWT({ sub: ACCOUNT, ...claims }).setProtectedHeader({ alg: "HS256", kid: KID }).setExpirationTime("1h");

test("a minted token is verified", async () => {
  const done = tidegate("mint", "--account", ACCOUNT, "--key-name", "auto", "--model", "acme/m", "--spending-limit", "0.1");
  assert.equal(done.status, 0, done.stderr);
  const token = done.stdout.trim().replace(/^jwt:/, "");
  const { payload, protectedHeader } = await jwtVerify(token, SECRET, { algorithms: ["HS256"], typ: "JWT", subject: ACCOUNT });
  assert.deepEqual(protectedHeader, { alg: "HS256", kid: KID, typ: "JWT" });
  assert.deepEqual([payload.models, payload.spending_limit], [["acme/m"], 0.1]);
  const other = new TextEncoder().encode("another key of the same length ...");
  await assert.rejects(jwtVerify(token, other), errors.JWSSignatureVerificationFailed);
});

test("a signed token is taken", async () => {
  for (const claims of [{}, { model: "acme/m" }, { models: ["acme/*"], spending_limit: 1e-9, jti: "é", x_note: [{}] }]) {
    const token = await unsigned(claims).setIssuedAt().sign(SECRET);
    for (const text of [token, `jwt:${token}`]) {
      const report = inspect(text);
      assert.equal(report.verified, true, report.flaw);
      assert.deepEqual({ ...report.claims, exp: 0, iat: 0 }, { sub: ACCOUNT, ...claims, exp: 0, iat: 0 });
    }
  }
});

test("a token of another key, of another time or with unknown claims is not taken", async () => {
  const other = new TextEncoder().encode("another key of the same length ...");
  for (const [token, flaw] of [
    [await unsigned({}).sign(other), /signature/],
    [await unsigned({}).setExpirationTime("1s ago").sign(SECRET), /expired/],
    [await unsigned({}).setNotBefore("5m").sign(SECRET), /not valid yet/],
    [await unsigned({}).setIssuedAt(new Date(Date.now() + 120_000)).sign(SECRET), /future/],
    [await unsigned({}).setExpirationTime("8d").sign(SECRET), /longer than is allowed/],
    [await unsigned({}).setAudience(["a", "b"]).sign(SECRET), /`aud`/],
    [await unsigned({ scope: "all" }).sign(SECRET), /`scope`/],
  ]) {
    const report = inspect(token);
    assert.equal(report.verified, false);
    assert.match(report.flaw, flaw);
  }
});

const MUTANTS = 300;

/** Numbers from 0 to `n` - 1, the same in every run (a linear congruential generator). */
function dice(seed) {
  let state = seed;
  return (n) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * n);
  };
}

/** A token that is right but for a few changes to its members, its JSON or its text. */
function mutant(throwOf) {
  const one = (list) => list[throwOf(list.length)];
  const names = ["iat", "nbf", "jti", "model", "models", "spending_limit", "x_a", "exp", "sub", "\\u0065xp", "aud", "crit", "Exp"];
  const values = ["1", "0", "-0", "1.0", "1e3", "null", '"a"', '"a/b"', '["a/b"]', "[]", "{}", "true", "0.1", "4102444800", '"\\ud800"'];
  const members = [["sub", JSON.stringify(ACCOUNT)], ["exp", String(Math.floor(Date.now() / 1000) + 3600)]];
  for (let more = throwOf(3); more > 0; more -= 1) members.push([one(names), one(values)]);
  const header = [["alg", '"HS256"'], ["kid", JSON.stringify(KID)], ["typ", '"JWT"']];
  if (throwOf(8) === 0) header.push([one(["typ", "alg", "crit", "b64", "zip", "x"]), one(values)]);
  const space = one(["", "", " ", "\n\t"]);
  const text = (list) => `{${list.map(([name, value]) => `${space}"${name}":${space}${value}`).join(",")}${space}}`;
  const message = [header, members].map((list) => Buffer.from(text(list)).toString("base64url")).join(".");
  const token = `${message}.${createHmac("sha256", KEY).update(message).digest("base64url")}`;
  if (throwOf(3) > 0) return token;
  const at = throwOf(token.length);
  return token.slice(0, at) + one(["", "=", ".", "A", "_", "+", " ", "é"]) + token.slice(at + 1);
}

test("what is taken of mutated tokens jose takes and reads alike", async () => {
  const throwOf = dice(7);
  let taken = 0;
  for (let made = 0; made < MUTANTS; made += 1) {
    const token = mutant(throwOf);
    const report = inspect(token);
    if (!report.verified) continue;
    const { payload } = await jwtVerify(token, SECRET, { algorithms: ["HS256"], subject: ACCOUNT });
    assert.deepEqual(payload, report.claims, token);
    taken += 1;
  }
  // Neither may be rare, or nothing is shown.
  assert.ok(MUTANTS / 6 < taken && taken < (MUTANTS * 5) / 6, `${taken}`);
});
