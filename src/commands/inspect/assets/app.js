// Page of the inspector: the sequence of what passes, and the tools of the server. No library, no state outside this tab.
"use strict";

const ROW_HEIGHT = 40; // Pixels, as in style.css.
const OVERSCAN_ROWS = 8; // Rows beyond the edges, so that scrolling shows no gaps.
const LANES = { app: [14, "App"], bridge: [34, "Bridge"], server: [58, "Server"], auth: [77, "Sign-in"], browser: [93, "Browser"] };

const byId = (id) => document.getElementById(id);

/** An element with attributes and children. Texts are never taken for HTML. */
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== undefined && value !== null) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

function parsed(text) {
  try { return JSON.parse(text); } catch { return undefined; }
}

// ---- Entries --------------------------------------------------------------------------------------------------------

const entries = []; // All, in the order of their beginning as far as they come so.
const byExchange = new Map(); // Number of an exchange to its entry, so that a later state replaces an earlier one.
let shown = []; // Those that the filter lets through.
let chosen = null;

/** What a row says about an entry. */
function summarize(entry) {
  const mcp = entry._mcp ?? { kind: "http", purpose: "server", state: "ended" };
  const { request, response } = entry;
  if (mcp.kind === "message") {
    const [from, to] = mcp.direction === "from-app" ? ["app", "bridge"] : ["bridge", "app"];
    const name = mcp.method || mcp.message;
    const id = mcp.id === null || mcp.id === undefined ? "" : ` #${mcp.id}`;
    return { kind: "message", from, to, label: name + id, failed: mcp.message === "error" };
  }
  if (mcp.kind === "step") {
    const isPage = mcp.step === "sign-in" && mcp.detail.startsWith("waiting for a person");
    return { kind: "step", from: "bridge", to: isPage ? "browser" : "bridge", label: `${mcp.step}: ${mcp.detail}`, failed: false };
  }
  const url = new URL(request.url, location.href);
  const body = parsed(request.postData?.text ?? "");
  const what = mcp.purpose === "sign-in" ? url.host + url.pathname : body?.method ?? (body ? "response" : "");
  const isOpen = mcp.state === "open";
  const status = mcp.failure ? "no response" : response.status || (isOpen ? "…" : "no response");
  const time = isOpen ? "" : ` · ${Math.round(entry.time * 10) / 10} ms`;
  return {
    kind: "http", from: "bridge", to: mcp.purpose === "sign-in" ? "auth" : "server",
    label: `${request.method} ${what} → ${status}${time}`.replace("  ", " "),
    failed: Boolean(mcp.failure) || response.status >= 400, isOpen,
  };
}

function add(text) {
  const entry = parsed(text);
  if (!entry) return;
  const row = { entry, ...summarize(entry), text: text.toLowerCase() };
  const exchange = entry._mcp?.exchange;
  const known = exchange === undefined || exchange === null ? undefined : byExchange.get(exchange);
  if (known && !isRecording) {
    Object.assign(known, row);
    if (known === chosen) showDetail(known);
    return;
  }
  if (exchange !== undefined && exchange !== null) byExchange.set(exchange, row);
  insert(entries, row);
  if (passes(row)) insert(shown, row);
}

/** Puts a row where it belongs by its beginning: an exchange may be told of after what it has led to. */
function insert(rows, row) {
  let at = rows.length;
  while (at > 0 && rows[at - 1].entry.startedDateTime > row.entry.startedDateTime) at -= 1;
  rows.splice(at, 0, row);
}

function passes(row) {
  const kinds = new Set([...document.querySelectorAll("[name=kind]:checked")].map((box) => box.value));
  return kinds.has(row.kind) && row.text.includes(byId("search").value.trim().toLowerCase());
}

function refilter() {
  const kinds = new Set([...document.querySelectorAll("[name=kind]:checked")].map((box) => box.value));
  const words = byId("search").value.trim().toLowerCase();
  shown = entries.filter((row) => kinds.has(row.kind) && row.text.includes(words));
  draw();
}

// ---- Virtual list ---------------------------------------------------------------------------------------------------

const list = byId("rows");
const spacer = make("div", { id: "spacer", role: "presentation" });
list.append(spacer);
let drawing = 0;

/** Draws once before the next frame, however often it is asked for. */
function draw() {
  if (!drawing) drawing = requestAnimationFrame(() => { drawing = 0; drawNow(); });
}

function drawNow() {
  const isFollowing = byId("follow").checked;
  spacer.style.height = `${shown.length * ROW_HEIGHT}px`;
  if (isFollowing && !chosen) list.scrollTop = list.scrollHeight;
  const first = Math.max(0, Math.floor(list.scrollTop / ROW_HEIGHT) - OVERSCAN_ROWS);
  const last = Math.min(shown.length, Math.ceil((list.scrollTop + list.clientHeight) / ROW_HEIGHT) + OVERSCAN_ROWS);
  const rows = [];
  for (let at = first; at < last; at += 1) rows.push(drawRow(shown[at], at));
  spacer.replaceChildren(...rows);
  byId("count").textContent = shown.length === entries.length ? `${entries.length}` : `${shown.length} of ${entries.length}`;
  const active = chosen && shown.indexOf(chosen);
  if (chosen && active >= first && active < last) list.setAttribute("aria-activedescendant", `row-${active}`);
  else list.removeAttribute("aria-activedescendant");
}

function drawRow(row, at) {
  const [from, to] = [LANES[row.from], LANES[row.to]];
  const route = row.from === row.to ? from[1] : `${from[1]} → ${to[1]}`;
  const time = row.entry.startedDateTime.slice(11, 23);
  const label = make("span", { class: "label" }, row.label);
  const element = make("div", {
    class: `row ${row.kind}${row.failed ? " failed" : ""}${row.isOpen ? " open" : ""}`, id: `row-${at}`, role: "option",
    "aria-selected": String(row === chosen), "aria-setsize": shown.length, "aria-posinset": at + 1,
    title: row.label,
  }, make("span", { class: "time" }, time), " ", make("span", { class: "route" }, route), " ", label);
  const [low, high] = [Math.min(from[0], to[0]), Math.max(from[0], to[0])];
  if (row.from === row.to) {
    const dot = make("span", { class: "dot" });
    dot.style.left = `${low}%`;
    element.append(dot);
  } else {
    const arrow = make("span", { class: `arrow ${from[0] < to[0] ? "right" : "left"}` });
    arrow.style.left = `${low}%`;
    arrow.style.width = `${high - low}%`;
    element.append(arrow);
  }
  label.style.left = `calc(${low}% + 12px)`;
  label.style.width = `calc(${(row.kind === "message" ? Math.max(high - low, 20) : 100 - low)}% - 20px)`;
  element.style.top = `${at * ROW_HEIGHT}px`;
  element.addEventListener("click", () => choose(row));
  return element;
}

function choose(row) {
  chosen = row;
  const at = shown.indexOf(row);
  if (at >= 0) {
    const top = at * ROW_HEIGHT;
    if (top < list.scrollTop) list.scrollTop = top;
    if (top + ROW_HEIGHT > list.scrollTop + list.clientHeight) list.scrollTop = top + ROW_HEIGHT - list.clientHeight;
  }
  showDetail(row);
  draw();
}

list.addEventListener("scroll", () => {
  if (list.scrollTop + list.clientHeight < list.scrollHeight - 2 * ROW_HEIGHT) byId("follow").checked = false;
  draw();
});
list.addEventListener("keydown", (event) => {
  const page = Math.max(1, Math.floor(list.clientHeight / ROW_HEIGHT) - 1);
  const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity };
  if (event.key === "Escape") return closeDetail();
  if (event.key === "Enter" && chosen) return byId("detail").focus();
  if (!(event.key in steps) || shown.length === 0) return undefined;
  event.preventDefault();
  const at = chosen ? shown.indexOf(chosen) : -1;
  const next = Math.min(shown.length - 1, Math.max(0, at + steps[event.key]));
  return choose(shown[next]);
});
new ResizeObserver(draw).observe(list);

// ---- Details --------------------------------------------------------------------------------------------------------

function showDetail(row) {
  const { entry } = row;
  const { request, response } = entry;
  const mcp = entry._mcp ?? { kind: "http" };
  const close = make("button", { type: "button", class: "close", onclick: closeDetail }, "Close");
  const parts = [close, make("h2", {}, row.label)];
  const facts = [["Time", entry.startedDateTime]];
  if (mcp.kind === "http") {
    facts.push(["URL", request.url], ["Status", mcp.failure ?? (`${response.status} ${response.statusText}`.trim())],
      ["Duration", `${entry.time} ms`], ["HTTP", response.httpVersion], ["State", mcp.state]);
  }
  if (mcp.kind === "step") facts.push(["Step", mcp.step], ["Detail", mcp.detail]);
  parts.push(table(facts));
  if (mcp.kind === "http") {
    parts.push(heading("Request headers"), table(request.headers.map(({ name, value }) => [name, value])));
    parts.push(...body("Request body", request.postData?.text));
    parts.push(heading("Response headers"), table(response.headers.map(({ name, value }) => [name, value])));
    parts.push(...body("Response body", response.content.text));
  }
  if (mcp.kind === "message") parts.push(...body("Message", request.postData?.text ?? response.content.text));
  byId("detail").replaceChildren(...parts);
  byId("detail").hidden = false;
}

function closeDetail() {
  byId("detail").hidden = true;
  chosen = null;
  list.focus();
  draw();
}

const heading = (text) => make("h3", {}, text);

function table(rows) {
  const lines = rows.filter(([, value]) => value !== undefined && value !== "");
  return make("table", {}, make("tbody", {}, ...lines.map(([name, value]) =>
    make("tr", {}, make("th", { scope: "row" }, String(name)), make("td", {}, String(value))))));
}

/** A text as it came, and formatted where it is JSON. */
function body(title, text) {
  if (!text) return [];
  const value = parsed(text);
  const shownText = make("pre", { tabindex: "0" }, text);
  if (value === undefined) return [heading(title), shownText];
  let isRaw = true;
  const toggle = make("button", { type: "button", onclick: () => {
    isRaw = !isRaw;
    shownText.textContent = isRaw ? text : JSON.stringify(value, null, 2);
    toggle.textContent = isRaw ? "Format" : "As it came";
  } }, "Format");
  return [heading(title), toggle, shownText];
}

byId("detail").addEventListener("keydown", (event) => { if (event.key === "Escape") closeDetail(); });
byId("filter").addEventListener("submit", (event) => event.preventDefault());
byId("filter").addEventListener("input", refilter);

// ---- Tabs -----------------------------------------------------------------------------------------------------------

const tabs = [...document.querySelectorAll("[role=tab]")];

function openTab(tab) {
  for (const other of tabs) {
    const isOpen = other === tab;
    other.setAttribute("aria-selected", String(isOpen));
    other.tabIndex = isOpen ? 0 : -1;
    byId(other.getAttribute("aria-controls")).hidden = !isOpen;
  }
  draw();
  if (tab.id === "tab-tools") openTools();
  if (tab.id === "tab-resources") openResources();
  if (tab.id === "tab-prompts") openPrompts();
}

byId("tabs").addEventListener("click", (event) => { if (event.target.role === "tab" || event.target.matches("[role=tab]")) openTab(event.target); });
byId("tabs").addEventListener("keydown", (event) => {
  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (!step) return;
  const visible = tabs.filter((tab) => !tab.hidden);
  const next = visible[(visible.indexOf(document.activeElement) + step + visible.length) % visible.length];
  next.focus();
  openTab(next);
});

/** Sends a request to the server. Returns the JSON-RPC response, or throws what there is to say to a person. */
async function ask(method, params, signal) {
  const sent = await fetch("/rpc", { method: "POST", body: JSON.stringify({ method, params }), signal });
  const text = await sent.text();
  if (!sent.ok) throw new Error(text.trim());
  return JSON.parse(text);
}

// ---- Events ---------------------------------------------------------------------------------------------------------

let isRecording = false;

function say(text, isFailure = false) {
  byId("status").textContent = text;
  byId("status").classList.toggle("failed", isFailure);
}

// Once the other scripts are there, which the events are for as well.
document.addEventListener("DOMContentLoaded", () => {
  const events = new EventSource("/events");
  events.addEventListener("about", (event) => {
    const about = parsed(event.data);
    isRecording = !about.isLive && !about.isAttached;
    byId("title").textContent = about.title;
    document.title = `${about.title} – mcp-bridge inspector`;
    for (const tab of tabs.slice(1)) tab.hidden = !about.isLive;
    if (isRecording) byId("follow").checked = false;
    say(isRecording ? "recording" : about.isAttached ? "live, read-only" : "live");
  });
  events.addEventListener("message", (event) => {
    add(event.data);
    draw();
    if (!isRecording) noteProgress(event.data);
  });
  events.addEventListener("error", () => say("The inspector has ended, or cannot be reached.", true));
});
