// The inspector as a person uses it, from the sign-in to a result, and what may go wrong on the way.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { openTool, result, rows, signIn } from './support/person.mjs';
import { bridge, exampleServer, inspect, launch, visit } from './support/inspector.mjs';
import { recordingOf } from './support/recording.mjs';
import { formServer } from './support/server.mjs';

let browser;
before(async () => { browser = await launch(); });
after(() => browser?.close());

test('a person signs in, consents, and calls a tool', async (t) => {
  const visitor = await visit(browser, t);
  const server = await exampleServer(visitor);
  const { page, program, faults } = await inspect(visitor, server.url);
  await signIn(visitor, program);
  await openTool(page, 'get-user-data');
  await page.getByRole('button', { name: 'Call', exact: true }).click();
  await result(page).getByText('"Grace Hopper"').first().waitFor();
  await result(page).getByText('It matches the output schema.').waitFor();

  await page.getByRole('tab', { name: 'Connection' }).click();
  await page.getByLabel('Search').first().fill('get-user-data');
  await rows(page).getByText('POST tools/call → 200').click();
  const detail = page.getByRole('complementary', { name: 'Details' });
  await detail.getByRole('row', { name: 'authorization [masked]', exact: true }).waitFor();
  await detail.getByText('Grace Hopper').waitFor();
  assert.deepEqual(faults, []);
});

test('a form for nested objects, lists, choices and defaults says what is wrong, and sends what was typed', async (t) => {
  const visitor = await visit(browser, t);
  const server = await formServer(visitor);
  const { page, faults } = await inspect(visitor, server.url);
  await openTool(page, 'order');
  const call = page.getByRole('button', { name: 'Call', exact: true });
  await call.click();
  const name = page.getByLabel('Name');
  assert.equal(await name.getAttribute('aria-invalid'), 'true');
  assert.ok(await name.evaluate((element) => element === document.activeElement), 'the first fault has the focus');

  await name.fill('Ada');
  await page.getByLabel('size').selectOption({ label: 'large' });
  await page.getByLabel('email').fill('ada');
  await page.getByLabel('city').fill('London');
  await page.getByRole('button', { name: 'Add' }).click();
  await page.keyboard.type('sugar');
  await page.getByLabel('other').fill('{"a": [1, null]}');
  await call.click();
  await page.getByText('is no e-mail address').waitFor();
  await page.getByLabel('email').fill('ada@example.com');
  await call.click();
  const called = await server.received('tools/call');
  assert.deepEqual(called.params.arguments, {
    name: 'Ada', size: 'large', email: 'ada@example.com', count: 2, gift: true, address: { city: 'London' }, extras: ['sugar'], other: { a: [1, null] },
  });
  await result(page).getByText('"London"').waitFor();

  // The same as JSON, and back.
  await page.getByRole('button', { name: 'JSON', exact: true }).click();
  const json = page.getByLabel('Arguments as JSON');
  await json.fill((await json.inputValue()).replace('Ada', 'Grace'));
  await page.getByRole('button', { name: 'Form', exact: true }).click();
  assert.equal(await page.getByLabel('Name').inputValue(), 'Grace');
  assert.deepEqual(faults, []);
});

test('a call that runs shows its progress, and "Cancel" ends it at the server', async (t) => {
  const visitor = await visit(browser, t);
  const example = await exampleServer(visitor);
  const signedIn = await inspect(visitor, example.url);
  await signIn(visitor, signedIn.program);
  await openTool(signedIn.page, 'count-down');
  await signedIn.page.getByRole('textbox', { name: 'from' }).fill('50');
  await signedIn.page.getByRole('button', { name: 'Call', exact: true }).click();
  await signedIn.page.getByRole('progressbar', { name: 'Progress' }).waitFor();
  await signedIn.page.getByRole('button', { name: 'Cancel' }).click();
  await result(signedIn.page).getByText('cancelled').waitFor();

  const server = await formServer(visitor);
  const { page } = await inspect(visitor, server.url);
  await openTool(page, 'wait');
  await page.getByRole('button', { name: 'Call', exact: true }).click();
  const called = await server.received('tools/call');
  await page.getByRole('button', { name: 'Cancel' }).click();
  const cancelled = await server.received('notifications/cancelled');
  assert.equal(cancelled.params.requestId, called.id);
  await result(page).getByText('cancelled').waitFor();
});

test('a page that is loaded anew shows what has passed, and goes on', async (t) => {
  const visitor = await visit(browser, t);
  const server = await formServer(visitor);
  const { page, faults } = await inspect(visitor, server.url);
  await openTool(page, 'wait');
  await page.getByRole('button', { name: 'Call', exact: true }).click();
  await server.received('tools/call');
  await page.reload();
  // Nobody waits for the call any more.
  await server.received('notifications/cancelled');
  await rows(page).getByText('initialize').first().waitFor();
  await rows(page).getByText('notifications/cancelled').first().waitFor();
  await openTool(page, 'order');
  await page.getByRole('button', { name: 'JSON', exact: true }).click();
  await page.getByLabel('Arguments as JSON').fill('{"name": "again"}');
  await page.getByRole('button', { name: 'Call', exact: true }).click();
  await result(page).getByText('"again"').waitFor();
  // What was under way when the page was left may be reported as not loaded.
  assert.deepEqual(faults.filter((fault) => !String(fault).startsWith('Failed to load resource: net::ERR_')), []);
});

test('a server that dies fails the call with a reason, and is used again when it is back', async (t) => {
  const visitor = await visit(browser, t);
  const server = await formServer(visitor);
  const { page } = await inspect(visitor, server.url);
  await openTool(page, 'wait');
  const call = page.getByRole('button', { name: 'Call', exact: true });
  await call.click();
  await server.received('tools/call');
  await server.die();
  await result(page).locator('.failed').first().waitFor();
  assert.match(await result(page).innerText(), /127\.0\.0\.1/);
  await page.getByRole('tab', { name: 'Connection' }).click();
  await rows(page).locator('.row.failed').first().waitFor();

  await formServer(visitor, server.port);
  await openTool(page, 'order');
  await page.getByRole('button', { name: 'JSON', exact: true }).click();
  await page.getByLabel('Arguments as JSON').fill('{"name": "back"}');
  await call.click();
  await result(page).getByText('"back"').waitFor();
});

test('a page whose inspector has ended says so', async (t) => {
  const visitor = await visit(browser, t);
  const server = await formServer(visitor);
  const { page, program } = await inspect(visitor, server.url);
  await rows(page).getByText('initialize').first().waitFor();
  await program.end('SIGINT');
  await page.getByRole('status').getByText('The inspector has ended').waitFor();
});

test('a bridge that an app has started is shown while it works, and nothing can be asked there', async (t) => {
  const visitor = await visit(browser, t);
  const server = await formServer(visitor);
  const app = await bridge(visitor, server.url);
  const { page, faults } = await inspect(visitor);
  await page.getByRole('status').getByText('live, read-only').waitFor();
  await rows(page).getByText('what passes from here on is shown').waitFor();
  assert.deepEqual(await page.getByRole('tab').allInnerTexts(), ['Connection']);
  app.send({ id: 'mine', method: 'initialize', params: { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'app', version: '1' } } });
  await rows(page).getByText('initialize #mine').waitFor();
  await rows(page).getByText('response #mine').waitFor();
  await rows(page).getByText('POST initialize → 200').waitFor();
  await app.end('SIGTERM');
  await rows(page).getByText(/bridge: bridge \d+ has ended/).waitFor();
  assert.deepEqual(faults, []);
});

test('the connection is read with the keyboard alone', async (t) => {
  const visitor = await visit(browser, t);
  const { page } = await inspect(visitor, '--recording', recordingOf(3, visitor));
  await rows(page).getByText('tools/call #2').waitFor();
  await rows(page).focus();
  await page.keyboard.press('End');
  const detail = page.getByRole('complementary', { name: 'Details' });
  await detail.getByText('text 2').waitFor();
  await page.keyboard.press('Home');
  await detail.getByText('text 0').waitFor();
  await page.keyboard.press('Enter');
  assert.ok(await detail.evaluate((element) => element === document.activeElement));
  await page.keyboard.press('Escape');
  await detail.waitFor({ state: 'hidden' });
  assert.ok(await rows(page).evaluate((element) => element === document.activeElement));
});

test('of ten thousand messages only those in sight are in the document', async (t) => {
  const visitor = await visit(browser, t);
  const { page } = await inspect(visitor, '--recording', recordingOf(10_000, visitor));
  await page.locator('#count').getByText('10000', { exact: true }).waitFor();
  const nodes = () => page.evaluate(() => document.querySelectorAll('*').length);
  // As many rows as fit into the window, with eight beyond each edge, of at most five elements each.
  const most = await page.evaluate(() => {
    const others = document.querySelectorAll('body *:not(#spacer *)').length;
    return others + 50 + (Math.ceil(document.querySelector('#rows').clientHeight / 40) + 1 + 16) * 5;
  });
  assert.ok(await nodes() <= most, `${await nodes()} elements, ${most} are enough`);
  await rows(page).focus();
  await page.keyboard.press('End');
  await rows(page).getByText('tools/call #9999').waitFor();
  assert.equal(await rows(page).getByText('#0', { exact: false }).count(), 0);
  await page.keyboard.press('Escape');
  assert.ok(await nodes() <= most, `${await nodes()} elements, ${most} are enough`);
  await page.getByLabel('Search').first().fill('text 4711');
  await page.locator('#count').getByText('1 of 10000', { exact: true }).waitFor();
  await rows(page).getByText('tools/call #4711').waitFor();
});
