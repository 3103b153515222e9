// OpenAI's Node SDK.
//
//     node openai_node.mjs URL SERVER
//
// URL is what is asked, SERVER the server behind it, whose load tells when a request is over.

import OpenAI from "openai";

const [url, server] = process.argv.slice(2);
const messages = [{ role: "user", content: "what is a prefill and what is a decode?" }];
// Whoever tries again hides what happened.
const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: "none", maxRetries: 0, timeout: 120_000 });
const fixed = { model: "tiny", temperature: 0, max_tokens: 24 };
const usage = { stream: true, stream_options: { include_usage: true } };
const long = { ...fixed, max_tokens: 6000, ignore_eos: true };

function answerFacts({ id, created, created_at, ...rest }) {
  return rest;
}

// However its text was cut into events: two streams of a live engine never are alike.
async function streamFacts(stream) {
  const facts = { text: "", finish: null, usage: null, kinds: new Set() };
  for await (const event of stream) {
    const choice = event.choices[0];
    facts.kinds.add(Object.keys(choice?.delta ?? {}).sort().join());
    facts.text += choice?.delta?.content ?? choice?.text ?? "";
    facts.finish = choice?.finish_reason ?? facts.finish;
    facts.usage = event.usage ?? facts.usage;
  }
  return { ...facts, kinds: [...facts.kinds].sort() };
}

async function refused(ask) {
  try {
    await ask();
  } catch (error) {
    const message = String(error.error?.message ?? error.message).replace(/File .*/s, "").slice(0, 120);
    return { raised: error.constructor.name, status: error.status, type: error.type, code: error.code, message };
  }
  return "it was answered";
}

// Whether the engine has nothing to do any more, soon.
async function isOver() {
  const deadline = Date.now() + 10_000;
  while (Date.now() < deadline) {
    const text = await (await fetch(`${server}/metrics`)).text();
    const running = [...text.matchAll(/^vllm:num_requests_(?:running|waiting)\{[^}]*\} ([0-9.]+)/gm)];
    if (running.length > 0 && running.every((it) => Number(it[1]) === 0)) return true;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  return false;
}

async function aborted() {
  const abort = new AbortController();
  let events = 0;
  let raised = null;
  try {
    const stream = await client.chat.completions.create({ messages, ...long, stream: true }, { signal: abort.signal });
    for await (const _ of stream) if (++events === 3) abort.abort();
  } catch (error) {
    raised = error.constructor.name;
  }
  return { events: events >= 3, raised, over: await isOver() };
}

async function earlyBreak() {
  const stream = await client.chat.completions.create({ messages, ...long, stream: true });
  let events = 0;
  for await (const _ of stream) if (++events === 3) break;
  return { events, over: await isOver() };
}

async function timedOut() {
  const raised = await refused(() => client.chat.completions.create({ messages, ...long }, { timeout: 500 }));
  return { raised: raised.raised, over: await isOver() };
}

async function atOnce() {
  const asked = Array.from({ length: 50 }, () =>
    client.chat.completions.create({ messages, ...fixed, ignore_eos: true }),
  );
  const answers = await Promise.all(asked);
  return { answers: answers.length, tokens: answers.every((it) => it.usage.completion_tokens === 24) };
}

const items = {
  chat: async () => answerFacts(await client.chat.completions.create({ messages, ...fixed })),
  "chat, streamed": async () =>
    streamFacts(await client.chat.completions.create({ messages, ...fixed, ...usage })),
  completion: async () => answerFacts(await client.completions.create({ prompt: "hello world", ...fixed })),
  "completion, streamed": async () =>
    streamFacts(await client.completions.create({ prompt: "hello world", ...fixed, ...usage })),
  models: async () => (await client.models.list()).data.map((it) => [it.id, it.owned_by]),
  "a model that is not there": () =>
    refused(() => client.chat.completions.create({ messages, ...fixed, model: "nope" })),
  "tokens below nothing": () =>
    refused(() => client.chat.completions.create({ messages, ...fixed, max_tokens: -1 })),
  "a path that is not there": () => refused(() => client.post("/nope", { body: {} })),
  "AbortController": aborted,
  "early break": earlyBreak,
  "client's timeout": timedOut,
  "fifty at once": atOnce,
};

const noted = {};
for (const [name, item] of Object.entries(items)) {
  try {
    noted[name] = await item();
  } catch (error) {
    noted[name] = { raised: error.constructor.name, words: String(error.message).slice(0, 300) };
  }
}
console.log(JSON.stringify(noted));
