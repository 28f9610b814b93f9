// The `deepinfra` package: native calls. A whole URL in place of a model's name leads them to the gate.

import assert from "node:assert/strict";
import { test } from "node:test";

import { AutomaticSpeechRecognition, Embeddings, TextGeneration, TextToImage } from "deepinfra";

import { CHAT, EMBEDDINGS, IMAGES, KEY, Probe, REFUSALS, REFUSED_TOKENS, SAID, TRANSCRIPTION, URL, WAV } from "./gate.mjs";

// Its own waits are five seconds and then two.
const WAITS = { initialBackoff: 1, subsequentBackoff: 1 };

function make(Kind, model, headers, key = KEY) {
  const made = new Kind(`${URL}/v1/inference/${model}`, key, WAITS);
  Object.assign(made.client.axiosClient.defaults.headers.common, headers);
  return made;
}

/** Runs `call` without what the package writes to the console when a call fails. */
async function quietly(call) {
  const { error } = console;
  console.error = () => {};
  try {
    return await call();
  } finally {
    console.error = error;
  }
}

test("a text is generated", async () => {
  const probe = new Probe();
  const answer = await make(TextGeneration, CHAT, probe.headers()).generate({ input: "The tide" });
  assert.ok(answer.results[0].generated_text.startsWith(SAID));
  const [request] = await probe.seen();
  assert.equal(request.path, `/v1/inference/${CHAT}`);
});

test("embeddings are made", async () => {
  const answer = await make(Embeddings, EMBEDDINGS, new Probe().headers()).generate({ inputs: ["ebb", "flow"] });
  assert.equal(answer.embeddings.length, 2);
});

test("an image is made", async () => {
  const answer = await make(TextToImage, IMAGES, new Probe().headers()).generate({ prompt: "a tide gate" });
  assert.ok(answer.images[0].startsWith("data:image/png;base64,"));
});

test("an upload is transcribed, its fields as JSON strings", async () => {
  const probe = new Probe();
  const model = make(AutomaticSpeechRecognition, TRANSCRIPTION, probe.headers());
  const answer = await model.generate({ audio: WAV, language: "en" });
  assert.ok(answer.text.startsWith(SAID));
  const [request] = await probe.seen();
  assert.ok(Buffer.from(request.body_base64 ?? "", "base64").includes('"en"') || request.body.includes('"en"'));
});

for (const [status] of REFUSALS) {
  test(`an upstream's ${status} rejects; this package tries everything six times`, async () => {
    const probe = new Probe();
    const model = make(Embeddings, EMBEDDINGS, probe.refusal(status));
    await quietly(() =>
      assert.rejects(model.generate({ inputs: ["ebb"] }), (error) => {
        assert.equal(error.name, "AxiosError");
        assert.equal(error.response.status, status);
        assert.ok(error.response.data.detail.error);
        return true;
      }),
    );
    assert.equal((await probe.seen()).length, 6);
  });
}

test("a refused text rejects without its status", async () => {
  const model = make(TextGeneration, CHAT, new Probe().refusal(402));
  await quietly(() => assert.rejects(model.generate({ input: "The tide" }), /Failed to generate text/));
});

test("a wrong key is refused by the gate itself", async () => {
  const probe = new Probe();
  const model = make(Embeddings, EMBEDDINGS, probe.headers(), "not-a-key-of-anybody-here");
  await quietly(() =>
    assert.rejects(model.generate({ inputs: ["ebb"] }), (error) => {
      assert.equal(error.response.status, 401);
      assert.equal(error.response.data.detail.code, "invalid_credentials");
      return true;
    }),
  );
  assert.deepEqual(await probe.seen(), []);
});


for (const { name, token, status, code, words } of REFUSED_TOKENS) {
  test(`a token ${name} rejects with the gate's own words in the answer`, async () => {
    const probe = new Probe();
    const model = make(Embeddings, CHAT, probe.headers(), token);
    await quietly(() =>
      assert.rejects(model.generate({ inputs: ["ebb"] }), (error) => {
        assert.equal(error.response.status, status);
        assert.equal(error.response.data.detail.code, code);
        assert.ok(error.response.data.detail.error.includes(words), error.response.data.detail.error);
        return true;
      }),
    );
    assert.deepEqual(await probe.seen(), []);
  });
}
