// The application with a window: Electron's main process. It starts the supervisor, shows the page
// of the first run while something is missing, then the application's own page.
"use strict";

const path = require("node:path");
const { app, BrowserWindow, dialog, Menu, shell } = require("electron");
const { Supervisor } = require("./supervisor.js");
const { nextPage } = require("./pages.js");

let supervisor = null;
let window = null;

// Pages are shown, not trusted: no Node in them, nothing but the supervisor's and the
// application's own addresses, links elsewhere in the browser.
function open() {
  const made = new BrowserWindow({
    width: 1000,
    height: 700,
    webPreferences: { contextIsolation: true, nodeIntegration: false, sandbox: true },
  });
  made.webContents.setWindowOpenHandler(({ url }) => {
    if (url.startsWith("https://")) shell.openExternal(url);
    return { action: "deny" };
  });
  made.webContents.on("will-navigate", (event, url) => {
    if (new URL(url).hostname !== "127.0.0.1") event.preventDefault();
  });
  return made;
}

function menu() {
  const settings = {
    label: "Settings",
    click: async () => window.loadURL(await supervisor.setupLink()),
  };
  const items = [{ label: app.name, submenu: [settings, { role: "quit" }] }, { role: "editMenu" }];
  Menu.setApplicationMenu(Menu.buildFromTemplate(items));
}

async function begin() {
  const root = app.isPackaged ? process.resourcesPath : __dirname;
  supervisor = new Supervisor({
    program: path.join(root, "bin", "strongroom"),
    bundle: path.join(root, "bundle.json"),
    appData: app.getPath("userData"),
  });
  await supervisor.start();
  window = open();
  menu();
  // First what is missing; then, when everything is ready, the application.
  await window.loadURL(await nextPage(supervisor));
  await supervisor.ready();
  await window.loadURL(await nextPage(supervisor));
}

app.whenReady().then(begin).catch((error) => {
  dialog.showErrorBox(app.name, error.message);
  app.quit();
});

// The services end in order before the window does.
let isStopping = false;
app.on("before-quit", (event) => {
  if (isStopping || supervisor === null) return;
  event.preventDefault();
  isStopping = true;
  supervisor.stop().finally(() => app.quit());
});
app.on("window-all-closed", () => app.quit());
