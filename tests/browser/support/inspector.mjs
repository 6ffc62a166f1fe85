// The programs of a test: browser, inspector and example server, and what ends them.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

const { BRIDGE, CHROMIUM, DEMO, EXAMPLE_SERVER, PACKAGES } = process.env;
const require = createRequire(`${PACKAGES}/`);
const { chromium } = require('playwright-core');
export const axe = require('axe-core');

/** How long anything that a test waits for may take, in milliseconds. A busy machine takes its time. */
export const LIMIT = 20_000;

/** Starts the browser of a file of tests. */
export function launch() {
  return chromium.launch({ executablePath: CHROMIUM, args: sandbox() });
}

/** Chromium refuses its sandbox to root, which CI is; all pages are on this machine. */
function sandbox() {
  return process.getuid?.() === 0 ? ['--no-sandbox'] : [];
}

/** Starts a browser that keeps its data in this folder, with one more argument or several. */
export function launchPersistent(folder, more) {
  return chromium.launchPersistentContext(folder, { executablePath: CHROMIUM, args: [...sandbox(), ...more] });
}

/** A browser profile for one test, with the things that end with it. */
export async function visit(browser, test) {
  const home = mkdtempSync(join(tmpdir(), 'mcp-bridge-browser-'));
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 } });
  context.setDefaultTimeout(LIMIT);
  test.after(async () => {
    await context.close();
    rmSync(home, { recursive: true, force: true });
  });
  return { context, home, test };
}

/** `mcp-bridge inspect` with these arguments, and its page. */
export async function inspect({ context, home, test }, ...args) {
  return open(context, start(test, BRIDGE, ['inspect', ...args], environment(home)));
}

/** A bridge as an app starts it, which can be looked at. `send` writes a message of the app. */
export async function bridge({ home, test }, url, ...args) {
  const program = start(test, BRIDGE, [url, '--debug', ...args], environment(home));
  await program.line(/mcp-bridge inspect can look at this bridge/);
  return program;
}

function environment(home) {
  return { ...process.env, MCP_BRIDGE_DIR: join(home, 'store'), BROWSER: 'true', NO_COLOR: '1' };
}

/** The demo in the browser, with these arguments, and the page of its inspector. */
export async function demo({ context, test }, ...args) {
  const env = { ...process.env, BROWSER: 'true', NO_COLOR: '1' };
  return open(context, start(test, DEMO, ['--web', '--fresh', '--port', '0', ...args], env));
}

/** Opens the page of an inspector. `faults` has what its scripts complain about. */
async function open(context, program) {
  const page = await context.newPage();
  const faults = [];
  page.on('pageerror', (error) => faults.push(error));
  page.on('console', (message) => { if (message.type() === 'error') faults.push(message.text()); });
  const address = await program.line(/^http:\/\/127\.0\.0\.1:\d+\/\?token=\S+$/);
  await page.goto(address[0]);
  return { page, program, faults };
}

/** The client that the example server knows if it registers none. */
export const CLIENT = { id: 'example-client', secret: 'only-for-this-test-0123456789' };

/** The example server with these arguments, at a port that the system chooses. */
export async function exampleServer({ test }, ...args) {
  const program = start(test, EXAMPLE_SERVER, ['--port', '0', ...args], { ...process.env, EXAMPLE_CLIENT_SECRET: CLIENT.secret });
  const [, url] = await program.line(/^MCP endpoint: (\S+)$/);
  return { program, url };
}

/** Starts a program, whose lines can be waited for. It ends with the test, and so do its own children. */
function start(test, file, args, env) {
  const child = spawn(file, args, { env, stdio: 'pipe', detached: true });
  const send = (message) => child.stdin.write(`${JSON.stringify({ jsonrpc: '2.0', ...message })}\n`);
  const ended = once(child, 'exit');
  const lines = [];
  const waiting = new Set();
  for (const stream of [child.stdout, child.stderr]) {
    createInterface({ input: stream }).on('line', (line) => {
      lines.push(line);
      for (const look of waiting) look();
    });
  }
  // As a terminal does it: the whole group gets the signal.
  const end = async (signal = 'SIGINT') => {
    if (child.exitCode === null && child.signalCode === null) process.kill(-child.pid, signal);
    return ended;
  };
  test.after(() => end('SIGKILL'));
  return { end, send, line: (pattern) => within(`a line like ${pattern}`, () => lines.join('\n'), new Promise((resolve) => {
    const look = () => {
      const found = lines.map((line) => line.match(pattern)).find(Boolean);
      if (found) { waiting.delete(look); resolve(found); }
    };
    waiting.add(look);
    look();
  })) };
}

/** Waits for a promise, but not without end. */
export function within(wanted, context, promise) {
  let timer;
  const limit = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${wanted} did not come within ${LIMIT} ms:\n${context()}`)), LIMIT);
  });
  return Promise.race([promise, limit]).finally(() => clearTimeout(timer));
}
