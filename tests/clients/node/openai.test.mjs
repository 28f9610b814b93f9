// The `openai` package: every route of the OpenAI surface, and its own exceptions.

import assert from "node:assert/strict";
import { test } from "node:test";

import OpenAI, { toFile } from "openai";

import {
  BY_TOKEN, CHAT, EMBEDDINGS, IMAGES, KEY, PNG, Probe, REFUSALS, REFUSED_TOKENS, SAID, SCHEMA, SPEECH, TRANSCRIPTION,
  URL, WAV,
} from "./gate.mjs";

const QUESTION = [{ role: "user", content: "What does the tide do?" }];
const TOOL = {
  type: "function",
  function: { name: "tide_table", description: "When the tide turns.", parameters: SCHEMA },
};
const ERRORS = {
  401: OpenAI.AuthenticationError,
  402: OpenAI.APIError,
  403: OpenAI.PermissionDeniedError,
  404: OpenAI.NotFoundError,
  429: OpenAI.RateLimitError,
  500: OpenAI.InternalServerError,
  503: OpenAI.InternalServerError,
};

function make(headers, extra = {}) {
  return new OpenAI({ baseURL: `${URL}/v1/openai`, apiKey: KEY, defaultHeaders: headers, ...extra });
}

function ask(client, extra = {}, options = {}) {
  return client.chat.completions.create({ model: CHAT, messages: QUESTION, ...extra }, options);
}

async function collect(stream) {
  const chunks = [];
  for await (const chunk of stream) chunks.push(chunk);
  return chunks;
}

const said = (chunks) => chunks.map((chunk) => chunk.choices[0]?.delta.content ?? "").join("");

for (const prefix of ["/v1/openai", "/v1"]) {
  const client = make(new Probe().headers(), { baseURL: URL + prefix });

  test(`${prefix}: a chat is answered`, async () => {
    const answer = await ask(client);
    assert.ok(answer.choices[0].message.content.startsWith(SAID));
    assert.ok(answer.usage.estimated_cost > 0);
    assert.ok(answer._request_id);
  });

  test(`${prefix}: a chat streams with the usage that nobody asked for`, async () => {
    const chunks = await collect(await ask(client, { stream: true }));
    assert.ok(said(chunks).startsWith(SAID));
    assert.ok(chunks.length > 8);
    assert.equal(chunks.at(-1).usage.completion_tokens, 16);
  });

  test(`${prefix}: a tool is called, whole and in a stream`, async () => {
    const { tool_calls: [call] } = (await ask(client, { tools: [TOOL] })).choices[0].message;
    assert.equal(call.function.name, "tide_table");
    assert.deepEqual(Object.keys(JSON.parse(call.function.arguments)).sort(), ["hours", "place"]);
    const chunks = await collect(await ask(client, { tools: [TOOL], stream: true }));
    const calls = chunks.flatMap((chunk) => chunk.choices[0]?.delta.tool_calls ?? []);
    const streamed = calls.map((part) => part.function.arguments ?? "").join("");
    assert.equal(streamed, call.function.arguments);
  });

  test(`${prefix}: JSON comes when JSON is asked for`, async () => {
    const answer = await ask(client, { response_format: { type: "json_object" } });
    assert.equal(typeof JSON.parse(answer.choices[0].message.content), "object");
  });

  test(`${prefix}: a completion is answered and streams`, async () => {
    const whole = await client.completions.create({ model: CHAT, prompt: "The tide" });
    assert.ok(whole.choices[0].text.startsWith(SAID));
    const stream = await client.completions.create({ model: CHAT, prompt: "The tide", stream: true });
    const text = (await collect(stream)).map((chunk) => chunk.choices[0]?.text ?? "").join("");
    assert.equal(text, whole.choices[0].text);
  });

  test(`${prefix}: a response is answered and streams`, async () => {
    const whole = await client.responses.create({ model: CHAT, input: "The tide" });
    assert.ok(whole.output_text.startsWith(SAID));
    const events = await collect(await client.responses.create({ model: CHAT, input: "The tide", stream: true }));
    assert.equal(events.at(-1).type, "response.completed");
  });

  test(`${prefix}: embeddings come as numbers and as base64`, async () => {
    const packed = await client.embeddings.create({ model: EMBEDDINGS, input: ["ebb", "flow"] });
    const plain = await client.embeddings.create({
      model: EMBEDDINGS,
      input: ["ebb", "flow"],
      encoding_format: "float",
    });
    assert.equal(plain.data.length, 2);
    assert.ok(Math.abs(packed.data[1].embedding[0] - plain.data[1].embedding[0]) < 1e-6);
  });

  test(`${prefix}: images are made and edited`, async () => {
    const made = await client.images.generate({ model: IMAGES, prompt: "a tide gate", n: 2, size: "64x64" });
    assert.equal(made.data.length, 2);
    const image = await toFile(PNG, "pixel.png", { type: "image/png" });
    const edited = await client.images.edit({ model: IMAGES, image, prompt: "more water" });
    assert.ok(Buffer.from(edited.data[0].b64_json, "base64").length > 0);
  });

  test(`${prefix}: speech comes as bytes`, async () => {
    const sound = await client.audio.speech.create({
      model: SPEECH,
      voice: "af_bella",
      input: SAID,
      response_format: "wav",
    });
    assert.equal(Buffer.from(await sound.arrayBuffer()).toString("latin1", 0, 4), "RIFF");
  });

  test(`${prefix}: an upload is transcribed and translated`, async () => {
    const file = () => toFile(WAV, "tide.wav", { type: "audio/wav" });
    const heard = await client.audio.transcriptions.create({ model: TRANSCRIPTION, file: await file() });
    assert.ok(heard.text.startsWith(SAID));
    const translated = await client.audio.translations.create({ model: TRANSCRIPTION, file: await file() });
    assert.ok(translated.text.startsWith(SAID));
  });

  test(`${prefix}: the catalogue is listed`, async () => {
    const models = await collect(client.models.list());
    assert.ok(models.some((model) => model.id === CHAT));
  });
}

test("the key may stand in another header and never goes upstream", async () => {
  for (const name of ["xi-api-key", "x-api-key"]) {
    const probe = new Probe();
    const answer = await ask(make({ ...probe.headers(), Authorization: null, [name]: KEY }));
    assert.ok(answer.choices[0].message.content.startsWith(SAID));
    assert.ok(!JSON.stringify(await probe.seen()).includes(KEY));
  }
});

for (const [status, again] of REFUSALS) {
  test(`an upstream's ${status} is the package's own exception`, async () => {
    const probe = new Probe();
    await assert.rejects(ask(make(probe.refusal(status))), (error) => {
      assert.equal(error.constructor, ERRORS[status]);
      assert.equal(error.status, status);
      assert.ok(error.error.message);
      return true;
    });
    assert.equal((await probe.seen()).length, again ? 3 : 1);
  });
}

test("an error in the middle of a stream rejects", async () => {
  const headers = new Probe().headers({ "error-after": 3, "error-frame": "openai" });
  await assert.rejects(async () => collect(await ask(make(headers), { stream: true })), OpenAI.APIError);
});

test("a broken stream is no quiet end", async () => {
  const headers = new Probe().headers({ "abort-after": 3 });
  await assert.rejects(async () => collect(await ask(make(headers), { stream: true })));
});

test("a stream can be left after its first chunk", async () => {
  const probe = new Probe();
  const stream = await ask(make(probe.headers({ tokens: 100000, "token-ms": 20 })), { stream: true });
  for await (const chunk of stream) {
    assert.ok(chunk.id);
    break;
  }
  // Whether the call ended at the upstream too is asked when all suites are through.
  assert.equal((await probe.seen()).length, 1);
});

test("a wrong key is refused by the gate itself", async () => {
  const probe = new Probe();
  const client = make(probe.headers(), { apiKey: "not-a-key-of-anybody-here" });
  await assert.rejects(ask(client), (error) => {
    assert.equal(error.constructor, OpenAI.AuthenticationError);
    assert.equal(error.code, "invalid_credentials");
    assert.equal(error.headers.get("x-tidegate-error"), "invalid_credentials");
    assert.ok(error.message.includes(error.error.message));
    return true;
  });
  assert.deepEqual(await probe.seen(), []);
});

test("a route that is not in the table is refused", async () => {
  const probe = new Probe();
  // A token is not told what there is.
  const [Kind, code] = BY_TOKEN
    ? [OpenAI.PermissionDeniedError, "route_not_allowed"]
    : [OpenAI.NotFoundError, "unknown_route"];
  await assert.rejects(
    (async () => collect(make(probe.headers()).files.list()))(),
    (error) => error instanceof Kind && error.code === code,
  );
  assert.deepEqual(await probe.seen(), []);
});


for (const { name, token, status, code, words } of REFUSED_TOKENS) {
  test(`a token ${name} rejects with the gate's own words`, async () => {
    const probe = new Probe();
    const client = make(probe.headers(), { apiKey: token });
    for (const call of [
      () => ask(client),
      () => ask(client, { stream: true }),
      async () => client.audio.transcriptions.create({ model: CHAT, file: await toFile(WAV, "tide.wav") }),
    ]) {
      await assert.rejects(call, (error) => {
        assert.equal(error.constructor, ERRORS[status]);
        assert.equal(error.code, code);
        assert.ok(error.message.includes(words), error.message);
        return true;
      });
    }
    assert.deepEqual(await probe.seen(), []);
  });
}
