// The application without a window: starts its supervisor, asks for what is missing in the
// terminal or by a link, waits until everything is ready, and ends it all with Ctrl-C.
//
//   node app.js [--data DIR] [--program PATH] [--key-file FILE] [--link] [--once]
//
// Lines `ID=VALUE` on standard input answer what is asked; values are never arguments.
"use strict";

const path = require("node:path");
const readline = require("node:readline");
const { ControlError, Supervisor } = require("./supervisor.js");

function flags(words) {
  const found = { once: false, link: false };
  for (let at = 0; at < words.length; at += 1) {
    const name = words[at].replace(/^--/, "");
    if (name === "once" || name === "link") found[name] = true;
    else found[name] = words[(at += 1)];
  }
  return found;
}

// Lines of standard input as answers, by id.
async function answers(missing) {
  const wanted = new Set(missing.map((one) => one.id));
  const given = {};
  const lines = readline.createInterface({ input: process.stdin });
  for await (const line of lines) {
    const at = line.indexOf("=");
    if (at > 0 && wanted.has(line.slice(0, at))) given[line.slice(0, at)] = line.slice(at + 1);
    if (Object.keys(given).length === wanted.size) break;
  }
  lines.close();
  return given;
}

async function fill(supervisor, missing, byLink) {
  for (const one of missing) {
    const label = (one.prompt && one.prompt.label) || one.id;
    console.log(`needed: ${one.id} (${label})`);
  }
  if (byLink) {
    console.log(`setup: ${await supervisor.setupLink()}`);
    return;
  }
  try {
    await supervisor.store(await answers(missing));
  } catch (error) {
    if (!(error instanceof ControlError)) throw error;
    // What was typed is kept by whoever typed it: the message names the secret, never its value.
    console.log(`refused: ${error.message}`);
    throw new Error("nothing was stored");
  }
}

async function main() {
  const given = flags(process.argv.slice(2));
  const supervisor = new Supervisor({
    program: given.program,
    bundle: path.join(__dirname, "bundle.json"),
    appData: given.data || path.join(__dirname, "data"),
    keyFile: given["key-file"],
  });
  supervisor.on("said", (line) => console.error(line));
  const stop = () => supervisor.stop();
  process.once("SIGINT", stop);
  process.once("SIGTERM", stop);
  await supervisor.start();
  try {
    const missing = await supervisor.missing();
    if (missing.length > 0) await fill(supervisor, missing, given.link);
    await supervisor.ready();
    const ports = await supervisor.ports();
    console.log(`ready: ${JSON.stringify(ports)}`);
  } catch (error) {
    await supervisor.stop();
    throw error;
  }
  if (given.once) await supervisor.stop();
  const { code } = await supervisor.ended;
  console.log(`ended: ${code}`);
}

main().catch((error) => {
  console.error(`error: ${error.message}`);
  process.exitCode = 1;
});
