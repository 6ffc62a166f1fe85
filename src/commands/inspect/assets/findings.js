// Findings: the checks of `mcp-bridge doctor`, as they are made.
"use strict";

const OUTCOMES = { passed: ["✓", "passed"], warning: ["!", "warning"], failed: ["✗", "failed"], skipped: ["–", "left out"] };
let examination = null; // The one under way.

byId("findings").replaceChildren(make("h2", {}, "Findings"),
  make("p", {}, "What mcp-bridge doctor says of this server. Nothing is changed: no page is opened, no client is registered, no tool is called."),
  make("div", { class: "bar" }, make("button", { type: "button", id: "examine", class: "main", onclick: examine }, "Run again"),
    make("span", { id: "verdict", role: "status" })),
  make("div", { id: "checks" }));

function openFindings() {
  if (byId("checks").childElementCount === 0 && !examination) examine();
}

async function examine() {
  if (examination) return;
  examination = true;
  byId("examine").disabled = true;
  byId("verdict").className = "";
  byId("verdict").textContent = "looking …";
  byId("checks").replaceChildren();
  try {
    const sent = await fetch("/findings", { method: "POST" });
    if (!sent.ok) throw new Error((await sent.text()).trim());
    let rest = "";
    let isOver = false;
    const decoder = new TextDecoder();
    for (const reader = sent.body.getReader(); ;) {
      const { done, value } = await reader.read();
      rest += decoder.decode(value, { stream: !done });
      const lines = rest.split("\n");
      rest = lines.pop();
      for (const line of lines.map(parsed).filter(Boolean)) {
        if (line.verdict === undefined) addCheck(line);
        else { isOver = true; showVerdict(line); }
      }
      if (done) break;
    }
    if (!isOver) throw new Error("The examination was broken off.");
  } catch (error) {
    showVerdict({ verdict: error.message, outcome: "failed" });
  }
  examination = null;
  byId("examine").disabled = false;
}

function showVerdict({ verdict, outcome }) {
  byId("verdict").textContent = verdict;
  byId("verdict").className = outcome === "failed" ? "failed" : "";
}

function addCheck({ part, name, outcome, found, fix, specification }) {
  const id = `checks-${part.toLowerCase().replaceAll(/[^a-z]/g, "-")}`;
  if (!byId(id)) byId("checks").append(make("h3", {}, part), make("ul", { id, class: "plain checks" }));
  const [sign, words] = OUTCOMES[outcome] ?? ["?", outcome];
  byId(id).append(make("li", { class: `check ${outcome}` }, make("span", { class: "sign", "aria-hidden": "true" }, sign), make("div", {},
    make("b", {}, name.replaceAll("_", " ")), make("span", { class: "unseen" }, ` ${words}:`), ` ${found}`,
    specification ? make("small", {}, specification) : null, fix ? make("p", { class: "fix" }, `→ ${fix}`) : null)));
}
