// Runs a browser's script in Node unchanged: gives it a WebSocket, sends it to the gateway under test instead of
// localhost:8080 or :8000 with the token under test instead of YOUR_JWT_TOKEN, tells what it hears as JSON lines, and lets its timers run 100 times as fast.
"use strict";
const { WebSocket } = require("ws");

const gateway = process.env.GATEWAY;
const tell = (line) => process.stdout.write(JSON.stringify(line) + "\n");

globalThis.WebSocket = class extends WebSocket {
  constructor(url, ...rest) {
    super(url.replace(/localhost:80[08]0/, gateway).replace("YOUR_JWT_TOKEN", process.env.TOKEN), ...rest);
    this.addEventListener("message", (event) => tell({ heard: event.data }));
    this.addEventListener("close", (event) => tell({ closed: event.code }));
  }
};
// What the application's page defines and the snippet calls.
globalThis.updateJobStatus = (jobId, status, data) => tell({ update: { job_id: jobId, status, data } });

const interval = globalThis.setInterval;
globalThis.setInterval = (callback, ms, ...rest) => interval(callback, ms / 100, ...rest);
