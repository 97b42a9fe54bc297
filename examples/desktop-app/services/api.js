#!/usr/bin/env node
// The application: one page, and whether its secrets are there. It never says what they are.
"use strict";

const http = require("node:http");

const has = (name) => Boolean(process.env[name]);

const server = http.createServer((request, response) => {
  if (request.url === "/healthz") {
    response.end("ok\n");
    return;
  }
  const body = { session: has("SESSION_SECRET"), key: has("OPENAI_API_KEY") };
  response.setHeader("Content-Type", "application/json");
  response.end(`${JSON.stringify(body)}\n`);
});

server.listen(Number(process.env.PORT), "127.0.0.1", () => console.log("listening"));
for (const signal of ["SIGINT", "SIGTERM"]) {
  process.once(signal, () => server.close(() => process.exit(0)));
}
