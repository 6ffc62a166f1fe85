// Requests of the server, which a person answers by hand; its log; and its notifications.
"use strict";

const MAX_NOTES = 500; // Log entries and notifications that are kept; the oldest give way.
const MAX_ANSWERED = 50; // Answers that are remembered.
const LEVELS = ["debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"];
const INTERNAL = -32603; // JSON-RPC.
const REJECTED = -1; // MCP "Sampling": a person has refused it.
const URL_ELICITATION_REQUIRED = -32042; // MCP "Elicitation": pages that have to be visited before the request is sent again.

const TITLES = { "elicitation/create": "The server asks you", "sampling/createMessage": "The server wants a text of a language model",
  "roots/list": "The server asks for your folders (roots)" };

const cards = new Map(); // Number of a question to its element.
const answered = []; // Those that are over, with what became of them.
const logEntries = [];
const notices = [];
let lastRoots = "";
let notesTimer = 0;

byId("requests").replaceChildren(make("h2", {}, "Requests of the server"),
  make("div", { id: "questions" }), make("p", { id: "no-questions" }, "The server asks nothing now."), make("div", { id: "answered" }),
  make("h3", {}, "Log of the server"),
  make("div", { class: "bar" }, make("label", {}, "Show from ", make("select", { id: "log-shown", onchange: showNotes }, ...LEVELS.map((level) => make("option", {}, level)))),
    make("label", {}, "The server sends from ", make("select", { id: "log-wanted" }, ...LEVELS.map((level) => make("option", { selected: level === "info" }, level)))),
    make("button", { type: "button", onclick: setLevel }, "Set"), make("span", { id: "log-said", role: "status" })),
  make("ul", { id: "log", class: "plain notes" }),
  make("h3", {}, "Notifications"), make("ul", { id: "notices", class: "plain notes" }));
showNotes();

// ---- Questions ------------------------------------------------------------------------------------------------------

/** Shows the questions that wait. Cards that are there stay as they are: somebody may be typing in one. */
function showQuestions(questions) {
  const open = new Set(questions.map(({ number }) => number));
  for (const [number, card] of cards) {
    if (open.has(number)) continue;
    cards.delete(number);
    card.element.remove();
    remember(card.question, card.outcome ?? "the server does not wait any more, or somebody has answered elsewhere");
  }
  for (const question of questions) {
    if (cards.has(question.number)) continue;
    const card = cardOf(question);
    cards.set(question.number, card);
    byId("questions").append(card.element);
  }
  const count = questions.length;
  byId("no-questions").hidden = count > 0;
  byId("tab-requests").textContent = count > 0 ? `Requests (${count})` : "Requests";
  byId("asking").hidden = count === 0;
  byId("asking-text").textContent = count === 1 ? `${TITLES[questions[0].method] ?? "The server asks something"}.` : `The server asks ${count} things.`;
}

function remember(question, outcome) {
  answered.unshift({ question, outcome, at: new Date() });
  answered.length = Math.min(answered.length, MAX_ANSWERED);
  byId("answered").replaceChildren(make("details", {}, make("summary", {}, `Earlier: ${answered.length}`),
    make("ul", {}, ...answered.map((it) => make("li", {}, `${it.at.toLocaleTimeString()} ${it.question.method}: ${it.outcome}`)))));
}

function cardOf(question) {
  const { method, params, askedAt, limit } = question;
  const card = { question };
  const fault = make("p", { class: "error", role: "alert" });
  const answer = async (content, outcome) => {
    fault.textContent = "";
    card.outcome = outcome;
    try {
      await post("/answer", JSON.stringify({ number: question.number, ...content }));
      byId("tab-requests").focus();
    } catch (error) {
      card.outcome = undefined;
      fault.textContent = error.message;
    }
  };
  const parts = method === "sampling/createMessage" ? samplingParts(params, answer)
    : method === "roots/list" ? rootsParts(answer, fault)
      : params.mode === "url" ? pageParts(params, answer) : formParts(params, answer);
  const until = new Date(askedAt + limit * 1000).toLocaleTimeString();
  const json = make("textarea", { "aria-label": "Result as JSON", spellcheck: "false" });
  const byHand = make("details", {}, make("summary", {}, "Answer with JSON"), json, make("div", { class: "bar" }, make("button", { type: "button", onclick: () => {
    const result = parsed(json.value);
    if (result === null || typeof result !== "object") fault.textContent = "A result is a JSON object.";
    else answer({ result }, "answered with JSON");
  } }, "Send")));
  card.element = make("article", { class: "card", "aria-label": TITLES[method] ?? method }, make("h3", {}, TITLES[method] ?? method), ...parts, fault,
    make("small", {}, `It waits until ${until}.`),
    make("details", {}, make("summary", {}, "As it came"), make("pre", { tabindex: "0" }, JSON.stringify({ method, params }, null, 2))), byHand);
  return card;
}

const bar = (...buttons) => make("div", { class: "bar" }, ...buttons);
const plainButton = (label, onclick) => make("button", { type: "button", onclick }, label);

/** The two ways to say no to an elicitation. */
function refusals(answer) {
  return [plainButton("Decline", () => answer({ result: { action: "decline" } }, "declined")),
    plainButton("Cancel", () => answer({ result: { action: "cancel" } }, "cancelled, without a decision"))];
}

function formParts(params, answer) {
  const schema = params.requestedSchema ?? { type: "object", properties: {} };
  const control = objectControl(schema, schema, {}, 0);
  const form = make("form", { novalidate: true, onsubmit: (event) => {
    event.preventDefault();
    if (!control.check()) form.querySelector("[aria-invalid=true]")?.focus();
    else answer({ result: { action: "accept", content: control.read() } }, "answered");
  } }, control.element, bar(make("button", { class: "main" }, "Send"), ...refusals(answer)));
  return [make("p", { class: "said" }, String(params.message ?? "")), form];
}

function pageParts(params, answer, buttons = refusals(answer)) {
  const text = String(params.url ?? "");
  const url = URL.canParse(text) ? new URL(text) : null;
  const isPage = url !== null && ["https:", "http:"].includes(url.protocol);
  const open = isPage ? make("a", { class: "button main", href: url.href, target: "_blank", rel: "noopener noreferrer",
    onclick: () => answer({ result: { action: "accept" } }, `agreed to open ${url.host}`) }, `Open ${url.host}`) : null;
  return [make("p", { class: "said" }, String(params.message ?? "")),
    make("p", {}, isPage ? "The server wants you to visit a page. Look at its address, and open it only if you trust it. What you type there is not seen here."
      : "The address is none of a web page, so it cannot be opened."),
    make("pre", { tabindex: "0" }, text), bar(open, ...buttons)];
}

/** An error, or the pages that the server wants a person to visit before `again` sends the request again. */
function errorParts(error, again) {
  const pages = error.code === URL_ELICITATION_REQUIRED && Array.isArray(error.data?.elicitations) ? error.data.elicitations : [];
  if (pages.length === 0) return [make("p", { class: "failed" }, `${error.message} (${error.code})`)];
  return [make("p", { class: "said" }, String(error.message)), ...pages.map(neededPage), bar(plainButton("Call again", again))];
}

/** A page that has to be visited. There is nothing to answer: the server learns of the visit by itself. */
function neededPage(params) {
  const said = make("p", { role: "status", "data-elicitation": params.elicitationId });
  const say_ = (_, outcome) => { said.textContent = `You have ${outcome}.`; };
  const title = "The server needs you to visit a page first";
  return make("article", { class: "card", "aria-label": title }, make("h3", {}, title),
    ...pageParts(params, say_, [plainButton("Decline", () => say_({}, "declined"))]), said);
}

/** Tells that a page was visited, where it is asked for. */
function notePageIsDone(params) {
  for (const said of document.querySelectorAll("[data-elicitation]")) {
    if (said.dataset.elicitation === params.elicitationId) said.textContent = "The server says that this is done. Call again.";
  }
}

function samplingParts(params, answer) {
  const text = make("textarea", { id: `sample-${fields += 1}`, required: true });
  const model = make("input", { id: `sample-${fields += 1}`, value: "a person", autocomplete: "off" });
  const reason = make("select", { id: `sample-${fields += 1}` }, ...["endTurn", "stopSequence", "maxTokens"].map((it) => make("option", {}, it)));
  const hints = (params.modelPreferences?.hints ?? []).map((hint) => hint.name).filter(Boolean).join(", ");
  const error = make("div", { class: "error", role: "alert", id: `${text.id}-error` });
  text.setAttribute("aria-describedby", error.id);
  const form = make("form", { novalidate: true, onsubmit: (event) => {
    event.preventDefault();
    error.textContent = text.value === "" ? "is required" : "";
    text.setAttribute("aria-invalid", String(text.value === ""));
    if (text.value === "") return text.focus();
    return answer({ result: { role: "assistant", content: { type: "text", text: text.value }, model: model.value || "a person", stopReason: reason.value } }, "answered");
  } }, make("div", { class: "field" }, make("label", { for: text.id }, "Your answer, in place of the model’s *"), text, error),
  make("div", { class: "field" }, make("label", { for: model.id }, "Model"), model), make("div", { class: "field" }, make("label", { for: reason.id }, "Reason to stop"), reason),
  bar(make("button", { class: "main" }, "Send"), plainButton("Decline", () => answer({ error: { code: REJECTED, message: "User rejected sampling request" } }, "declined"))));
  return [...(params.messages ?? []).flatMap(({ role, content }) => [make("h4", {}, role), ...[content].flat().map(block)]),
    table([["System prompt", params.systemPrompt], ["Longest answer", params.maxTokens === undefined ? "" : `${params.maxTokens} tokens`], ["Preferred models", hints],
      ["Temperature", params.temperature], ["Stop at", params.stopSequences?.join(", ")]]), form];
}

function rootsParts(answer, fault) {
  const text = make("textarea", { id: `roots-${fields += 1}`, spellcheck: "false", placeholder: "file:///home/me/project My project" });
  text.value = lastRoots;
  const form = make("form", { novalidate: true, onsubmit: (event) => {
    event.preventDefault();
    const lines = text.value.split("\n").map((line) => line.trim()).filter(Boolean);
    const wrong = lines.find((line) => !line.startsWith("file://") || !URL.canParse(line.split(/\s+/)[0]));
    if (wrong) { fault.textContent = `A root begins with file://, unlike ${wrong}`; return text.focus(); }
    lastRoots = text.value;
    const roots = lines.map((line) => { const [uri, ...name] = line.split(/\s+/); return name.length ? { uri, name: name.join(" ") } : { uri }; });
    return answer({ result: { roots } }, `answered with ${roots.length} root${roots.length === 1 ? "" : "s"}`);
  } }, make("div", { class: "field" }, make("label", { for: text.id }, "Roots: one to a line, and its name behind it if it has one"), text),
  bar(make("button", { class: "main" }, "Send"), plainButton("Refuse", () => answer({ error: { code: INTERNAL, message: "the person does not tell the roots" } }, "refused"))));
  return [form];
}

// ---- Log and notifications ------------------------------------------------------------------------------------------

/** Keeps a notification of the server for the lists. */
function noteNotification(entry) {
  const mcp = entry?._mcp;
  if (mcp?.kind !== "message" || mcp.direction !== "to-app" || mcp.message !== "notification" || mcp.method === "notifications/progress") return;
  const list = mcp.method === "notifications/message" ? logEntries : notices;
  const params = parsed(entry.response.content.text)?.params ?? {};
  if (mcp.method === "notifications/elicitation/complete") notePageIsDone(params);
  list.push({ at: entry.startedDateTime.slice(11, 23), method: mcp.method, params });
  if (list.length > MAX_NOTES) list.shift();
  if (!notesTimer) notesTimer = setTimeout(() => { notesTimer = 0; showNotes(); }, RENDER_PAUSE);
}

function showNotes() {
  const least = LEVELS.indexOf(byId("log-shown").value);
  const wanted = logEntries.filter(({ params }) => !(LEVELS.indexOf(params.level) < least) || !LEVELS.includes(params.level));
  const text = (data) => (typeof data === "string" ? data : JSON.stringify(data));
  const none = (words) => [make("li", {}, words)];
  byId("log").replaceChildren(...(wanted.length === 0 ? none("Nothing of that level.") : wanted.toReversed().map(({ at, params }) =>
    make("li", { class: LEVELS.indexOf(params.level) >= LEVELS.indexOf("error") ? "failed" : "" }, make("span", { class: "at" }, at), " ",
      make("b", {}, params.level ?? "log"), params.logger ? ` (${params.logger})` : "", `: ${text(params.data) ?? ""}`))));
  byId("notices").replaceChildren(...(notices.length === 0 ? none("None so far.") : notices.toReversed().map(({ at, method, params }) =>
    make("li", {}, make("span", { class: "at" }, at), " ", make("b", {}, method), Object.keys(params).length ? ` ${JSON.stringify(params)}` : ""))));
}

async function setLevel() {
  const level = byId("log-wanted").value;
  byId("log-said").textContent = "asking …";
  try {
    const answer = await ask("logging/setLevel", { level });
    byId("log-said").textContent = answer.error ? `The server refuses: ${answer.error.message}` : `The server sends ${level} and above.`;
  } catch (error) {
    byId("log-said").textContent = error.message;
  }
}
