// Which page comes next: what Electron's main process decides, without Electron.
"use strict";

// The service with the application's page, and the name of its port.
const SERVICE = "api";
const PORT = "http";

// The port of the application's page in what the supervisor says of its ports.
function portOf(ports) {
  const all = ports.services || ports;
  const own = all[SERVICE];
  const port = own && own[PORT];
  if (!Number.isInteger(port)) throw new Error(`service ${SERVICE} has no port ${PORT}`);
  return port;
}

// The first run's page while something is missing, else the application's.
async function nextPage(supervisor) {
  const missing = await supervisor.missing();
  if (missing.length > 0) return supervisor.setupLink();
  return `http://127.0.0.1:${portOf(await supervisor.ports())}/`;
}

module.exports = { nextPage, portOf };
