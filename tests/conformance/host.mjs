// An MCP app, as small as the scenarios allow. The suite starts it as the client under test, with the address
// of its server as the last argument; it starts the bridge for that address and speaks MCP with it.
//
// From the suite: MCP_CONFORMANCE_SCENARIO, MCP_CONFORMANCE_PROTOCOL_VERSION, MCP_CONFORMANCE_CONTEXT.
// From run.mjs:   HOST_BRIDGE (the program), HOST_DIRECTORY (for logs and the bridge's files), and
//                 HOST_ERA: `legacy` begins with initialize, `modern` says with each request who asks,
//                 `probing` asks server/discover first and begins with initialize if that fails.
import { spawn } from 'node:child_process';
import { appendFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

const { HOST_BRIDGE, HOST_DIRECTORY, HOST_ERA } = process.env;
const scenario = process.env.MCP_CONFORMANCE_SCENARIO;
const serverVersion = process.env.MCP_CONFORMANCE_PROTOCOL_VERSION;
const context = JSON.parse(process.env.MCP_CONFORMANCE_CONTEXT ?? '{}');
const url = process.argv.at(-1);

const MODERN = '2026-07-28';
const LAST_LEGACY = '2025-11-25';
const META = 'io.modelcontextprotocol/';

/** How long an answer may take before it counts as missing, in milliseconds. */
const ANSWER_LIMIT = 25_000;

/** How long the bridge may take to end once its input is closed, in milliseconds. */
const EXIT_LIMIT = 10_000;

/** How often a call may be sent back with a question. */
const ROUNDS = 4;

/** The server, or the bridge, answered with an error. */
class ErrorAnswer extends Error {
  constructor({ code, message, data }) {
    super(`${code} ${message}`);
    Object.assign(this, { code, data });
  }
}

/** What must not happen, whatever the scenario. */
class Fault extends Error {}

// ---------------------------------------------------------------- the bridge

/** A file with what the scenario tells under this name. */
function kept(name) {
  const file = join(HOST_DIRECTORY, name);
  writeFileSync(file, `${context[name]}\n`, { mode: 0o600 });
  return file;
}

/** What a person would have to configure for a scenario, from what the scenario tells. */
function flags() {
  switch (scenario) {
    case 'auth/pre-registration': {
      const { client_id, client_secret } = context;
      return ['--static-oauth-client-info', JSON.stringify({ client_id, client_secret })];
    }
    case 'auth/basic-cimd':
      return ['--client-metadata-url', 'https://conformance-test.local/client-metadata.json'];
    case 'auth/client-credentials-basic':
      return ['--client-credentials', '--client-id', context.client_id, '--client-secret-file', kept('client_secret')];
    case 'auth/client-credentials-jwt':
      return ['--client-credentials', '--client-id', context.client_id, '--client-assertion-key', kept('private_key_pem')];
    case 'auth/enterprise-managed-authorization':
      return [
        '--idp-issuer', context.idp_issuer, '--idp-client-id', context.idp_client_id,
        '--idp-id-token', `file:${kept('idp_id_token')}`,
        '--client-id', context.client_id, '--client-secret-file', kept('client_secret')
      ];
    case 'auth/wif-jwt-bearer':
      return ['--client-id', context.client_id, '--workload-token', `file:${kept('valid_jwt')}`];
    default:
      return [];
  }
}

function environment() {
  const foreign = /^(MCP_|HOST_|npm_)|_proxy$/i;
  const own = Object.entries(process.env).filter(([name]) => !foreign.test(name));
  return {
    ...Object.fromEntries(own),
    MCP_BRIDGE_DIR: join(HOST_DIRECTORY, 'credentials'),
    BROWSER: join(import.meta.dirname, 'browser.mjs')
  };
}

class Bridge {
  #process = spawn(HOST_BRIDGE, [url, '--log-level', 'debug', ...flags()], { env: environment() });
  #waiting = new Map();
  #lastId = 0;
  #questions;
  faults = [];

  constructor(questions) {
    this.#questions = questions;
    this.#process.stdin.on('error', () => {}); // its end shows in `ended`
    this.#process.stderr.on('data', (text) => appendFileSync(join(HOST_DIRECTORY, 'bridge.log'), text));
    createInterface({ input: this.#process.stdout }).on('line', (line) => this.#receive(line));
    this.ended = new Promise((resolve) => {
      this.#process.on('error', resolve);
      this.#process.on('exit', (status, signal) => resolve(status ?? signal));
    });
    this.ended.then((status) => {
      for (const { reject } of this.#waiting.values()) reject(new Fault(`the bridge ended (${status}) without an answer`));
    });
  }

  send(message) {
    const line = JSON.stringify({ jsonrpc: '2.0', ...message });
    appendFileSync(join(HOST_DIRECTORY, 'stdio.log'), `> ${line}\n`);
    this.#process.stdin.write(`${line}\n`);
  }

  /** The result that answers a request. */
  request(method, params) {
    const id = ++this.#lastId;
    return new Promise((resolve, reject) => {
      const limit = setTimeout(() => reject(new Fault(`no answer to ${method}`)), ANSWER_LIMIT);
      const settle = (done) => (value) => {
        clearTimeout(limit);
        this.#waiting.delete(id);
        done(value);
      };
      this.#waiting.set(id, { resolve: settle(resolve), reject: settle(reject) });
      this.send({ id, method, params });
    });
  }

  /** Closes the bridge's input, which has to end it. */
  async leave() {
    this.#process.stdin.end();
    let limit;
    const late = new Promise((resolve) => {
      limit = setTimeout(resolve, EXIT_LIMIT, 'late');
    });
    if ((await Promise.race([this.ended, late])) === 'late') {
      this.faults.push('the bridge did not end with its input');
      this.#process.kill('SIGKILL');
    }
    clearTimeout(limit);
  }

  #receive(line) {
    appendFileSync(join(HOST_DIRECTORY, 'stdio.log'), `< ${line}\n`);
    let message;
    try {
      message = JSON.parse(line);
    } catch {
      this.faults.push(`the bridge wrote something else than JSON: ${line.slice(0, 80)}`);
      return;
    }
    if (message.method !== undefined) {
      if (message.id !== undefined) this.#answer(message);
      return;
    }
    const waiting = this.#waiting.get(message.id);
    if (!waiting) this.faults.push(`an answer to nothing: ${line.slice(0, 80)}`);
    else if (message.error) waiting.reject(new ErrorAnswer(message.error));
    else waiting.resolve(message.result);
  }

  async #answer({ id, method, params }) {
    const question = this.#questions[method];
    if (question) this.send({ id, result: await question(params) });
    else this.send({ id, error: { code: -32601, message: `no ${method} here` } });
  }
}

// ---------------------------------------------------------------- the app

/** What the app answers when it is asked. */
const questions = {
  ping: () => ({}),
  'roots/list': () => ({ roots: [] }),
  'sampling/createMessage': () => ({
    role: 'assistant', model: 'none', stopReason: 'endTurn', content: { type: 'text', text: 'yes' }
  }),
  'elicitation/create': (params) => ({ action: 'accept', content: filledIn(params) })
};

/** A form with its defaults, and every box without one ticked. */
function filledIn(params) {
  const fields = Object.entries(params?.requestedSchema?.properties ?? {});
  const values = fields.map(([name, field]) => [name, field.default ?? (field.type === 'boolean' ? true : undefined)]);
  return Object.fromEntries(values.filter(([, value]) => value !== undefined));
}

const bridge = new Bridge(questions);
const capabilities = { roots: {}, sampling: {}, elicitation: {} };
const clientInfo = { name: 'conformance-host', version: '1.0.0' };
let isModern = HOST_ERA === 'modern';

async function begin() {
  if (HOST_ERA !== 'legacy') {
    isModern = true;
    try {
      await request('server/discover');
      return;
    } catch (error) {
      if (HOST_ERA === 'modern' || !(error instanceof ErrorAnswer)) throw error;
      isModern = false;
    }
  }
  const protocolVersion = serverVersion < MODERN ? serverVersion : LAST_LEGACY;
  await bridge.request('initialize', { protocolVersion, capabilities, clientInfo });
  bridge.send({ method: 'notifications/initialized' });
}

async function request(method, params = {}) {
  if (!isModern) return bridge.request(method, params);
  const _meta = {
    [`${META}protocolVersion`]: MODERN,
    [`${META}clientInfo`]: clientInfo,
    [`${META}clientCapabilities`]: capabilities
  };
  const send = () => bridge.request(method, { ...params, _meta });
  // A server may say that it does not know the version, and which ones it does (MCP, versioning).
  return send().catch((error) => {
    if (error.code === -32022 && error.data?.supported?.includes(MODERN)) return send();
    throw error;
  });
}

/** Calls a tool. In the modern era the questions come as results; `before` is done once before they are answered. */
async function call(name, args = {}, before = async () => {}) {
  let extra = {};
  for (let round = 0; round < ROUNDS; round++) {
    const result = await request('tools/call', { name, arguments: args, ...extra });
    if (result.resultType !== 'input_required') return result;
    if (round === 0) await before();
    const { inputRequests = {}, requestState } = result;
    const inputResponses = {};
    for (const [key, { method, params }] of Object.entries(inputRequests))
      inputResponses[key] = await questions[method](params);
    extra = { inputResponses, ...(requestState !== undefined && { requestState }) };
  }
  throw new Fault(`${name} asks without end`);
}

const list = async (kind) => (await request(`${kind}/list`))[kind] ?? [];
const named = (tools, name) => tools.find((tool) => tool.name === name);

/** An argument of the type that a schema asks for. */
function example({ type } = {}) {
  const values = { integer: 1, number: 1, boolean: true, array: [], object: {}, null: null };
  const [first] = [type].flat();
  return first in values ? values[first] : 'x';
}

/** What an app would do so that each scenario gets to see what it looks for. */
const parts = {
  async initialize() {
    // The server of this one has no tools, and may say so.
    await list('tools').catch((error) => {
      if (error.code !== -32601) throw error;
    });
  },
  async tools_call() {
    const [tool] = await list('tools');
    await call(tool.name, { a: 2, b: 3 });
  },
  'request-metadata': () => list('tools'),
  'json-schema-ref-no-deref': () => list('tools'),
  async 'json-schema-2020-12-preservation'() {
    const tools = await list('tools');
    await call('json_schema_echo', { schema: named(tools, 'json_schema_2020_12_tool').inputSchema });
  },
  async 'elicitation-sep1034-client-defaults'() {
    await list('tools');
    await call('test_client_elicitation_defaults');
  },
  async 'sse-retry'() {
    await list('tools');
    await call('test_reconnection');
  },
  async 'sep-2322-client-request-state'() {
    await list('tools');
    // Another call goes out while a question is open: here in the modern era, in the question in the legacy one.
    const another = () => call('test_mrtr_unrelated');
    let first = true;
    const answer = questions['elicitation/create'];
    questions['elicitation/create'] = async (params) => {
      if (!isModern && first) {
        first = false;
        await another();
      }
      return answer(params);
    };
    await call('test_mrtr_echo_state', {}, another);
    await call('test_mrtr_no_state');
    await call('test_mrtr_no_result_type');
  },
  async 'http-standard-headers'() {
    for (const { name } of await list('tools')) await call(name);
    for (const { uri } of await list('resources')) await request('resources/read', { uri });
    for (const { name } of await list('prompts')) await request('prompts/get', { name });
  },
  async 'http-custom-headers'() {
    await list('tools');
    for (const { name, arguments: args } of context.toolCalls ?? []) await call(name, args);
  },
  async 'http-invalid-tool-headers'() {
    // An app on stdio need not know these annotations, so this one uses every tool that it is shown.
    for (const { name, inputSchema } of await list('tools')) {
      const fields = Object.entries(inputSchema?.properties ?? {});
      await call(name, Object.fromEntries(fields.map(([field, schema]) => [field, example(schema)]))).catch((error) => {
        if (!(error instanceof ErrorAnswer)) throw error;
      });
    }
  }
};

async function useATool() {
  const [tool] = await list('tools');
  if (tool) await call(tool.name);
}

let failure;
try {
  await begin();
  await (parts[scenario] ?? useATool)();
} catch (error) {
  failure = error;
}
await bridge.leave();
if (failure && !(failure instanceof ErrorAnswer)) bridge.faults.push(failure.message);
writeFileSync(join(HOST_DIRECTORY, 'host.json'), JSON.stringify({ faults: bridge.faults, failure: failure?.message }));
if (failure) console.error(`host: ${failure.message}`);
process.exit(failure ? 1 : 0);
