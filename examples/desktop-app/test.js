// What the window does, without a window: node test.js PROGRAM DATA
// The value on standard input is what a person would type.
"use strict";

const assert = require("node:assert/strict");
const fs = require("node:fs");
const path = require("node:path");
const { nextPage, portOf } = require("./pages.js");
const { ControlError, Supervisor } = require("./supervisor.js");

async function get(url) {
  return (await fetch(url)).json();
}

async function main() {
  const [program, appData] = process.argv.slice(2);
  const typed = fs.readFileSync(0, "utf8").trim();
  const bundle = path.join(__dirname, "bundle.json");
  const supervisor = await new Supervisor({ program, bundle, appData }).start();

  // The first page is the first run's, by a link that is new each time.
  const first = await nextPage(supervisor);
  assert.match(first, /^http:\/\/127\.0\.0\.1:\d+\/setup\/#.{16,}$/);
  assert.notEqual(await supervisor.setupLink(), first);
  const missing = await supervisor.missing();
  assert.deepEqual(missing.map((one) => one.id), ["openai_key"]);

  // What does not fit is refused whole; the message says which, and not what.
  await assert.rejects(supervisor.store({ openai_key: "not a key" }), (error) => {
    assert.ok(error instanceof ControlError);
    assert.equal(error.status, 400);
    assert.match(error.message, /openai_key/);
    assert.doesNotMatch(error.message, /not a key/);
    return true;
  });
  await supervisor.store({ openai_key: typed });
  await supervisor.ready();

  // Then the application's own.
  const page = await nextPage(supervisor);
  assert.equal(page, `http://127.0.0.1:${portOf(await supervisor.ports())}/`);
  assert.deepEqual(await get(page), { session: true, key: true });
  const secrets = await supervisor.secrets();
  assert.deepEqual(secrets.map((one) => one.status), ["configured", "configured"]);
  assert.ok(!JSON.stringify(secrets).includes(typed));

  // A second one is refused, and says why.
  const second = new Supervisor({ program, bundle, appData });
  await assert.rejects(second.start(), /runs already/);

  const { code } = await supervisor.stop();
  assert.equal(code, 0);
  await assert.rejects(get(page));
  console.log("all as it should be");
}

main().catch((error) => {
  console.error(error.message);
  process.exit(1);
});
