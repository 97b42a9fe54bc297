// Starts an application's supervisor and talks to its control API. Nothing here knows whether a
// window or a terminal asks: main.js (Electron) and app.js (plain Node) use it alike.
"use strict";

const { spawn } = require("node:child_process");
const { EventEmitter } = require("node:events");
const fs = require("node:fs/promises");
const http = require("node:http");
const path = require("node:path");
const readline = require("node:readline");

// How long the supervisor may take until it answers.
const START_MS = 30_000;
// How long a request may take.
const REQUEST_MS = 10_000;
// So often it is looked whether everything is ready.
const LOOK_MS = 250;
// An answer is not longer; a log's end is the longest.
const ANSWER_BYTES_MAX = 4 * 1024 * 1024;
// Said by the supervisor on standard output, once it listens.
const READY = /^runtime ready .*listening on (\S+):(\d+)/;

class ControlError extends Error {
  constructor(status, message) {
    super(message);
    this.name = "ControlError";
    this.status = status;
  }
}

class Supervisor extends EventEmitter {
  // `program`: strongroom; `bundle`: the manifest; `appData`: the application's own folder.
  // `keyFile` opens the installation's store; by default it is chosen by the program.
  constructor({ program = "strongroom", bundle, appData, keyFile, env = process.env }) {
    super();
    this.program = program;
    this.bundle = bundle;
    this.appData = appData;
    this.keyFile = keyFile;
    this.env = env;
    this.child = null;
    this.ended = null;
    this.address = null;
    this.token = null;
  }

  // Starts the supervisor; resolves when its control API answers.
  async start() {
    const args = ["supervise", this.bundle, "--app-data", this.appData];
    if (this.keyFile) args.push("--key-file", this.keyFile);
    // No shell, and nothing that is secret among the arguments.
    this.child = spawn(this.program, args, {
      env: this.env,
      stdio: ["ignore", "pipe", "pipe"],
    });
    this.ended = new Promise((resolve) => {
      this.child.once("error", (error) => resolve({ error }));
      this.child.once("exit", (code, signal) => resolve({ code, signal }));
    });
    this.ended.then((how) => this.emit("ended", how));
    const said = [];
    readline.createInterface({ input: this.child.stderr }).on("line", (line) => {
      said.push(line);
      if (said.length > 20) said.shift();
      this.emit("said", line);
    });
    this.address = await this.#listening(said);
    const manifest = JSON.parse(await fs.readFile(this.bundle, "utf8"));
    this.token = await this.#readToken(manifest.ipc.auth_token_path);
    return this;
  }

  #listening(said) {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.child.kill("SIGTERM");
        reject(new Error("the supervisor does not answer"));
      }, START_MS);
      readline.createInterface({ input: this.child.stdout }).on("line", (line) => {
        const found = READY.exec(line);
        if (!found) return;
        clearTimeout(timer);
        resolve({ host: found[1], port: Number(found[2]) });
      });
      this.ended.then(({ error, code }) => {
        clearTimeout(timer);
        const isAbsent = error && error.code === "ENOENT";
        const why = isAbsent ? `there is no program ${this.program}; --program names another`
          : error ? error.message : said.join("\n") || `exit code ${code}`;
        reject(new Error(`the supervisor ended: ${why}`));
      });
    });
  }

  // The token is new with each start, and readable for this user only. Older bundles spell the
  // file's name in two ways.
  async #readToken(named) {
    for (const name of [named, "runtime/auth-token", "runtime/auth_token"]) {
      try {
        return (await fs.readFile(path.join(this.appData, name), "utf8")).trim();
      } catch (error) {
        if (error.code !== "ENOENT") throw error;
      }
    }
    throw new Error("the supervisor left no token");
  }

  // A request to the control API: the answer's JSON.
  request(method, where, body) {
    const text = body === undefined ? undefined : JSON.stringify(body);
    const headers = { Authorization: `Bearer ${this.token}` };
    if (text !== undefined) {
      headers["Content-Type"] = "application/json";
      headers["Content-Length"] = Buffer.byteLength(text);
    }
    return new Promise((resolve, reject) => {
      const options = { ...this.address, method, path: where, headers, timeout: REQUEST_MS };
      const request = http.request(options, (response) => {
        const pieces = [];
        let length = 0;
        response.on("data", (piece) => {
          length += piece.length;
          if (length > ANSWER_BYTES_MAX) request.destroy(new Error("the answer is too long"));
          pieces.push(piece);
        });
        response.on("end", () => {
          const answer = Buffer.concat(pieces).toString("utf8");
          if (response.statusCode >= 400) {
            reject(new ControlError(response.statusCode, answer.trim()));
            return;
          }
          try {
            resolve(JSON.parse(answer));
          } catch {
            resolve(answer);
          }
        });
      });
      request.on("timeout", () => request.destroy(new Error("no answer in time")));
      request.on("error", reject);
      request.end(text);
    });
  }

  // The declared secrets with their status; never a value.
  async secrets() {
    return (await this.request("GET", "/secrets")).secrets;
  }

  // Those that a person has to give before the application starts.
  async missing() {
    const secrets = await this.secrets();
    return secrets.filter((one) => one.required && one.status !== "configured");
  }

  // Stores values, all or none; what is wrong with one is the error's message.
  store(secrets) {
    return this.request("POST", "/secrets", { secrets });
  }

  // Whether values would be stored, without storing any.
  check(secrets) {
    return this.request("POST", "/secrets/validate", { secrets });
  }

  // A link to the page of the first run, and of the settings later. It works once.
  async setupLink() {
    return (await this.request("POST", "/setup-link")).url;
  }

  ports() {
    return this.request("GET", "/ports");
  }

  readiness() {
    return this.request("GET", "/readyz");
  }

  log(service, lines = 200) {
    const query = new URLSearchParams({ serviceId: service, lines: String(lines) });
    return this.request("GET", `/logs/tail?${query}`);
  }

  // Resolves when every service is ready; rejects when the supervisor ends first.
  async ready() {
    let isOver = false;
    this.ended.then(() => {
      isOver = true;
    });
    for (;;) {
      if (isOver) throw new Error("the supervisor ended before the application was ready");
      const found = await this.readiness();
      this.emit("readiness", found);
      if (found.ready) return found;
      await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
    }
  }

  // Stops the services in order, then the supervisor.
  async stop() {
    if (this.child === null || this.child.exitCode !== null) return this.ended;
    try {
      await this.request("POST", "/shutdown");
    } catch {
      this.child.kill("SIGTERM");
    }
    return this.ended;
  }
}

module.exports = { ControlError, Supervisor };
