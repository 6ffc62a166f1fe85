// Tools of the server: a form for the input schema of each, calls with progress and cancellation, and their results.
"use strict";

const MAX_DEPTH = 12; // Levels of a schema that become fields; what is deeper is typed as JSON.
const MAX_HISTORY = 50; // Calls that are remembered.
const MAX_PAGES = 100; // Pages of a list that are read.
const METHOD_NOT_FOUND = -32601; // JSON-RPC.

let tools = null;
let current = null; // { tool, control, isJson }
let calls = 0;
const history = [];
const progressBars = new Map(); // Progress token to element.

// ---- List -----------------------------------------------------------------------------------------------------------

async function openTools() {
  if (tools === null) await loadTools();
}

/** All pages of a list. A server that does not know the method has none. */
async function allOf(method, member) {
  const found = [];
  let cursor;
  for (let page = 0; page < MAX_PAGES; page += 1) {
    const answer = await ask(method, cursor === undefined ? {} : { cursor });
    if (answer.error?.code === METHOD_NOT_FOUND) return found;
    if (answer.error) throw new Error(answer.error.message);
    found.push(...(answer.result[member] ?? []));
    cursor = answer.result.nextCursor;
    if (!cursor) return found;
  }
  return found;
}

async function loadTools() {
  say("asking for the tools …");
  try {
    tools = await allOf("tools/list", "tools");
    say("live");
  } catch (error) {
    say(error.message, true);
  }
  listTools();
}

function listTools() {
  const words = byId("tool-search").value.trim().toLowerCase();
  const matches = (tools ?? []).filter((tool) => `${tool.name} ${tool.title ?? ""} ${tool.description ?? ""}`.toLowerCase().includes(words));
  byId("tool-names").replaceChildren(...matches.map((tool) => make("li", {},
    make("button", { type: "button", "aria-current": String(current?.tool === tool), onclick: () => openTool(tool) },
      tool.title || tool.annotations?.title || tool.name, make("small", {}, firstLine(tool.description))))));
  if (tools !== null && matches.length === 0) byId("tool-names").append(make("li", {}, tools.length ? "None of that name." : "The server has no tools."));
}

const firstLine = (text) => (text ?? "").split("\n").find((line) => line.trim() !== "") ?? "";

byId("tool-search").addEventListener("input", listTools);
byId("tool-reload").addEventListener("click", loadTools);

// ---- One tool -------------------------------------------------------------------------------------------------------

function openTool(tool, value) {
  const schema = tool.inputSchema ?? { type: "object" };
  const control = objectControl(schema, schema, value ?? {}, 0);
  current = { tool, control, isJson: false };
  listTools();
  const hints = Object.entries({ readOnlyHint: "read-only", destructiveHint: "destructive", idempotentHint: "idempotent" })
    .filter(([name]) => tool.annotations?.[name] === true).map(([, words]) => words);
  if (tool.execution?.taskSupport === "required") hints.push("runs as a task");
  const json = make("textarea", { "aria-label": "Arguments as JSON", spellcheck: "false", hidden: true });
  const form = make("form", { novalidate: true, onsubmit: (event) => { event.preventDefault(); callTool(json); } });
  const swap = make("button", { type: "button", onclick: () => swapForm(control, json, swap) }, "JSON");
  const fields = make("div", { class: "field" }, control.element, json);
  const send = make("button", { class: "main", id: "call" }, "Call");
  const cancel = make("button", { type: "button", id: "cancel", hidden: true }, "Cancel");
  form.append(fields, make("div", { class: "bar" }, send, cancel, swap,
    make("progress", { id: "progress", hidden: true, "aria-label": "Progress" }), make("span", { id: "elapsed" })));
  byId("tool").replaceChildren(make("h2", {}, tool.title || tool.name),
    make("p", {}, tool.name, hints.length ? ` (${hints.join(", ")})` : ""),
    tool.description ? make("p", {}, tool.description) : "", form,
    make("div", { id: "result" }), make("div", { id: "history" }));
  showHistory();
}

function swapForm(control, json, swap) {
  current.isJson = !current.isJson;
  if (current.isJson) json.value = JSON.stringify(control.read(), null, 2);
  control.element.hidden = current.isJson;
  json.hidden = !current.isJson;
  swap.textContent = current.isJson ? "Form" : "JSON";
  if (!current.isJson) openTool(current.tool, parsed(json.value));
}

async function callTool(json) {
  const { tool, control, isJson } = current;
  const value = isJson ? parsed(json.value) : control.read();
  if (value === undefined) return say("The arguments are no JSON.", true);
  if (!isJson && !control.check()) return byId("tool").querySelector("[aria-invalid=true]")?.focus();
  const token = `page-${calls += 1}`;
  const params = { name: tool.name, arguments: value, _meta: { progressToken: token } };
  const [send, cancel, bar, elapsed] = ["call", "cancel", "progress", "elapsed"].map(byId);
  const giveUp = new AbortController();
  const begun = performance.now();
  const seconds = () => `${((performance.now() - begun) / 1000).toFixed(1)} s`;
  const clock = setInterval(() => { elapsed.textContent = seconds(); }, 100);
  progressBars.set(token, { bar, elapsed });
  send.disabled = true;
  cancel.hidden = false;
  cancel.onclick = () => giveUp.abort();
  let outcome;
  try {
    if (tool.execution?.taskSupport === "required") params.task = {};
    let answer = await ask("tools/call", params, giveUp.signal);
    const task = answer.result?.task?.taskId;
    if (params.task && task) answer = await ask("tasks/result", { taskId: task }, giveUp.signal);
    outcome = { answer };
  } catch (error) {
    outcome = { failure: error.name === "AbortError" ? "cancelled" : error.message };
  }
  clearInterval(clock);
  progressBars.delete(token);
  history.unshift({ tool, value, outcome, at: new Date(), took: seconds() });
  history.length = Math.min(history.length, MAX_HISTORY);
  if (current?.tool !== tool || !send.isConnected) return undefined;
  send.disabled = false;
  cancel.hidden = bar.hidden = true;
  elapsed.textContent = seconds();
  showOutcome(tool, outcome);
  byId("result").scrollIntoView({ block: "nearest" });
  return showHistory();
}

/** Shows the progress of a call, which passes as a message to the app. */
function noteProgress(text) {
  if (progressBars.size === 0 || !text.includes("notifications/progress")) return;
  const entry = parsed(text);
  if (entry?._mcp?.direction !== "to-app" || entry._mcp.method !== "notifications/progress") return;
  const { params } = parsed(entry.response.content.text) ?? {};
  const known = progressBars.get(params?.progressToken);
  if (!known) return;
  known.bar.hidden = false;
  if (params.total > 0) { known.bar.max = params.total; known.bar.value = params.progress; }
  known.bar.title = params.message ?? "";
}

function showHistory() {
  const own = history.filter((call) => call.tool === current?.tool);
  if (own.length === 0) return;
  byId("history").replaceChildren(heading("Calls so far"), ...own.map((call) => make("div", { class: "bar" },
    make("span", {}, call.at.toLocaleTimeString()), make("span", { class: call.outcome.failure || call.outcome.answer?.error || call.outcome.answer?.result?.isError ? "failed" : "" },
      call.outcome.failure ?? (call.outcome.answer.error ? "error" : call.outcome.answer.result.isError ? "failed" : "ok")), make("span", {}, call.took),
    make("button", { type: "button", onclick: () => { openTool(call.tool, call.value); showOutcome(call.tool, call.outcome); } }, "Show and repeat"))));
}

// ---- Results --------------------------------------------------------------------------------------------------------

function showOutcome(tool, { answer, failure }) {
  const parts = [heading("Result")];
  if (failure !== undefined) parts.push(make("p", { class: "failed" }, failure));
  else if (answer.error) parts.push(...errorParts(answer.error, () => byId("call").click()), tree(answer.error));
  else {
    const { result } = answer;
    if (result.isError) parts.push(make("p", { class: "failed" }, "The tool says that it failed."));
    parts.push(...(Array.isArray(result.content) ? result.content : []).map(block));
    if (result.structuredContent !== undefined) {
      parts.push(heading("Structured content"), tree(result.structuredContent));
      const faults = tool.outputSchema ? faultsOf(tool.outputSchema, tool.outputSchema, result.structuredContent, "", 0) : [];
      if (tool.outputSchema) parts.push(make("p", { class: faults.length ? "failed" : "" }, faults.length ? `It does not match the output schema: ${faults.slice(0, 5).join("; ")}` : "It matches the output schema."));
    }
    parts.push(make("details", {}, make("summary", {}, "As it came"), make("pre", { tabindex: "0" }, JSON.stringify(answer, null, 2))));
  }
  byId("result").replaceChildren(...parts);
}

function block(content) {
  const data = (item, data_) => `data:${/^[\w.+-]+\/[\w.+-]+$/.test(item.mimeType ?? "") ? item.mimeType : "application/octet-stream"};base64,${data_}`;
  switch (content?.type) {
    case "text": return parsed(content.text) instanceof Object ? tree(parsed(content.text)) : make("pre", { tabindex: "0" }, content.text);
    case "image": return make("img", { alt: `image, ${content.mimeType}`, src: data(content, content.data) });
    case "audio": return make("audio", { controls: true, src: data(content, content.data) });
    case "resource": {
      const { resource } = content;
      const shownContent = resource.text !== undefined ? make("pre", { tabindex: "0" }, resource.text)
        : (resource.mimeType ?? "").startsWith("image/") ? make("img", { alt: resource.uri, src: data(resource, resource.blob) })
          : make("p", {}, `${resource.mimeType ?? "data"}, ${Math.floor((resource.blob ?? "").length * 0.75)} bytes`);
      return make("figure", {}, make("figcaption", {}, resource.uri ?? ""), shownContent);
    }
    case "resource_link": return make("p", {}, `${content.title ?? content.name ?? "link"}: ${content.uri}`, make("small", {}, content.description ?? ""));
    default: return tree(content);
  }
}

/** A JSON value whose parts can be folded. */
function tree(value, name) {
  const title = name === undefined ? "" : `${name}: `;
  if (value === null || typeof value !== "object") return make("div", {}, `${title}${JSON.stringify(value)}`);
  const members = Object.entries(value);
  const details = make("details", { open: true }, make("summary", {}, `${title}${Array.isArray(value) ? `[${members.length}]` : `{${members.length}}`}`));
  const inner = make("div", { class: "inner" });
  inner.append(...members.map(([key, member]) => tree(member, key)));
  details.append(inner);
  return details;
}

// ---- Forms ----------------------------------------------------------------------------------------------------------

/** The schema with references followed and `allOf` merged; a null that may stand beside something is left out. */
function plain(schema, root, depth = 0) {
  if (schema === null || typeof schema !== "object" || depth > MAX_DEPTH) return {};
  if (typeof schema.$ref === "string" && schema.$ref.startsWith("#")) {
    const path = schema.$ref.slice(1).split("/").filter(Boolean).map((part) => part.replaceAll("~1", "/").replaceAll("~0", "~"));
    const target = path.reduce((place, part) => place?.[part], root);
    const { $ref: _, ...rest } = schema;
    return { ...plain(target, root, depth + 1), ...rest };
  }
  if (Array.isArray(schema.allOf)) {
    const { allOf, ...rest } = schema;
    return allOf.map((part) => plain(part, root, depth + 1)).reduce((all, part) => ({ ...all, ...part,
      properties: { ...all.properties, ...part.properties }, required: [...(all.required ?? []), ...(part.required ?? [])] }), rest);
  }
  const branches = schema.anyOf ?? schema.oneOf;
  if (Array.isArray(branches)) {
    const real = branches.map((part) => plain(part, root, depth + 1)).filter((part) => part.type !== "null");
    const { anyOf: _a, oneOf: _o, ...rest } = schema;
    if (real.length === 1) return { ...real[0], ...rest };
    if (real.length > 0 && real.every((part) => "const" in part)) return { ...rest, enum: real.map((part) => part.const), enumNames: real.map((part) => part.title ?? String(part.const)) };
    return { ...rest, branches: real };
  }
  if (Array.isArray(schema.type)) return { ...schema, type: schema.type.find((type) => type !== "null") };
  if ("const" in schema) return { ...schema, enum: [schema.const] };
  return schema;
}

let fields = 0;

/** A field: its element, `read` for its value (undefined where it is left out) and `check`, which shows what is wrong. */
function field(name, given, root, isRequired, value, depth) {
  const schema = plain(given, root);
  const id = `field-${fields += 1}`;
  const start = value === undefined ? schema.default : value;
  const inner = valueControl(id, schema, root, isRequired, start, depth);
  const error = make("div", { class: "error", id: `${id}-error`, role: "alert" });
  const caption = `${schema.title ?? name}${isRequired ? " *" : ""}`;
  const element = make("div", { class: "field" },
    inner.isGroup ? make("span", { class: "name" }, caption) : make("label", { for: id }, caption), inner.element, error,
    schema.description ? make("small", { id: `${id}-about` }, schema.description) : null);
  inner.input?.setAttribute("aria-describedby", `${id}-error${schema.description ? ` ${id}-about` : ""}`);
  const check = () => {
    let fault = inner.fault?.() ?? "";
    const read = inner.read();
    if (!fault && read === undefined && isRequired) fault = "is required";
    if (!fault && read !== undefined && !inner.isGroup) [fault = ""] = faultsOf(schema, root, read, "", 0);
    error.textContent = fault;
    inner.input?.setAttribute("aria-invalid", String(fault !== ""));
    return (inner.check?.() ?? true) && fault === "";
  };
  inner.input?.addEventListener("change", check);
  // A fault that goes only when the field is left would move the button away that is being pressed.
  inner.input?.addEventListener("input", () => { if (inner.input.getAttribute("aria-invalid") === "true") check(); });
  return { element, read: inner.read, check };
}

function valueControl(id, schema, root, isRequired, value, depth) {
  if (depth > MAX_DEPTH || schema.branches) return jsonControl(id, value);
  if (Array.isArray(schema.enum)) return choiceControl(id, schema, isRequired, value);
  const kind = schema.type ?? (schema.properties ? "object" : undefined);
  switch (kind) {
    case "boolean": {
      if (!isRequired && value === undefined) return choiceControl(id, { enum: [true, false], enumNames: ["yes", "no"] }, false, value);
      const input = make("input", { id, type: "checkbox" });
      input.checked = value === true;
      return { element: make("div", {}, input), input, read: () => input.checked };
    }
    case "integer":
    case "number": {
      const input = make("input", { id, type: "text", inputmode: "decimal" });
      if (value !== undefined) input.value = String(value);
      const isNumber = () => input.value.trim() === "" || Number.isFinite(Number(input.value));
      return { element: input, input, fault: () => (isNumber() ? "" : "is no number"),
        read: () => (input.value.trim() === "" || !isNumber() ? undefined : Number(input.value)) };
    }
    case "string": {
      const type = { email: "email", uri: "url", date: "date", "date-time": "text", password: "password" }[schema.format] ?? "text";
      const isLong = (schema.maxLength ?? 0) > 200 || String(value ?? "").includes("\n");
      const input = isLong ? make("textarea", { id }) : make("input", { id, type, autocomplete: "off" });
      input.value = value ?? "";
      return { element: input, input, read: () => (input.value === "" && !(isRequired && (schema.minLength ?? 0) === 0) ? undefined : input.value) };
    }
    case "array": return arrayControl(schema, root, value, depth);
    case "object": {
      if (!schema.properties) return jsonControl(id, value);
      const inner = objectControl(schema, root, value ?? {}, depth + 1);
      const read = () => {
        const object = inner.read();
        return isRequired || Object.keys(object).length > 0 ? object : undefined;
      };
      return { element: make("fieldset", {}, make("legend", { class: "unseen" }, schema.title ?? "object"), inner.element), isGroup: true, read,
        check: () => read() === undefined || inner.check() };
    }
    default: return jsonControl(id, value);
  }
}

function choiceControl(id, schema, isRequired, value) {
  const input = make("select", { id });
  if (!isRequired || value === undefined) input.append(make("option", { value: "" }, isRequired ? "choose …" : "left out"));
  schema.enum.forEach((choice, at) => input.append(make("option", { value: at, selected: JSON.stringify(choice) === JSON.stringify(value) },
    schema.enumNames?.[at] ?? String(choice))));
  return { element: input, input, read: () => (input.value === "" ? undefined : schema.enum[Number(input.value)]) };
}

function jsonControl(id, value) {
  const input = make("textarea", { id, spellcheck: "false", placeholder: "JSON" });
  if (value !== undefined) input.value = JSON.stringify(value, null, 2);
  const isJson = () => input.value.trim() === "" || parsed(input.value) !== undefined;
  return { element: input, input, fault: () => (isJson() ? "" : "is no JSON"), read: () => (input.value.trim() === "" ? undefined : parsed(input.value)) };
}

function arrayControl(schema, root, value, depth) {
  const items = [];
  const place = make("div", {});
  const insert = (element) => {
    const item = field(`item`, schema.items ?? {}, root, true, element, depth + 1);
    const line = make("div", { class: "item" }, item.element,
      make("button", { type: "button", "aria-label": "Remove this item", onclick: () => { items.splice(items.indexOf(item), 1); line.remove(); } }, "×"));
    items.push(item);
    place.append(line);
    return line;
  };
  (Array.isArray(value) ? value : []).forEach(insert);
  const more = make("button", { type: "button", onclick: () => insert(undefined).querySelector("input, select, textarea")?.focus() }, "Add");
  const read = () => (items.length === 0 && !(schema.minItems > 0) && value === undefined ? undefined : items.map((item) => item.read() ?? null));
  const fault = () => (items.length < (schema.minItems ?? 0) ? `needs at least ${schema.minItems}` : items.length > (schema.maxItems ?? Infinity) ? `takes at most ${schema.maxItems}` : "");
  return { element: make("fieldset", {}, make("legend", { class: "unseen" }, schema.title ?? "list"), place, more), isGroup: true, read, fault,
    check: () => items.map((item) => item.check()).every(Boolean) };
}

function objectControl(given, root, value, depth) {
  const schema = plain(given, root);
  const required = new Set(schema.required ?? []);
  const inner = Object.entries(schema.properties ?? {}).map(([name, property]) => [name, field(name, property, root, required.has(name), value?.[name], depth)]);
  const known = new Set(inner.map(([name]) => name));
  const others = Object.entries(value ?? {}).filter(([name]) => !known.has(name));
  const element = make("div", {}, ...inner.map(([, control]) => control.element), inner.length === 0 ? make("p", {}, "No arguments.") : null);
  const read = () => Object.fromEntries([...inner.map(([name, control]) => [name, control.read()]), ...others].filter(([, part]) => part !== undefined));
  return { element, read, check: () => inner.map(([, control]) => control.check()).every(Boolean) };
}

// ---- Validation -----------------------------------------------------------------------------------------------------

/** What is wrong with a value, by the keywords that tools use. */
function faultsOf(given, root, value, path, depth) {
  if (depth > MAX_DEPTH || given === true || given === undefined) return [];
  const schema = plain(given, root);
  const at = path === "" ? "" : `${path} `;
  const types = { string: typeof value === "string", number: typeof value === "number", integer: Number.isInteger(value),
    boolean: typeof value === "boolean", array: Array.isArray(value), object: value !== null && typeof value === "object" && !Array.isArray(value), null: value === null };
  if (schema.branches) return schema.branches.some((branch) => faultsOf(branch, root, value, path, depth + 1).length === 0) ? [] : [`${at}matches no alternative`];
  if (schema.enum && !schema.enum.some((choice) => JSON.stringify(choice) === JSON.stringify(value))) return [`${at}is not one of the values`];
  const wanted = [given?.type ?? schema.type].flat().filter(Boolean);
  if (wanted.length > 0 && !wanted.some((type) => types[type])) return [`${at}is not of type ${wanted.join(" or ")}`];
  const faults = [];
  const expect = (holds, text) => { if (!holds) faults.push(`${at}${text}`); };
  if (types.string) {
    expect([...value].length >= (schema.minLength ?? 0), `has fewer than ${schema.minLength} characters`);
    expect([...value].length <= (schema.maxLength ?? Infinity), `has more than ${schema.maxLength} characters`);
    if (schema.pattern !== undefined) expect(matches(schema.pattern, value), `does not match ${schema.pattern}`);
    if (schema.format === "email") expect(/^[^\s@]+@[^\s@]+$/.test(value), "is no e-mail address");
    if (schema.format === "uri") expect(URL.canParse(value), "is no URL");
    if (schema.format === "date") expect(/^\d{4}-\d\d-\d\d$/.test(value), "is no date");
    if (schema.format === "date-time") expect(!Number.isNaN(Date.parse(value)) && value.includes("T"), "is no date with a time");
  }
  if (types.number) {
    expect(value >= (schema.minimum ?? -Infinity), `is below ${schema.minimum}`);
    expect(value <= (schema.maximum ?? Infinity), `is above ${schema.maximum}`);
    if (typeof schema.exclusiveMinimum === "number") expect(value > schema.exclusiveMinimum, `is not above ${schema.exclusiveMinimum}`);
    if (typeof schema.exclusiveMaximum === "number") expect(value < schema.exclusiveMaximum, `is not below ${schema.exclusiveMaximum}`);
  }
  if (types.array) {
    expect(value.length >= (schema.minItems ?? 0), `has fewer than ${schema.minItems} items`);
    expect(value.length <= (schema.maxItems ?? Infinity), `has more than ${schema.maxItems} items`);
    value.forEach((item, number) => faults.push(...faultsOf(schema.items, root, item, `${path}[${number}]`, depth + 1)));
  }
  if (types.object) {
    for (const name of schema.required ?? []) expect(name in value, `has no ${name}`);
    for (const [name, property] of Object.entries(schema.properties ?? {})) {
      if (name in value) faults.push(...faultsOf(property, root, value[name], path === "" ? name : `${path}.${name}`, depth + 1));
    }
  }
  return faults;
}

function matches(pattern, value) {
  try { return new RegExp(pattern, "u").test(value); } catch { return true; }
}
