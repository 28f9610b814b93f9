// The upstream's two documented uses of a webhook with its own package, checked by the libraries that receivers use.

import assert from "node:assert/strict";
import { createServer } from "node:http";
import { test } from "node:test";

import { Embeddings, TextGeneration } from "deepinfra";
import OpenAI from "openai";
import { Webhook } from "standardwebhooks";
import { Webhook as Svix } from "svix";

import { CHAT, EMBEDDINGS, KEY, SAID, URL } from "./gate.mjs";

const SECRET = process.env.TIDEGATE_WEBHOOK_SECRET;

/** Runs `use` with the URL of a receiver and what waits for its next delivery. */
async function receiving(use) {
  const got = [];
  const waiting = [];
  const server = createServer((request, response) => {
    const pieces = [];
    request.on("data", (piece) => pieces.push(piece));
    request.on("end", () => {
      got.push({ headers: request.headers, body: Buffer.concat(pieces).toString() });
      response.writeHead(204).end();
      waiting.shift()?.();
    });
  });
  await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
  const delivered = async () => {
    if (got.length === 0) await new Promise((arrived) => waiting.push(arrived));
    return got.shift();
  };
  try {
    await use(`http://127.0.0.1:${server.address().port}/hook`, delivered);
  } finally {
    server.close();
  }
}

function verified({ headers, body }) {
  const one = new Webhook(SECRET).verify(body, headers);
  assert.deepEqual(new Svix(SECRET).verify(body, headers), one);
  for (const kind of [Webhook, Svix]) {
    assert.throws(() => new kind(SECRET).verify(body.replace("request_id", "request_ib"), headers));
  }
  return one;
}

test("a text is generated and delivered", () =>
  receiving(async (webhook, delivered) => {
    const model = new TextGeneration(`${URL}/v1/inference/${CHAT}`, KEY);
    const queued = await model.generate({ input: "The tide", webhook });
    assert.equal(queued.inference_status.status, "queued");
    const result = verified(await delivered());
    assert.equal(result.request_id, queued.request_id);
    assert.equal(result.inference_status.status, "succeeded");
    assert.ok(result.results[0].generated_text.startsWith(SAID));
  }));

test("embeddings are made and delivered", () =>
  receiving(async (webhook, delivered) => {
    const model = new Embeddings(`${URL}/v1/inference/${EMBEDDINGS}`, KEY);
    const queued = await model.generate({ inputs: ["ebb", "flow"], webhook });
    assert.equal(queued.inference_status.status, "queued");
    const result = verified(await delivered());
    assert.equal(result.request_id, queued.request_id);
    assert.equal(result.embeddings.length, 2);
  }));

test("openai asks for it with a header", () =>
  receiving(async (webhook, delivered) => {
    const client = new OpenAI({ baseURL: `${URL}/v1/openai`, apiKey: KEY });
    const call = { model: CHAT, messages: [{ role: "user", content: "What does the tide do?" }] };
    const queued = await client.chat.completions.create(call, { headers: { "x-tidegate-webhook": webhook } });
    const result = verified(await delivered());
    assert.equal(result.request_id, queued.request_id);
    assert.ok(result.choices[0].message.content.startsWith(SAID));
  }));
