// Resources and prompts of the server: lists with search, forms for templates and arguments, and their contents.
"use strict";

const MAX_SUGGESTIONS = 100; // Values that a server may suggest (MCP "Completion").

/** A list with search beside a place for the chosen item. `load` returns the items, `open` fills the place. */
function panel(id, noun, load, open) {
  let items = null;
  let chosenItem = null;
  const search = make("input", { type: "search", autocomplete: "off" });
  const names = make("ul", {});
  const view = make("div", { class: "view", "aria-live": "polite" }, make("p", {}, `Choose a ${noun}.`));
  const show = () => {
    const words = search.value.trim().toLowerCase();
    const matching = (items ?? []).filter((item) => JSON.stringify(item.about).toLowerCase().includes(words));
    names.replaceChildren(...matching.map((item) => make("li", {}, make("button", { type: "button", "aria-current": String(item === chosenItem),
      onclick: () => { chosenItem = item; show(); open(item, view); } }, item.title, make("small", {}, item.line)))));
    if (items !== null && matching.length === 0) names.append(make("li", {}, items.length ? "None of that name." : `The server has no ${noun}s.`));
  };
  const reload = async () => {
    say(`asking for the ${noun}s …`);
    try {
      items = await load();
      say("live");
    } catch (error) {
      say(error.message, true);
    }
    show();
  };
  search.addEventListener("input", show);
  byId(id).replaceChildren(make("div", { class: "list" }, make("label", {}, "Search ", search), " ",
    make("button", { type: "button", onclick: reload }, "Reload"), names), view);
  return () => { if (items === null) reload(); };
}

/** Sends a request and shows its result, or why there is none. */
async function showAnswer(place, method, params, draw_) {
  place.replaceChildren(make("p", {}, "asking …"));
  try {
    const answer = await ask(method, params);
    const raw = make("details", {}, make("summary", {}, "As it came"), make("pre", { tabindex: "0" }, JSON.stringify(answer, null, 2)));
    const parts = answer.error ? errorParts(answer.error, () => showAnswer(place, method, params, draw_)) : draw_(answer.result);
    place.replaceChildren(...parts, raw);
  } catch (error) {
    place.replaceChildren(make("p", { class: "failed" }, error.message));
  }
}

/** A form with a text for each argument, for which the server may suggest values. */
function argumentForm(names, reference, label, use) {
  const inputs = new Map();
  const values = () => Object.fromEntries([...inputs].map(([name, input]) => [name, input.value]).filter(([, value]) => value !== ""));
  const form = make("form", { novalidate: true, onsubmit: (event) => {
    event.preventDefault();
    const missing = names.find((it) => it.required && inputs.get(it.name).value === "");
    for (const { name, required } of names) {
      const isMissing = required === true && inputs.get(name).value === "";
      inputs.get(name).setAttribute("aria-invalid", String(isMissing));
      byId(inputs.get(name).getAttribute("aria-describedby")).textContent = isMissing ? "is required" : "";
    }
    if (missing) inputs.get(missing.name).focus(); else use(values());
  } });
  for (const { name, title, description, required } of names) {
    const id = `argument-${fields += 1}`;
    const suggestions = make("datalist", { id: `${id}-values` });
    const input = make("input", { id, list: `${id}-values`, autocomplete: "off", "aria-describedby": `${id}-error` });
    let latest = 0;
    input.addEventListener("input", async () => {
      const mine = latest += 1;
      const { [name]: value = "", ...others } = values();
      const params = { ref: reference, argument: { name, value } };
      if (Object.keys(others).length > 0) params.context = { arguments: others };
      const answer = await ask("completion/complete", params).catch(() => ({}));
      const found = answer.result?.completion?.values ?? [];
      if (mine === latest) suggestions.replaceChildren(...found.slice(0, MAX_SUGGESTIONS).map((it) => make("option", { value: it })));
    });
    inputs.set(name, input);
    form.append(make("div", { class: "field" }, make("label", { for: id }, `${title ?? name}${required ? " *" : ""}`), input, suggestions,
      make("div", { class: "error", id: `${id}-error`, role: "alert" }), description ? make("small", {}, description) : ""));
  }
  form.append(make("div", { class: "bar" }, make("button", { class: "main" }, label)));
  return form;
}

// ---- Resources ------------------------------------------------------------------------------------------------------

const openResources = panel("resources", "resource", async () => {
  const resources = await allOf("resources/list", "resources");
  const templates = await allOf("resources/templates/list", "resourceTemplates");
  return [
    ...resources.map((about) => ({ about, title: about.title ?? about.name ?? about.uri, line: about.uri })),
    ...templates.map((about) => ({ about, title: about.title ?? about.name ?? about.uriTemplate, line: about.uriTemplate, isTemplate: true })),
  ];
}, ({ about, title, isTemplate }, view) => {
  const contents = make("div", {});
  const read = (uri) => showAnswer(contents, "resources/read", { uri }, (result) =>
    (result.contents ?? []).map((resource) => block({ type: "resource", resource })));
  const facts = [["Address", about.uri ?? about.uriTemplate], ["Type", about.mimeType], ["Size", about.size === undefined ? "" : `${about.size} bytes`],
    ["Audience", about.annotations?.audience?.join(", ")], ["Priority", about.annotations?.priority], ["Changed", about.annotations?.lastModified]];
  const names = isTemplate ? namesIn(about.uriTemplate) : [];
  const form = argumentForm(names, { type: "ref/resource", uri: about.uriTemplate ?? about.uri }, "Read",
    (values) => read(isTemplate ? expand(about.uriTemplate, values) : about.uri));
  view.replaceChildren(make("h2", {}, title), about.description ? make("p", {}, about.description) : "", table(facts), form, contents);
  if (!isTemplate) read(about.uri);
});

const EXPRESSION = /\{([+#./;?&]?)([^}]*)\}/g; // RFC 6570.

function namesIn(template) {
  const found = [...template.matchAll(EXPRESSION)].flatMap(([, operator, names]) =>
    names.split(",").map((name) => ({ name: name.replace(/[*:].*$/, ""), required: !"?&;".includes(operator || "-") })));
  return found.filter(({ name }, at) => found.findIndex((other) => other.name === name) === at);
}

/** The address of a template, as RFC 6570 has it for texts. */
function expand(template, values) {
  const kinds = { "": ["", ","], "+": ["", ","], "#": ["#", ","], ".": [".", "."], "/": ["/", "/"], ";": [";", ";"], "?": ["?", "&"], "&": ["&", "&"] };
  return template.replace(EXPRESSION, (_, operator, names) => {
    const [first, separator] = kinds[operator];
    const parts = names.split(",").map((variable) => variable.match(/^([^*:]*)(?::(\d+))?/)).filter(([, name]) => name in values)
      .map(([, name, prefix]) => {
        const text = [...values[name]].slice(0, prefix === undefined ? undefined : Number(prefix)).join("");
        const value = "+#".includes(operator || "-") ? encodeURI(text) : encodeURIComponent(text).replace(/[!'()*]/g, (it) => `%${it.charCodeAt(0).toString(16).toUpperCase()}`);
        return ";?&".includes(operator || "-") ? `${name}${value === "" && operator === ";" ? "" : "="}${value}` : value;
      });
    return parts.length === 0 ? "" : first + parts.join(separator);
  });
}

// ---- Prompts --------------------------------------------------------------------------------------------------------

const openPrompts = panel("prompts", "prompt", async () => (await allOf("prompts/list", "prompts"))
  .map((about) => ({ about, title: about.title ?? about.name, line: firstLine(about.description) })), ({ about, title }, view) => {
  const messages = make("div", {});
  const form = argumentForm(about.arguments ?? [], { type: "ref/prompt", name: about.name }, "Get", (values) =>
    showAnswer(messages, "prompts/get", { name: about.name, arguments: values }, (result) =>
      (result.messages ?? []).flatMap(({ role, content }) => [heading(role), ...[content].flat().map(block)])));
  view.replaceChildren(make("h2", {}, title), make("p", {}, about.name), about.description ? make("p", {}, about.description) : "", form, messages);
});
