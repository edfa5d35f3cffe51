// Plays a model service to the phi binary over HTTP and checks the requests that the service saw.
//
// usage: node scenarios.mjs PHI INSTALLED
//
// PHI is the binary, INSTALLED the directory whose node_modules holds the mock. Every scenario runs
// in every protocol against a server of its own on a free loopback port, with a key that the server
// demands. The exit code is 1 if any scenario failed.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";

const [phi, installed] = process.argv.slice(2);
const { LLMock } = createRequire(join(installed, "package.json"))("@copilotkit/aimock");

const KEY = "key-of-the-integration-run";
const RETRY_AFTER_SECONDS = 2;
const DEADLINE_MS = 60_000;

/**
 * How each protocol is asked: where the requests arrive, what is added to the address of the mock,
 * where the key is, and whether calls keep the ids that the model gave them.
 */
const PROTOCOLS = [
  { name: "anthropic-messages", path: "/v1/messages", variable: "ANTHROPIC_API_KEY" },
  { name: "openai-chat", path: "/v1/chat/completions", base: "/v1", variable: "OPENAI_API_KEY" },
  { name: "openai-responses", path: "/v1/responses", base: "/v1", variable: "OPENAI_API_KEY" },
  {
    name: "gemini",
    path: "/v1beta/models/mock-model:streamGenerateContent",
    variable: "GEMINI_API_KEY",
  },
  {
    name: "bedrock-converse",
    path: "/model/mock-model/converse-stream",
    variable: "AWS_BEARER_TOKEN_BEDROCK",
  },
  { name: "ollama-chat", path: "/api/chat", variable: "OLLAMA_API_KEY", namesCalls: false },
  { name: "cohere-v2", path: "/v2/chat", variable: "COHERE_API_KEY" },
  {
    name: "azure-chat",
    path: "/openai/deployments/mock-model/chat/completions",
    base: "/openai/deployments/mock-model?api-version=2024-10-21",
    variable: "AZURE_OPENAI_API_KEY",
  },
  {
    name: "azure-responses",
    path: "/v1/responses",
    base: "/v1",
    variable: "AZURE_OPENAI_API_KEY",
  },
  {
    name: "vertex",
    path: "/v1/projects/p/locations/global/publishers/google/models/mock-model:streamGenerateContent",
    base: "/v1",
    variable: "GOOGLE_OAUTH_ACCESS_TOKEN",
    environment: { GOOGLE_CLOUD_PROJECT: "p" },
  },
];

/** Each call waits for a file that the other one makes, so both end only if both run at once. */
function meet(own, other, text, pause) {
  return `: > ${own}.here; until [ -e ${other}.here ]; do sleep 0.02; done; sleep ${pause}; echo ${text}`;
}

const CALLS = [
  { id: "call_slow", name: "bash", arguments: { command: meet("a", "b", "alpha", 0.3), timeout_ms: 20_000 } },
  { id: "call_fast", name: "bash", arguments: { command: meet("b", "a", "beta", 0), timeout_ms: 20_000 } },
];

const SCENARIOS = [
  {
    name: "two parallel calls are answered in call order",
    prompt: "run both",
    fixtures: [
      {
        match: { userMessage: "run both", hasToolResult: false },
        response: {
          toolCalls: CALLS.map((call) => ({ ...call, arguments: JSON.stringify(call.arguments) })),
        },
      },
      {
        match: { userMessage: "run both", hasToolResult: true },
        response: { content: "alpha met beta" },
      },
    ],
    check({ protocol, requests, run }) {
      assert.equal(run.code, 0, "exit code");
      assert.equal(requests.length, 2, "number of requests");
      const [first, second] = requests.map((request) => conversation(request));
      assert.ok(
        requests[0].body.tools?.some((tool) => tool.function.name === "bash"),
        "the first request offers the tool",
      );
      assert.deepEqual(second.slice(0, first.length), first, "the second request keeps the first one");
      const added = second.slice(first.length);
      // Where each call is an item of its own, the mock records a message for each.
      const asked = added.flatMap((message) => message.tool_calls ?? []);
      const answers = added.filter((message) => message.tool_calls === undefined);
      assert.deepEqual(
        added.map((message) => message.tool_calls === undefined),
        [...added.keys()].map((at) => at >= added.length - answers.length),
        "the results stand after all calls",
      );
      assert.deepEqual(
        asked.map((call) => ({
          name: call.function.name,
          arguments: JSON.parse(call.function.arguments),
        })),
        CALLS.map(({ name, arguments: given }) => ({ name, arguments: given })),
        "the assistant message holds both calls as they were asked",
      );
      const ids = asked.map((call) => call.id);
      if (protocol.namesCalls ?? true) {
        assert.deepEqual(ids, CALLS.map((call) => call.id), "the ids of the calls");
        assert.deepEqual(
          answers.map((answer) => [answer.role, answer.tool_call_id]),
          ids.map((id) => ["tool", id]),
          "both results, in call order",
        );
      }
      assert.equal(answers.length, 2, "one result for each call");
      assert.match(answers[0].content, /alpha/, "result of the slow call");
      assert.match(answers[1].content, /beta/, "result of the fast call");
      const kinds = run.events.map((event) => event.kind);
      const ended = kinds.filter((kind) => kind.type === "tool_ended");
      assert.deepEqual(ended.map((kind) => kind.ending), ["finished", "finished"], "both calls finished");
      assert.equal(answerOf(run), "alpha met beta");
      assert.equal(outcomeOf(run), "completed");
    },
  },
  {
    name: "a rate limit is waited out",
    prompt: "too many",
    fixtures: [
      {
        match: { userMessage: "too many", sequenceIndex: 0 },
        response: {
          status: 429,
          retryAfter: RETRY_AFTER_SECONDS,
          error: { message: "slow down", type: "rate_limit_error" },
        },
      },
      { match: { userMessage: "too many", sequenceIndex: 1 }, response: { content: "at last" } },
    ],
    check({ requests, run }) {
      assert.equal(run.code, 0, "exit code");
      assert.deepEqual(requests.map((request) => request.response.status), [429, 200], "statuses");
      const waited = requests[1].timestamp - requests[0].timestamp;
      assert.ok(
        waited >= RETRY_AFTER_SECONDS * 1000,
        `waited ${waited} ms, the service asked for ${RETRY_AFTER_SECONDS} s`,
      );
      assert.deepEqual(conversation(requests[1]), conversation(requests[0]), "the same conversation");
      const failed = run.events.map((event) => event.kind).find((kind) => kind.type === "model_failed");
      assert.equal(failed?.error.kind, "rate_limited");
      assert.equal(failed.error.retry_after_ms, RETRY_AFTER_SECONDS * 1000);
      assert.equal(answerOf(run), "at last");
      assert.equal(outcomeOf(run), "completed");
    },
  },
  {
    name: "a stream that breaks off is asked for again",
    prompt: "break off",
    fixtures: [
      {
        match: { userMessage: "break off", sequenceIndex: 0 },
        response: { content: "this half of an answer must not stay in the conversation ".repeat(4) },
        chunkSize: 6,
        latency: 10,
        truncateAfterChunks: 16,
      },
      { match: { userMessage: "break off", sequenceIndex: 1 }, response: { content: "a whole answer" } },
    ],
    check({ requests, run }) {
      assert.equal(run.code, 0, "exit code");
      assert.equal(requests.length, 2, "number of requests");
      assert.equal(requests[0].response.interrupted, true, "the mock broke the first stream off");
      assert.deepEqual(conversation(requests[1]), conversation(requests[0]), "no half answer is sent back");
      const failed = run.events.map((event) => event.kind).find((kind) => kind.type === "model_failed");
      assert.ok(["incomplete", "network"].includes(failed?.error.kind), `error kind ${failed?.error.kind}`);
      assert.equal(failed.facts.output_seen, true, "half of the answer had been shown");
      assert.notEqual(failed.retry_at, null, "another attempt is announced");
      assert.equal(answerOf(run), "a whole answer");
      assert.equal(outcomeOf(run), "completed");
    },
  },
  {
    name: "a wrong key is refused once and never shown",
    prompt: "let me in",
    key: "key-that-nobody-knows",
    fixtures: [{ match: { userMessage: "let me in" }, response: { content: "not reached" } }],
    check({ requests, run }) {
      assert.equal(run.code, 1, "exit code");
      assert.deepEqual(requests, [], "the mock records only what passes its key check");
      const lines = run.stderr.split("\n").filter((line) => line.startsWith("phi: "));
      assert.equal(lines.length, 1, "one line says what failed");
      const failed = run.events.map((event) => event.kind).filter((kind) => kind.type === "model_failed");
      assert.deepEqual(failed.map((kind) => kind.error.kind), ["auth"], "one attempt");
      assert.equal(outcomeOf(run), "failed");
    },
  },
];

/** The messages of a request as the mock recorded them: in the form of OpenAI for every protocol. */
function conversation(request) {
  return request.body.messages;
}

/** The text of the last assistant message. */
function answerOf(run) {
  const messages = run.events
    .map((event) => event.kind)
    .filter((kind) => kind.type === "message" && kind.message.role === "assistant");
  const parts = messages.at(-1)?.message.parts ?? [];
  return parts.filter((part) => part.type === "text").map((part) => part.text).join("");
}

/** How the loop ended. */
function outcomeOf(run) {
  return run.events.map((event) => event.kind).find((kind) => kind.type === "loop_ended")?.outcome.type;
}

/** Runs phi to its end, or kills it at the deadline. */
function runPhi(protocol, scenario, baseUrl, directory) {
  const key = scenario.key ?? KEY;
  const options = [
    ["--protocol", protocol.name],
    ["--base-url", baseUrl + (protocol.base ?? "")],
    ["--model", "mock-model"],
    ["--store", join(directory, "store")],
    ["--cwd", directory],
    ...(scenario.session ? [["--session", scenario.session]] : []),
  ];
  const child = spawn(phi, ["run", ...options.flat(), "--yes", "--json", scenario.prompt], {
    cwd: directory,
    env: {
      PATH: process.env.PATH,
      HOME: directory,
      ...protocol.environment,
      [protocol.variable]: key,
    },
    stdio: ["ignore", "pipe", "pipe"],
  });
  return new Promise((resolve, reject) => {
    const output = { stdout: "", stderr: "" };
    for (const stream of ["stdout", "stderr"]) {
      child[stream].setEncoding("utf8").on("data", (text) => (output[stream] += text));
    }
    const deadline = setTimeout(() => child.kill("SIGKILL"), DEADLINE_MS);
    child.on("error", (error) => {
      clearTimeout(deadline);
      reject(error);
    });
    child.on("close", (code, signal) => {
      clearTimeout(deadline);
      resolve({ ...output, code: code ?? signal, key });
    });
  });
}

/** Reads the lines of `--json`: events, without the live increments. */
function eventsOf(stdout) {
  const lines = stdout.split("\n").filter((line) => line !== "");
  return lines.map((line) => JSON.parse(line)).filter((line) => line.live === undefined);
}

async function play(protocol, scenario) {
  const directory = await mkdtemp(join(tmpdir(), "phi-integration-"));
  const mock = new LLMock({ host: "127.0.0.1", port: 0, strict: true, auth: { apiKeys: [KEY] } });
  mock.addFixtures(scenario.fixtures);
  let run;
  let requests = [];
  try {
    const baseUrl = await mock.start();
    run = await runPhi(protocol, scenario, baseUrl, directory);
    requests = mock.getRequests();
    run.events = eventsOf(run.stdout);
    for (const request of requests) {
      assert.equal(request.path.split("?")[0], protocol.path, "path");
    }
    assert.ok(!`${run.stdout}${run.stderr}`.includes(run.key), "the key is not shown");
    scenario.check({ protocol, requests, run });
    return true;
  } catch (error) {
    console.error(`FAILED ${protocol.name}: ${scenario.name}\n${error.stack}`);
    console.error(`exit code ${run?.code}\nstdout:\n${run?.stdout}\nstderr:\n${run?.stderr}`);
    console.error(`requests:\n${JSON.stringify(requests.map(({ path, body }) => ({ path, body })), null, 1)}`);
    return false;
  } finally {
    await mock.stop();
    await rm(directory, { recursive: true, force: true });
  }
}

/**
 * Moves one session through every protocol: each continues what the others said, calls a tool, and
 * reads all of it.
 */
async function wander() {
  const directory = await mkdtemp(join(tmpdir(), "phi-integration-"));
  const mock = new LLMock({ host: "127.0.0.1", port: 0, strict: true, auth: { apiKeys: [KEY] } });
  for (const [step, { name }] of PROTOCOLS.entries()) {
    const prompt = `step ${step} of the way`;
    const call = { name: "bash", arguments: JSON.stringify({ command: `echo seen by ${name}` }) };
    mock.addFixtures([
      {
        match: { userMessage: prompt, sequenceIndex: 0 },
        response: { toolCalls: [{ ...call, id: `call_${step}` }] },
      },
      { match: { userMessage: prompt, sequenceIndex: 1 }, response: { content: `done by ${name}` } },
    ]);
  }
  let run;
  try {
    const baseUrl = await mock.start();
    const told = [];
    for (const [step, protocol] of PROTOCOLS.entries()) {
      const prompt = `step ${step} of the way`;
      run = await runPhi(protocol, { prompt, session: "way" }, baseUrl, directory);
      run.events = eventsOf(run.stdout);
      assert.equal(run.code, 0, `exit code of ${protocol.name}`);
      assert.equal(answerOf(run), `done by ${protocol.name}`);
      told.push(prompt, `seen by ${protocol.name}`);
      const sent = JSON.stringify(mock.getRequests().at(-1).body.messages);
      for (const text of told) {
        assert.ok(sent.includes(text), `${protocol.name} reads "${text}"`);
      }
      told.push(`done by ${protocol.name}`);
    }
    return true;
  } catch (error) {
    console.error(`FAILED one session through every protocol\n${error.stack}`);
    console.error(`exit code ${run?.code}\nstdout:\n${run?.stdout}\nstderr:\n${run?.stderr}`);
    return false;
  } finally {
    await mock.stop();
    await rm(directory, { recursive: true, force: true });
  }
}

let passed = 0;
let failures = 0;
function count(isPassed, name) {
  if (isPassed) {
    passed += 1;
    console.log(`ok ${name}`);
  } else {
    failures += 1;
  }
}
for (const protocol of PROTOCOLS) {
  for (const scenario of SCENARIOS) {
    count(await play(protocol, scenario), `${protocol.name}: ${scenario.name}`);
  }
}
count(await wander(), "one session through every protocol");
console.log(`${passed} passed, ${failures} failed`);
process.exitCode = failures === 0 ? 0 : 1;
