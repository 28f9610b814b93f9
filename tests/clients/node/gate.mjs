// What every Node suite shares: the address of the gate, the models, and a mark by which the upstream tells tests apart.

import { File } from "node:buffer";
import { randomUUID } from "node:crypto";
import { deflateSync } from "node:zlib";

// Node 18 has it, but not as a global, where the `openai` package looks for it.
globalThis.File ??= File;

export const URL = process.env.TIDEGATE_URL;
// The suites run twice: once with a scoped token where an API key goes.
export const BY_TOKEN = process.env.TIDEGATE_TOKEN !== undefined;
export const KEY = process.env.TIDEGATE_TOKEN ?? process.env.TIDEGATE_API_KEY;
export const UPSTREAM = process.env.TIDEGATE_SIMULATED_UPSTREAM;

export const CHAT = "meta-llama/Llama-3.3-70B-Instruct";
export const EMBEDDINGS = "BAAI/bge-m3";
export const IMAGES = "black-forest-labs/FLUX-1-schnell";
export const SPEECH = "hexgrad/Kokoro-82M";
export const TRANSCRIPTION = "openai/whisper-large-v3";

export const SAID = "The tide comes in and the gate opens.";
export const SCHEMA = {
  type: "object",
  properties: { place: { type: "string" }, hours: { type: "integer" } },
  required: ["place", "hours"],
};

/** A tenth of a second of silence: 8 kHz, mono, 16 bits. */
export const WAV = (() => {
  const wav = Buffer.alloc(44 + 1600);
  wav.write("RIFF", 0);
  wav.writeUInt32LE(36 + 1600, 4);
  wav.write("WAVEfmt ", 8);
  wav.writeUInt32LE(16, 16);
  wav.writeUInt16LE(1, 20);
  wav.writeUInt16LE(1, 22);
  wav.writeUInt32LE(8000, 24);
  wav.writeUInt32LE(16000, 28);
  wav.writeUInt16LE(2, 32);
  wav.writeUInt16LE(16, 34);
  wav.write("data", 36);
  wav.writeUInt32LE(1600, 40);
  return wav;
})();

function crc32(bytes) {
  let crc = -1;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit += 1) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
  }
  return ~crc >>> 0;
}

function chunk(kind, data) {
  const named = Buffer.concat([Buffer.from(kind), data]);
  const sizes = Buffer.alloc(8);
  sizes.writeUInt32BE(data.length, 0);
  sizes.writeUInt32BE(crc32(named), 4);
  return Buffer.concat([sizes.subarray(0, 4), named, sizes.subarray(4)]);
}

/** One grey pixel. */
export const PNG = Buffer.concat([
  Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]),
  chunk("IHDR", Buffer.from([0, 0, 0, 1, 0, 0, 0, 1, 8, 0, 0, 0, 0])),
  chunk("IDAT", deflateSync(Buffer.from([0, 0x80]))),
  chunk("IEND", Buffer.alloc(0)),
]);

/** Statuses of an upstream's refusal, and whether a client that honours statuses may try again. */
export const REFUSALS = [
  [401, false],
  [402, false],
  [403, false],
  [404, false],
  [429, true],
  [500, true],
  [503, true],
];

/** Tokens that the gate refuses, and how it says so. */
export const REFUSED_TOKENS = [
  {
    name: "for another model",
    token: process.env.TIDEGATE_NARROW_TOKEN,
    status: 403,
    code: "model_not_allowed",
    words: `this token is not for the model \`${CHAT}\``,
  },
  {
    name: "that has expired",
    token: process.env.TIDEGATE_EXPIRED_TOKEN,
    status: 401,
    code: "token_expired",
    words: "the token has expired",
  },
];

/** One test's mark on its calls, and what the upstream saw under that mark. */
export class Probe {
  id = randomUUID();

  /** The mark and `x-sim-*` headers, which ask the simulated upstream for one behaviour. */
  headers(knobs = {}) {
    const asked = Object.entries(knobs).map(([name, value]) => [`x-sim-${name}`, String(value)]);
    return { "x-test-probe": this.id, ...Object.fromEntries(asked) };
  }

  /** Asks for a refusal, and for a short wait from clients that wait as long as they are told. */
  refusal(status) {
    return this.headers({ status, header: "retry-after-ms: 1" });
  }

  /** The requests that reached the upstream. */
  async seen() {
    const answer = await fetch(`${UPSTREAM}/_sim/requests`);
    const { requests } = await answer.json();
    return requests.filter(({ headers }) =>
      headers.some(([name, value]) => name === "x-test-probe" && value === this.id),
    );
  }
}
