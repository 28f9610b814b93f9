// The `@anthropic-ai/sdk` package: messages, streams, tools, counting, and its own exceptions.

import assert from "node:assert/strict";
import { test } from "node:test";

import Anthropic from "@anthropic-ai/sdk";

import { CHAT, KEY, Probe, REFUSALS, REFUSED_TOKENS, SAID, SCHEMA, URL } from "./gate.mjs";

const QUESTION = { model: CHAT, max_tokens: 64, messages: [{ role: "user", content: "What does the tide do?" }] };
const ERRORS = {
  401: Anthropic.AuthenticationError,
  402: Anthropic.APIError,
  403: Anthropic.PermissionDeniedError,
  404: Anthropic.NotFoundError,
  429: Anthropic.RateLimitError,
  500: Anthropic.InternalServerError,
  503: Anthropic.InternalServerError,
};

function make(headers, credentials = { apiKey: KEY }) {
  return new Anthropic({ baseURL: `${URL}/anthropic`, defaultHeaders: headers, ...credentials });
}

test("a message is answered with the key in x-api-key, which never goes upstream", async () => {
  const probe = new Probe();
  const answer = await make(probe.headers()).messages.create(QUESTION);
  assert.ok(answer.content[0].text.startsWith(SAID));
  assert.equal(answer.usage.output_tokens, 16);
  assert.ok(!JSON.stringify(await probe.seen()).includes(KEY));
});

test("a message is answered with the key as a bearer token", async () => {
  const client = make(new Probe().headers(), { apiKey: null, authToken: KEY });
  assert.ok((await client.messages.create(QUESTION)).content[0].text.startsWith(SAID));
});

test("a message streams", async () => {
  const stream = make(new Probe().headers()).messages.stream(QUESTION);
  const events = [];
  for await (const event of stream) events.push(event.type);
  assert.deepEqual([events[0], events.at(-1)], ["message_start", "message_stop"]);
  const message = await stream.finalMessage();
  assert.ok(message.content[0].text.startsWith(SAID));
  assert.equal(message.usage.output_tokens, 16);
});

test("a tool is called", async () => {
  const tools = [{ name: "tide_table", description: "When the tide turns.", input_schema: SCHEMA }];
  const answer = await make(new Probe().headers()).messages.create({ ...QUESTION, tools });
  const call = answer.content.at(-1);
  assert.equal(answer.stop_reason, "tool_use");
  assert.equal(call.name, "tide_table");
  assert.deepEqual(Object.keys(call.input).sort(), ["hours", "place"]);
});

test("tokens are counted", async () => {
  const { model, messages } = QUESTION;
  const count = await make(new Probe().headers()).messages.countTokens({ model, messages });
  assert.ok(count.input_tokens > 0);
});

for (const [status, again] of REFUSALS) {
  test(`an upstream's ${status} is the package's own exception`, async () => {
    const probe = new Probe();
    await assert.rejects(make(probe.refusal(status)).messages.create(QUESTION), (error) => {
      assert.ok(error instanceof ERRORS[status]);
      assert.equal(error.status, status);
      assert.equal(error.error.type, "error");
      return true;
    });
    assert.equal((await probe.seen()).length, again ? 3 : 1);
  });
}

test("a wrong key is refused by the gate itself", async () => {
  const probe = new Probe();
  const client = make(probe.headers(), { apiKey: "not-a-key-of-anybody-here" });
  await assert.rejects(client.messages.create(QUESTION), (error) => {
    assert.ok(error instanceof Anthropic.AuthenticationError);
    assert.equal(error.error.error.type, "authentication_error");
    assert.equal(error.headers.get("x-tidegate-error"), "invalid_credentials");
    return true;
  });
  assert.deepEqual(await probe.seen(), []);
});


for (const { name, token, status, code, words } of REFUSED_TOKENS) {
  test(`a token ${name} rejects with the gate's own words`, async () => {
    const probe = new Probe();
    for (const credentials of [{ apiKey: token }, { apiKey: null, authToken: token }]) {
      const client = make(probe.headers(), credentials);
      for (const call of [() => client.messages.create(QUESTION), () => client.messages.stream(QUESTION).done()]) {
        await assert.rejects(call, (error) => {
          assert.equal(error.constructor, ERRORS[status]);
          assert.equal(error.headers.get("x-tidegate-error"), code);
          assert.ok(error.message.includes(words), error.message);
          return true;
        });
      }
    }
    assert.deepEqual(await probe.seen(), []);
  });
}
