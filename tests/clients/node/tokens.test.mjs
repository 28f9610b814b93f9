// Scoped tokens: what `tidegate` signs jose verifies, and what jose signs `tidegate` verifies.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
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
