// The client against cstar-mock: cstar-mock exec -- node --test examples/javascript/
// Each test creates a team of its own through the control API, and tells it what to be.

import assert from "node:assert/strict";
import { test } from "node:test";

import { ApiError, ConnectionFailed, CStarClient } from "./client.mjs";

const { CSTAR_ADMIN_URL, CSTAR_ADMIN_TOKEN, CSTAR_BASE_URL } = process.env;
if (!CSTAR_ADMIN_URL) throw new Error("run me with: cstar-mock exec -- node --test examples/javascript/");

async function admin(method, path, body) {
  const headers = { "Content-Type": "application/json" };
  if (CSTAR_ADMIN_TOKEN) headers.Authorization = `Bearer ${CSTAR_ADMIN_TOKEN}`;
  const response = await fetch(CSTAR_ADMIN_URL + path, { method, headers, body: body && JSON.stringify(body) });
  const text = await response.text();
  assert.ok(response.ok, `${method} ${path}: ${response.status} ${text}`);
  return text ? JSON.parse(text) : undefined;
}

/** A test with a team of its own, and a client of it that notes its waits instead of waiting. */
function withTeam(name, content, body) {
  test(name, async () => {
    const team = await admin("POST", "/teams", content);
    const control = (method, path, value) => admin(method, `/teams/${team.id}${path}`, value);
    const waits = [];
    const client = (options = {}) =>
      new CStarClient({
        baseUrl: CSTAR_BASE_URL,
        teamId: team.id,
        apiKey: team.keys.sk_test,
        sleep: async (milliseconds) => void waits.push(milliseconds),
        ...options,
      });
    const count = async (criteria) => (await control("POST", "/requests/count", criteria)).count;
    try {
      await body({ team, control, client, waits, count });
    } finally {
      await admin("DELETE", `/teams/${team.id}`);
    }
  });
}

const tickets = { total: 142, open: 23, resolved: 89 };

withTeam("figures", { answers: { overview: { tickets } } }, async ({ client }) => {
  assert.deepEqual((await client().overview("week")).tickets, tickets);
  assert.deepEqual(await client().agents(), []);
});

withTeam("two 429, and then success", {}, async ({ control, client, waits, count }) => {
  await control("POST", "/faults", { status: 429, retryAfter: 1, failRequestCount: 2 });
  assert.equal((await client().overview()).object, "analytics_overview");
  assert.deepEqual(waits, [1000, 1000]);
  assert.equal(await count({ status: 429 }), 2);
  assert.equal(await count({ status: 200 }), 1);
});

withTeam("a Retry-After that is too long", {}, async ({ control, client, waits }) => {
  await control("POST", "/faults", { status: 429, retryAfter: 3600 });
  await assert.rejects(client().overview(), { name: "ApiError", status: 429, code: "rate_limit_exceeded" });
  assert.deepEqual(waits, []);
});

for (const status of [500, 503]) {
  withTeam(`${status} twice, and then success`, {}, async ({ control, client, count }) => {
    await control("POST", "/faults", { status, failRequestCount: 2 });
    assert.equal((await client().overview()).object, "analytics_overview");
    assert.equal(await count({ status }), 2);
  });
}

withTeam("500 for ever", {}, async ({ control, client, waits }) => {
  await control("POST", "/faults", { status: 500 });
  await assert.rejects(client().overview(), (error) => error instanceof ApiError && /^req_/.test(error.requestId));
  assert.equal(waits.length, 3);
});

for (const fault of [
  "CONNECTION_RESET_BY_PEER",
  "EMPTY_RESPONSE",
  "MALFORMED_RESPONSE_CHUNK",
  "RANDOM_DATA_THEN_CLOSE",
]) {
  withTeam(`a broken connection: ${fault}`, {}, async ({ control, client, count }) => {
    await control("POST", "/faults", { fault, failRequestCount: 2 });
    await assert.rejects(client({ retries: 0 }).overview(), (error) => {
      assert.ok(error instanceof ConnectionFailed);
      assert.ok(error.cause instanceof TypeError); // what fetch says of a network error
      return true;
    });
    assert.equal((await client().overview()).object, "analytics_overview");
    assert.equal(await count({ status: 0 }), 2);
  });
}

withTeam("a slow server", {}, async ({ control, client }) => {
  await control("POST", "/faults", { delay: { type: "fixed", milliseconds: 1000 }, failRequestCount: 1 });
  assert.equal((await client({ timeout: 300 }).overview()).object, "analytics_overview");
});

withTeam("a wrong key", {}, async ({ client, waits }) => {
  await assert.rejects(client({ apiKey: "sk_test_of_nobody" }).overview(), { status: 401 });
  assert.deepEqual(waits, []);
});

const frozen = { clock: "2025-12-10T14:30:00Z", answers: { overview: { tickets } } };
withTeam("a week later", frozen, async ({ control, client }) => {
  assert.deepEqual((await client().overview()).tickets, tickets);
  await control("PUT", "/clock", { action: "advance", by: "P8D" });
  assert.deepEqual((await client().overview()).tickets, { total: 0, open: 23, resolved: 0 });
});
