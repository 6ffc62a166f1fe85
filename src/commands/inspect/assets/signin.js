// Sign-in: its state and its steps, as they were seen on the wire, and the buttons that drive it.
"use strict";

const RENDER_PAUSE = 150; // Milliseconds in which changes are gathered.

/** What the parameters of an authorization request are for. */
const PARAMETERS = {
  response_type: "The kind of answer: the browser brings back a code, which the bridge exchanges for tokens (RFC 6749 §4.1).",
  client_id: "This program, as the authorization server knows it.",
  redirect_uri: "Where the browser takes the code: a port on this machine at which the bridge listens.",
  scope: "What the token is to allow. The server named these scopes, or you did.",
  state: "A random value that comes back with the code, so that no other page can bring one (masked).",
  code_challenge: "The hash of a secret that stays in the bridge. Who steals the code cannot use it without that secret (PKCE, RFC 7636).",
  code_challenge_method: "How the challenge was made: S256 is SHA-256.",
  resource: "The MCP server that the token is for, so that no other server accepts it (RFC 8707).",
  nonce: "A random value that ties an ID token to this request.",
  prompt: "Whether the authorization server shows its login or consent page again.",
  login_hint: "The account that the login page suggests.",
  audience: "The API that the token is for, as some providers name it.",
  access_type: "Google’s way to ask for a refresh token.",
};

/** What a client is at an authorization server. */
const CLIENTS = {
  dynamic: "registered by the bridge itself (dynamic client registration, RFC 7591)",
  metadataDocument: "known by the URL of a document about it (client ID metadata document)",
  preRegistered: "registered by you",
  unregistered: "not registered: the grant says who asks",
};

const GRANTS = {
  authorization_code: "The code was exchanged for tokens",
  refresh_token: "The token was refreshed",
  client_credentials: "The client asked for a token of its own",
  "urn:ietf:params:oauth:grant-type:device_code": "Asked whether the code was entered on the other device",
};

const signIn = { overview: null, look: null, isLooking: false, timer: 0, clock: 0 };

/** Replaces what is in a place if it has changed, so that nothing that is open there is closed. */
function fill(place, key, build) {
  const text = JSON.stringify(key);
  if (place.dataset.key === text) return;
  place.dataset.key = text;
  place.replaceChildren(...build());
}

/** Sends what the page wants done. Returns what was told, or throws what there is to say to a person. */
async function post(path, content) {
  const sent = await fetch(path, { method: "POST", body: content });
  const text = await sent.text();
  if (!sent.ok) throw new Error(text.trim());
  return parsed(text) ?? {};
}

function drawSignIn() {
  const button = (id, label, path, about) => make("button", { type: "button", id, title: about, onclick: () => actOnSignIn(path, label) }, label);
  const client = make("form", { id: "client-form", autocomplete: "off", onsubmit: takeClient },
    make("div", { class: "field" }, make("label", { for: "client-id" }, "Client id *"), make("input", { id: "client-id", required: true, autocomplete: "off" })),
    make("div", { class: "field" }, make("label", { for: "client-secret" }, "Client secret"),
      make("input", { id: "client-secret", type: "password", autocomplete: "off", "aria-describedby": "client-secret-about" }),
      make("small", { id: "client-secret-about" }, "If the client has one. It goes to the inspector’s process alone, and is gone when that ends.")),
    make("div", { class: "bar" }, make("button", { class: "main" }, "Use this client")));
  const paste = make("form", { id: "paste-form", onsubmit: pasteAnswer },
    make("div", { class: "field" }, make("label", { for: "pasted" }, "Is the browser on another machine? Paste the address at which it ended"),
      make("input", { id: "pasted", autocomplete: "off" })), make("div", { class: "bar" }, make("button", {}, "Hand in")));
  byId("signin").replaceChildren(make("h2", {}, "Sign-in"),
    make("div", { class: "bar" }, button("sign-in", "Sign in", "/sign-in/start", "Opens the sign-in page in the browser, unless there is a token"),
      button("refresh", "Refresh now", "/sign-in/refresh", "Replaces the token by means of the refresh token"),
      button("sign-out", "Sign out", "/sign-in/end", "Ends the session, revokes the tokens and deletes them")),
    make("p", { id: "signin-said", role: "status" }),
    make("div", { id: "signin-page", hidden: true }, make("p", { id: "signin-page-text" }), paste),
    make("div", { id: "signin-needed", class: "notice", hidden: true }),
    make("div", { id: "signin-state" }),
    make("details", { id: "client" }, make("summary", {}, "Use a client that you have registered"), client),
    make("h3", {}, "Authorization request"), make("div", { id: "signin-request" }),
    make("h3", {}, "Registration of the client"), make("div", { id: "signin-registration" }),
    make("h3", {}, "Tokens"), make("div", { id: "signin-tokens" }),
    make("h3", {}, "Discovery"), make("div", { class: "bar" }, make("button", { type: "button", id: "look", onclick: lookAtSignIn }, "Look again")),
    make("div", { id: "signin-look" }), make("div", { id: "signin-documents" }));
}

async function openSignIn() {
  if (!byId("sign-in")) drawSignIn();
  await updateSignIn();
  if (signIn.look === null && signIn.overview?.way === "sign-in") await lookAtSignIn();
}

/** Asks for the state and shows it, with what was seen so far. */
async function updateSignIn() {
  try {
    const sent = await fetch("/sign-in");
    if (sent.ok) signIn.overview = await sent.json();
  } catch { /* The status says that the inspector cannot be reached. */ }
  showSignIn();
}

/** Updates the view soon, if it is open. */
function noteSignIn() {
  if (byId("signin").hidden || signIn.timer) return;
  signIn.timer = setTimeout(() => { signIn.timer = 0; updateSignIn(); }, RENDER_PAUSE);
}

function saySignIn(text, isFailure = false) {
  byId("signin-said").textContent = text;
  byId("signin-said").classList.toggle("failed", isFailure);
}

async function actOnSignIn(path, label) {
  const buttons = ["sign-in", "refresh", "sign-out"].map(byId);
  for (const button of buttons) button.disabled = true;
  saySignIn(path === "/sign-in/start" ? "signing in …" : `${label.toLowerCase()} …`);
  // The page of a sign-in opens meanwhile.
  try {
    const { said } = await post(path);
    saySignIn(said);
  } catch (error) {
    saySignIn(error.message, true);
  }
  for (const button of buttons) button.disabled = false;
  await updateSignIn();
}

async function takeClient(event) {
  event.preventDefault();
  const [id, secret] = ["client-id", "client-secret"].map(byId);
  try {
    const { said } = await post("/sign-in/client", JSON.stringify({ id: id.value, secret: secret.value }));
    secret.value = "";
    byId("signin-needed").hidden = true;
    byId("client").open = false;
    await actOnSignIn("/sign-in/start", "Sign in");
    if (!byId("signin-said").classList.contains("failed")) saySignIn(`${byId("signin-said").textContent} ${said}`);
  } catch (error) {
    saySignIn(error.message, true);
  }
}

async function pasteAnswer(event) {
  event.preventDefault();
  try {
    const { said } = await post("/sign-in/paste", byId("pasted").value);
    byId("pasted").value = "";
    saySignIn(said);
  } catch (error) {
    saySignIn(error.message, true);
  }
}

async function lookAtSignIn() {
  if (signIn.isLooking) return;
  signIn.isLooking = true;
  byId("look").disabled = true;
  try {
    signIn.look = await post("/sign-in/look");
  } catch (error) {
    signIn.look = { failure: error.message };
  }
  signIn.isLooking = false;
  byId("look").disabled = false;
  const needed = signIn.look.neededClient;
  byId("signin-needed").hidden = !needed;
  if (needed) {
    byId("client").open = true;
    byId("signin-needed").replaceChildren(make("p", {}, "This server does not register clients. Register an application at ", make("b", {}, needed.issuer),
      " with this redirect URI, and type its id below:"), make("pre", { tabindex: "0" }, needed.redirectUri));
  }
  showSignIn();
}

/** The exchanges with the authorization server, as they were seen. */
function signInExchanges() {
  return entries.map((row) => row.entry).filter((entry) => entry._mcp?.kind === "http" && entry._mcp.purpose === "sign-in").map((entry) => ({
    entry, method: entry.request.method, url: entry.request.url, status: entry._mcp.failure ?? entry.response.status,
    sent: entry.request.postData?.text ?? "", answer: parsed(entry.response.content.text ?? ""),
  }));
}

function showSignIn() {
  const { overview } = signIn;
  if (!overview || !byId("sign-in")) return;
  const exchanges = signInExchanges();
  const hasSignIn = overview.way === "sign-in";
  const tokens = overview.signIn?.tokens;
  for (const id of ["sign-in", "sign-out"]) byId(id).hidden = !hasSignIn;
  byId("refresh").hidden = overview.way === "header" || (hasSignIn && !tokens);
  byId("client").hidden = !hasSignIn;
  byId("signin-page").hidden = !overview.isPending;
  fill(byId("signin-page-text"), [overview.page], () => ["A page waits for you in the browser. ",
    overview.page ? make("a", { href: overview.page, target: "_blank", rel: "noopener noreferrer" }, "Open it again") : "The terminal has its address."]);
  fill(byId("signin-state"), [overview], () => [stateTable(overview)]);
  showRequest(exchanges);
  showRegistration(exchanges);
  showTokens(exchanges);
  showDiscovery(exchanges);
  countDown();
}

function stateTable({ way, grant, client, signIn: current, place }) {
  if (way === "header") return make("p", {}, "Your own Authorization header is the way in, so there is no sign-in.");
  if (way === "command") return make("p", {}, "The tokens come from the command of --auth-command, so there is no sign-in.");
  if (!current?.tokens) {
    return make("p", {}, "Nobody is signed in.", client ? ` The client ${client} is used, which you have registered.` : "");
  }
  const { tokens } = current;
  const life = tokens.lifetime === null ? "the authorization server does not say when it expires"
    : make("span", {}, make("span", { id: "token-left", role: "timer" }), " ", make("meter", { id: "token-meter", min: "0", max: tokens.lifetime, "aria-label": "Time left" }));
  const granted = tokens.granted || "the server’s default";
  return factTable([["Signed in", tokens.user ? `as ${tokens.user}` : "yes"], ["Authorization server", current.issuer], ["Grant", grant],
    ["Client", `${current.client.id ?? "?"}, ${CLIENTS[current.client.kind]}`], ["It authenticates", [current.client.authentication, current.client.method].filter(Boolean).join(", ")],
    ["Its secret expires", current.client.secretExpiresAt ? new Date(current.client.secretExpiresAt * 1000).toLocaleString() : ""],
    ["Scopes asked for", tokens.requested || "none: the server’s default"], ["Scopes granted", granted],
    ["Token issued", new Date(tokens.obtainedAt).toLocaleString()], ["Token", life],
    ["Bound to a key", tokens.isBound ? "yes (DPoP)" : ""],
    ["After that", tokens.isRenewable ? "the bridge refreshes it by itself" : "somebody has to sign in again"], ["Kept in", place ?? "this process, until it ends"]]);
}

/** A table of facts whose values may be elements. */
function factTable(rows) {
  const lines = rows.filter(([, value]) => value !== undefined && value !== null && value !== "");
  return make("table", {}, make("tbody", {}, ...lines.map(([name, value]) => make("tr", {}, make("th", { scope: "row" }, name), make("td", {}, value)))));
}

function countDown() {
  clearInterval(signIn.clock);
  const tokens = signIn.overview?.signIn?.tokens;
  const tick = () => {
    const place = byId("token-left");
    if (!place || !tokens?.lifetime) return clearInterval(signIn.clock);
    const left = Math.round((tokens.obtainedAt + tokens.lifetime * 1000 - Date.now()) / 1000);
    place.textContent = left > 0 ? `expires in ${inWords(left)}` : `expired ${inWords(-left)} ago`;
    byId("token-meter").value = Math.max(0, left);
    return undefined;
  };
  tick();
  signIn.clock = setInterval(tick, 1000);
}

function inWords(seconds) {
  const parts = [[Math.floor(seconds / 86400), "d"], [Math.floor(seconds / 3600) % 24, "h"], [Math.floor(seconds / 60) % 60, "min"], [seconds % 60, "s"]];
  return parts.filter(([number], at) => number > 0 || at === 3).slice(0, 2).map(([number, unit]) => `${number} ${unit}`).join(" ");
}

/** The last page that a person was asked to visit. */
function showRequest(exchanges) {
  const steps = entries.filter(({ entry }) => entry._mcp?.step === "sign-in" && entry._mcp.detail.startsWith("waiting for a person at "));
  const address = steps.at(-1)?.entry._mcp.detail.slice("waiting for a person at ".length);
  const url = address && URL.canParse(address) ? new URL(address) : null;
  fill(byId("signin-request"), [address], () => {
    if (!url) return [make("p", {}, exchanges.length > 0 ? "None was made: a stored sign-in was used, or this grant needs none." : "None was made yet.")];
    const rows = [...url.searchParams].map(([name, value]) => make("tr", {}, make("th", { scope: "row" }, name), make("td", {}, make("code", {}, value)),
      make("td", {}, PARAMETERS[name] ?? "A parameter of your own, or of the provider.")));
    return [make("p", {}, "The browser was sent to ", make("code", {}, url.origin + url.pathname), " with"),
      make("table", { class: "wide" }, make("thead", {}, make("tr", {}, ...["Parameter", "Value", "Meaning"].map((it) => make("th", { scope: "col" }, it)))), make("tbody", {}, ...rows))];
  });
}

function showRegistration(exchanges) {
  const requests = exchanges.filter(({ method, sent }) => method === "POST" && Array.isArray(parsed(sent)?.redirect_uris));
  const kind = signIn.overview.signIn?.client.kind;
  fill(byId("signin-registration"), [requests.map(({ entry, status }) => [entry._mcp.exchange, status]), kind], () => {
    if (requests.length > 0) return requests.map(documentOf("The bridge registered itself at"));
    if (kind) return [make("p", {}, `None was needed: the client is ${CLIENTS[kind]}${kind === "dynamic" ? ", in an earlier sign-in" : ""}.`)];
    return [make("p", {}, signIn.look?.server ? `Expected: ${signIn.look.server.registration}.` : "None was made yet.")];
  });
}

function showTokens(exchanges) {
  const grant = ({ sent }) => new URLSearchParams(sent).get("grant_type");
  const asked = exchanges.filter((exchange) => exchange.method === "POST" && (grant(exchange) || new URLSearchParams(exchange.sent).has("token")));
  fill(byId("signin-tokens"), asked.map(({ entry, status }) => [entry._mcp.exchange, status]), () => {
    if (asked.length === 0) return [make("p", {}, "No token was asked for yet.")];
    return [make("ul", { class: "plain" }, ...asked.map((exchange) => {
      const what = GRANTS[grant(exchange)] ?? (grant(exchange) ? `Asked for a token (${grant(exchange)})` : "A token was revoked");
      return make("li", {}, make("details", {}, make("summary", {}, `${exchange.entry.startedDateTime.slice(11, 19)} ${what} → ${exchange.status}`),
        make("p", {}, exchange.url), ...body("Request", exchange.sent), ...body("Answer", exchange.entry.response.content.text)));
    }))];
  });
}

function showDiscovery(exchanges) {
  const { look } = signIn;
  fill(byId("signin-look"), [look], () => {
    if (!look) return [];
    const server = look.server ?? {};
    const rows = [["Without a token", look.isRefused ? "the server answers 401, and says what it wants" : `the server answers ${look.status ?? ""}`],
      ["Authorization server", look.issuer ?? (look.server ? "the server’s own origin" : "")], ["Client", server.registration],
      ["Scopes", server.foundAt === undefined ? "" : server.scopes || "the server’s default"], ["Resource", server.resource],
      ["PKCE", server.pkce === undefined ? "" : server.pkce ?? "S256"], ["Revocation", server.revokes === undefined ? "" : server.revokes ? "offered" : "not offered"]];
    return [look.failure ? make("p", { class: "failed" }, look.failure) : "", table(rows)];
  });
  const documents = exchanges.filter(({ method, answer }) => method === "GET" && (answer?.authorization_servers || answer?.resource || answer?.issuer));
  const latest = [...new Map(documents.map((it) => [it.url, it])).values()];
  const missing = exchanges.filter(({ method, url, status }) => method === "GET" && url.includes("/.well-known/") && status !== 200 && status !== 0);
  const nowhere = [...new Map(missing.map((it) => [it.url, it])).values()];
  fill(byId("signin-documents"), [latest.map(({ url, entry }) => [url, entry._mcp.exchange]), nowhere.map(({ url }) => url)], () => [
    ...latest.map((it) => documentOf(it.answer.issuer && it.answer.token_endpoint ? "Authorization server metadata (RFC 8414):" : "Protected resource metadata (RFC 9728):")(it)),
    ...(nowhere.length ? [make("details", {}, make("summary", {}, `Looked for in vain at ${nowhere.length} more address${nowhere.length === 1 ? "" : "es"}`),
      make("ul", {}, ...nowhere.map(({ url, status }) => make("li", {}, `${url} → ${status}`))))] : [])]);
}

/** A document with its address, to be unfolded. */
function documentOf(title) {
  return ({ url, status, sent, entry }) => make("details", {}, make("summary", {}, `${title} ${url} → ${status}`),
    ...body("Request", sent), ...body("Answer", entry.response.content.text));
}
