// The console: figures from /v1/info once a second, a socket like any client's, publications through /v1/publish.
// Where the manifest has API keys, the page asks for one and keeps it for as long as the tab is open.
// Everything a server or client said is shown as text, never as markup.

const $ = (id) => document.getElementById(id);
const LOG_LINES = 200;
const POINTS = 120;

const history = [];
let before = null;

const thousands = (number) => number.toLocaleString("en", { maximumFractionDigits: number < 10 ? 1 : 0 });

function span(seconds) {
  const parts = [[86400, "d"], [3600, "h"], [60, "m"], [1, "s"]];
  const at = Math.max(0, parts.findIndex(([size]) => seconds >= size));
  return parts.slice(at, at + 2).map(([size, unit], i) => {
    const value = Math.floor((i === 0 ? seconds : seconds % parts[at][0]) / size);
    return `${value}${unit}`;
  }).join(" ");
}

async function ask(path, options = {}) {
  const key = sessionStorage.getItem("key");
  const headers = { ...options.headers, ...(key ? { Authorization: `Bearer ${key}` } : {}) };
  const answer = await fetch(path, { ...options, headers, cache: "no-store" });
  // Shown again where the key lacks a scope: another one may have it.
  if (answer.status === 401 || answer.status === 403) $("access").hidden = false;
  return answer;
}

$("access").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem("key", $("key").value.trim());
  $("key").value = "";
  $("access").hidden = true;
  refresh();
});

async function refresh() {
  try {
    const answer = await ask("/v1/info");
    const info = await answer.json();
    if (!answer.ok) throw new Error(info.error?.message ?? `HTTP ${answer.status}`);
    show(info);
  } catch (error) {
    before = null;
    $("status").textContent = error instanceof TypeError ? "away" : error.message;
    $("status").className = "away";
  }
}

function show(info) {
  $("name").textContent = info.name;
  $("version").textContent = info.version;
  $("status").textContent = info.ready ? "ready" : "not ready";
  $("status").className = info.ready ? "ready" : "away";
  $("connections").textContent = thousands(info.connections);
  $("uptime").textContent = span(info.uptime_seconds);
  const now = performance.now();
  if (before) {
    const seconds = (now - before.at) / 1000;
    const rate = (member) => Math.max(0, info[member] - before.info[member]) / seconds;
    $("publications").textContent = thousands(rate("publications"));
    $("deliveries").textContent = thousands(rate("deliveries"));
    history.push(rate("deliveries"));
    if (history.length > POINTS) history.shift();
    draw();
  } else {
    offer(info);
    greet(info);
  }
  before = { at: now, info };
}

function offer(info) {
  const chosen = $("endpoint").value;
  $("endpoint").replaceChildren(...info.endpoints.map((endpoint) => {
    const option = document.createElement("option");
    option.value = new URL(endpoint.url, location.href).href;
    option.textContent = `${endpoint.name} ${endpoint.path}`;
    return option;
  }));
  if (chosen) $("endpoint").value = chosen;
  $("patterns").replaceChildren(...info.channels.map((pattern) => {
    const option = document.createElement("option");
    option.value = pattern;
    return option;
  }));
}

// A first look should show something moving: where the manifest declares the demo's channels, the page listens at once.
let greeted = false;
function greet(info) {
  if (!greeted && info.channels.includes("demo:{topic}") && !$("channel").value) {
    $("channel").value = "demo:orders";
    $("subscribe").requestSubmit();
  }
  greeted = true;
}

function draw() {
  const canvas = $("chart");
  const context = canvas.getContext("2d");
  const { width, height } = canvas;
  const top = Math.max(1, ...history);
  context.clearRect(0, 0, width, height);
  context.beginPath();
  history.forEach((value, i) => {
    const x = width - (history.length - 1 - i) * (width / (POINTS - 1));
    context.lineTo(x, height - 4 - (value / top) * (height - 12));
  });
  context.strokeStyle = getComputedStyle(document.documentElement).getPropertyValue("--accent");
  context.lineWidth = 3;
  context.stroke();
}

let socket = null;
let count = 0;
let waiting = [];

function log(text) {
  const line = document.createElement("li");
  const time = document.createElement("time");
  time.textContent = new Date().toISOString().slice(11, 23);
  line.append(time, text);
  waiting.push(line);
  if (waiting.length === 1) requestAnimationFrame(flush);
}

function flush() {
  const list = $("log");
  list.prepend(...waiting.slice(-LOG_LINES).reverse());
  waiting = [];
  while (list.children.length > LOG_LINES) list.lastChild.remove();
  $("count").textContent = count;
}

function disconnect() {
  const closing = socket;
  socket = null;
  closing?.close();
  $("connect").textContent = "Connect";
}

$("subscribe").addEventListener("submit", (event) => {
  event.preventDefault();
  if (socket) {
    disconnect();
    $("socket").textContent = "not connected";
    return;
  }
  const url = new URL($("endpoint").value);
  // In this version a token may stand in the query or a header; a browser has only the first.
  if ($("token").value) url.searchParams.set("token", $("token").value);
  const opened = new WebSocket(url, "rtgw.json.v1");
  socket = opened;
  $("connect").textContent = "Disconnect";
  $("socket").textContent = "connecting";
  opened.addEventListener("open", () => {
    $("socket").textContent = "connected";
    const channel = $("channel").value.trim();
    if (channel) opened.send(JSON.stringify({ type: "subscribe", id: 1, data: { channel } }));
  });
  opened.addEventListener("message", ({ data }) => {
    count += 1;
    log(data);
  });
  opened.addEventListener("close", ({ code, reason }) => {
    $("socket").textContent = `closed with ${code}${reason ? ` ${reason}` : ""}`;
    if (socket === opened) disconnect();
  });
});

$("clear").addEventListener("click", () => {
  count = 0;
  waiting = [];
  $("log").replaceChildren();
  $("count").textContent = count;
});

$("publish").addEventListener("submit", async (event) => {
  event.preventDefault();
  const output = $("published");
  output.className = "bad";
  try {
    const data = JSON.parse($("data").value);
    const body = JSON.stringify({ channel: $("to").value.trim(), event: $("event").value, data });
    const answer = await ask("/v1/publish", { method: "POST", headers: { "Content-Type": "application/json" }, body });
    const said = await answer.json();
    if (!answer.ok) throw new Error(said.error?.message ?? `HTTP ${answer.status}`);
    output.className = "";
    output.textContent = `published as ${said.id}`;
  } catch (error) {
    output.textContent = error instanceof SyntaxError ? `the data is not JSON: ${error.message}` : error.message;
  }
});

refresh();
setInterval(refresh, 1000);
