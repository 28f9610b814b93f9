// The AI SDK with `@ai-sdk/deepinfra`: chats on the OpenAI surface, images on the native one.

import assert from "node:assert/strict";
import { test } from "node:test";

import { createDeepInfra } from "@ai-sdk/deepinfra";
import {
  APICallError, embedMany, generateImage, generateText, jsonSchema, Output, RetryError, stepCountIs, streamText, tool,
} from "ai";

import { CHAT, EMBEDDINGS, IMAGES, KEY, PNG, Probe, REFUSALS, REFUSED_TOKENS, SAID, SCHEMA, URL } from "./gate.mjs";

const make = (headers, apiKey = KEY) => createDeepInfra({ baseURL: `${URL}/v1`, apiKey, headers });
const ask = (provider, extra = {}) => generateText({ model: provider(CHAT), prompt: "The tide", ...extra });

test("a chat is answered", async () => {
  const answer = await ask(make(new Probe().headers()));
  assert.ok(answer.text.startsWith(SAID));
  assert.equal(answer.usage.outputTokens, 16);
});

test("a chat streams with usage, though this package does not ask for it", async () => {
  const probe = new Probe();
  const stream = streamText({ model: make(probe.headers())(CHAT), prompt: "The tide" });
  let parts = 0;
  let text = "";
  for await (const part of stream.textStream) {
    parts += 1;
    text += part;
  }
  assert.ok(text.startsWith(SAID));
  assert.ok(parts > 8);
  assert.equal((await stream.usage).outputTokens, 16);
  const [request] = await probe.seen();
  assert.ok(!request.body.includes("stream_options"));
});

test("a tool is called and its answer taken", async () => {
  const probe = new Probe();
  const called = [];
  const tools = {
    tide_table: tool({
      description: "When the tide turns.",
      inputSchema: jsonSchema(SCHEMA),
      execute: async (input) => {
        called.push(Object.keys(input).sort());
        return "at six";
      },
    }),
  };
  const answer = await ask(make(probe.headers()), { tools, stopWhen: stepCountIs(3) });
  assert.deepEqual(called, [["hours", "place"]]);
  assert.ok(answer.text.startsWith(SAID));
  assert.equal((await probe.seen()).length, 2);
});

test("an object comes in the shape asked for", async () => {
  const output = Output.object({ schema: jsonSchema(SCHEMA) });
  const answer = await ask(make(new Probe().headers()), { output });
  assert.deepEqual(Object.keys(answer.output).sort(), ["hours", "place"]);
});

test("a completion is answered", async () => {
  const answer = await generateText({
    model: make(new Probe().headers()).completionModel(CHAT),
    prompt: "The tide",
  });
  assert.ok(answer.text.startsWith(SAID));
});

test("embeddings are made", async () => {
  const model = make(new Probe().headers()).embeddingModel(EMBEDDINGS);
  const { embeddings } = await embedMany({ model, values: ["ebb", "flow"] });
  assert.equal(embeddings.length, 2);
});

test("an image is made on the native surface and edited on the OpenAI one", async () => {
  const probe = new Probe();
  const model = make(probe.headers()).image(IMAGES);
  const { image } = await generateImage({ model, prompt: "a tide gate", size: "64x64" });
  assert.equal(image.mediaType, "image/png");
  const edited = await generateImage({ model, prompt: { images: [PNG], text: "more water" } });
  assert.ok(edited.image.uint8Array.length > 0);
  const paths = (await probe.seen()).map((request) => request.path);
  assert.deepEqual(paths, [`/v1/inference/${IMAGES}`, "/v1/openai/images/edits"]);
});

for (const [status, again] of REFUSALS) {
  test(`an upstream's ${status} is the package's own exception`, async () => {
    const probe = new Probe();
    await assert.rejects(ask(make(probe.refusal(status))), (error) => {
      assert.equal(RetryError.isInstance(error), again);
      const last = again ? error.lastError : error;
      assert.ok(APICallError.isInstance(last));
      assert.equal(last.statusCode, status);
      assert.equal(last.isRetryable, again);
      return true;
    });
    assert.equal((await probe.seen()).length, again ? 3 : 1);
  });
}

test("an error in the middle of a stream is an error part with its message", async () => {
  const provider = make(new Probe().headers({ "error-after": 3 }));
  const errors = [];
  const stream = streamText({ model: provider(CHAT), prompt: "The tide", onError: ({ error }) => errors.push(error) });
  await stream.consumeStream();
  assert.equal(errors.length, 1);
});

test("a wrong key is refused by the gate itself, in the words of each surface", async () => {
  const probe = new Probe();
  const provider = make(probe.headers(), "not-a-key-of-anybody-here");
  const draw = () => generateImage({ model: provider.image(IMAGES), prompt: "a tide gate" });
  for (const call of [() => ask(provider), draw]) {
    await assert.rejects(call, (error) => {
      assert.ok(APICallError.isInstance(error));
      assert.equal(error.statusCode, 401);
      assert.equal(error.responseHeaders["x-tidegate-error"], "invalid_credentials");
      assert.ok(error.responseBody.includes(JSON.stringify(error.message)), error.message);
      return true;
    });
  }
  assert.deepEqual(await probe.seen(), []);
});


for (const { name, token, status, code, words } of REFUSED_TOKENS) {
  test(`a token ${name} rejects with the gate's own words`, async () => {
    const probe = new Probe();
    const provider = make(probe.headers(), token);
    const draw = () => generateImage({ model: provider.image(CHAT), prompt: "a tide gate" });
    for (const call of [() => ask(provider), draw]) {
      await assert.rejects(call, (error) => {
        assert.ok(APICallError.isInstance(error));
        assert.equal(error.statusCode, status);
        assert.equal(error.responseHeaders["x-tidegate-error"], code);
        assert.ok(error.message.includes(words), error.message);
        return true;
      });
    }
    assert.deepEqual(await probe.seen(), []);
  });
}
