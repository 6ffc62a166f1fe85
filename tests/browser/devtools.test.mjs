// A recording in the developer tools of the browser, which are pages themselves.
import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';

import { bridge, launchPersistent, LIMIT } from './support/inspector.mjs';
import { formServer } from './support/server.mjs';

/** A browser with its developer tools on a page. */
async function developerTools(t) {
  const profile = mkdtempSync(join(tmpdir(), 'mcp-bridge-devtools-'));
  const context = await launchPersistent(profile, ['--remote-debugging-port=0', '--remote-allow-origins=*']);
  t.after(async () => {
    await context.close();
    rmSync(profile, { recursive: true, force: true });
  });
  context.setDefaultTimeout(LIMIT);
  const [port] = readFileSync(join(profile, 'DevToolsActivePort'), 'utf8').split('\n');
  const targets = await (await fetch(`http://127.0.0.1:${port}/json/list`)).json();
  const { id } = targets.find(({ type }) => type === 'page');
  const page = await context.newPage();
  await page.setViewportSize({ width: 1280, height: 800 });
  await page.goto(`http://127.0.0.1:${port}/devtools/devtools_app.html?ws=127.0.0.1:${port}/devtools/page/${id}`);
  await page.getByRole('tab', { name: 'Network' }).click();
  return page;
}

test('the developer tools of the browser import a recording', async (t) => {
  const home = mkdtempSync(join(tmpdir(), 'mcp-bridge-browser-'));
  t.after(() => rmSync(home, { recursive: true, force: true }));
  const server = await formServer({ test: t });
  const recording = join(home, 'it.har');
  const app = await bridge({ home, test: t }, server.url, '--record', recording);
  app.send({ id: 1, method: 'initialize', params: { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'app', version: '1' } } });
  app.send({ id: 2, method: 'tools/call', params: { name: 'order', arguments: { name: 'Ada' } } });
  await app.line(/"id":2,"result"/);
  await app.end('SIGTERM');
  assert.ok(existsSync(recording));

  const page = await developerTools(t);
  const [chooser] = await Promise.all([page.waitForEvent('filechooser'), page.getByRole('button', { name: /Import HAR/ }).click()]);
  await chooser.setFiles(recording);
  const rows = page.locator('.network-log-grid tr.data-grid-data-grid-node');
  const entries = JSON.parse(readFileSync(recording, 'utf8')).log.entries;
  await page.getByText(`${entries.length} requests`).first().waitFor();
  // A message of the app, and an exchange with the server.
  await rows.filter({ hasText: 'call' }).first().waitFor();
  await rows.filter({ hasText: /^mcp.*200/ }).last().locator('td').first().click();
  await page.getByRole('tab', { name: 'Response' }).click();
  await page.getByText('Ada').first().waitFor();
  if (process.env.SCREENSHOTS) await page.screenshot({ path: join(process.env.SCREENSHOTS, 'developer-tools.png') });
});
