// Sign-in, requests of the server and findings on the inspector's page.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, test } from 'node:test';

import { askingServer } from './support/asking_server.mjs';
import { openTool, result, rows, signIn, signInElsewhere } from './support/person.mjs';
import { CLIENT, exampleServer, inspect, launch, visit } from './support/inspector.mjs';

let browser;
before(async () => { browser = await launch(); });
after(() => browser?.close());

test('the sign-in is shown step by step, refreshed, and ended', async (t) => {
  const visitor = await visit(browser, t);
  const server = await exampleServer(visitor);
  const { page, program, faults } = await inspect(visitor, server.url);
  await page.getByRole('tab', { name: 'Sign-in' }).click();
  const view = page.getByRole('tabpanel', { name: 'Sign-in' });
  await view.getByText('A page waits for you in the browser.').waitFor();
  await view.getByRole('row', { name: /^code_challenge_method S256 How the challenge was made/ }).waitFor();
  await view.getByRole('row', { name: /^state \[masked\]/ }).waitFor();
  await signIn(visitor, program);
  await view.getByRole('timer').getByText(/^expires in/).waitFor();
  await view.getByText(/^The bridge registered itself at .* → 201$/).click();
  await view.getByText(/^Protected resource metadata/).waitFor();
  await view.getByText(/^Authorization server metadata/).waitFor();
  await view.getByRole('button', { name: 'Refresh now' }).click();
  await view.getByText('The token was replaced.').waitFor();
  await view.getByText(/The token was refreshed → 200$/).waitFor();
  await view.getByRole('button', { name: 'Sign out' }).click();
  await view.getByText(/^Signed out: .* has revoked the tokens/).waitFor();
  await view.getByText('Nobody is signed in.').waitFor();
  assert.deepEqual(faults, []);
});

test('a server that registers no clients asks for one, which is typed', async (t) => {
  const visitor = await visit(browser, t);
  const server = await exampleServer(visitor, '--no-registration');
  const { page, program, faults } = await inspect(visitor, server.url);
  await page.getByRole('tab', { name: 'Sign-in' }).click();
  const view = page.getByRole('tabpanel', { name: 'Sign-in' });
  const needed = view.locator('#signin-needed');
  await needed.getByText('This server does not register clients.').waitFor();
  await needed.getByText(/^http:\/\/localhost:\d+\//).waitFor();
  await keepPicture(page, 'A client that is needed');
  await view.getByLabel('Client id').fill(CLIENT.id);
  await view.getByLabel('Client secret').fill(CLIENT.secret);
  await view.getByRole('button', { name: 'Use this client' }).click();
  await signIn(visitor, program);
  await view.getByText('Signed in. The client is used from now on.').waitFor();
  await view.getByRole('row', { name: new RegExp(`^Client ${CLIENT.id}, `) }).waitFor();
  assert.ok(await needed.isHidden());
  assert.ok(!(await page.content()).includes(CLIENT.secret), 'the secret is not on the page');
  assert.equal(await view.locator('#client-secret').inputValue(), '');
  await openTool(page, 'get-user-data');
  await page.getByRole('button', { name: 'Call', exact: true }).click();
  await result(page).getByText('"Grace Hopper"').first().waitFor();
  assert.deepEqual(faults, []);
});

test('the address at which a browser elsewhere ended is handed in', async (t) => {
  const visitor = await visit(browser, t);
  const server = await exampleServer(visitor);
  const { page, program, faults } = await inspect(visitor, server.url);
  await page.getByRole('tab', { name: 'Sign-in' }).click();
  const view = page.getByRole('tabpanel', { name: 'Sign-in' });
  const place = view.getByLabel('Is the browser on another machine? Paste the address at which it ended');
  await place.fill('http://localhost:1/elsewhere?code=wrong&state=wrong');
  await view.getByRole('button', { name: 'Hand in' }).click();
  await view.getByText(/^not accepted: /).waitFor();
  await place.fill(await signInElsewhere(visitor, program));
  await view.getByRole('button', { name: 'Hand in' }).click();
  await view.getByText('Accepted.').waitFor();
  await view.getByRole('timer').getByText(/^expires in/).waitFor();
  assert.ok(await place.isHidden());
  // The browser logs each answer that refuses something.
  assert.deepEqual(faults.filter((fault) => !/status of 502/.test(fault)), []);
});

/** Keeps pictures of a view, if somebody wants to look at them. */
async function keepPicture(page, name) {
  if (!process.env.SCREENSHOTS) return;
  for (const scheme of ['light', 'dark']) {
    await page.emulateMedia({ colorScheme: scheme });
    for (const width of [1280, 390]) {
      await page.setViewportSize({ width, height: 800 });
      await page.screenshot({ path: join(process.env.SCREENSHOTS, `${name}-${scheme}-${width}.png`) });
    }
  }
  await page.setViewportSize({ width: 1280, height: 800 });
}

/** Calls the tool that asks this, and opens the view by the notice. */
async function askFor(page, what) {
  await openTool(page, 'ask');
  await page.getByLabel('question').selectOption(what);
  await page.getByRole('button', { name: 'Call', exact: true }).click();
  await page.getByRole('button', { name: 'Answer', exact: true }).click();
  return page.getByRole('article');
}

/** The text that the server got as the answer. */
async function told(page, text) {
  await page.getByText('The server asks nothing now.').waitFor();
  await page.getByRole('tab', { name: 'Tools' }).click();
  await result(page).getByText(text).first().waitFor();
}

test('what the server asks is answered by hand, and its log and notifications are listed', async (t) => {
  const visitor = await visit(browser, t);
  const server = await askingServer(visitor);
  const { page, faults } = await inspect(visitor, server.url);
  await rows(page).getByText('initialize').first().waitFor();

  const form = await askFor(page, 'form');
  await form.getByText('Which coffee?', { exact: true }).waitFor();
  await form.getByRole('button', { name: 'Send' }).first().click();
  await form.getByText('is required').waitFor();
  await form.getByLabel('Coffee').selectOption({ label: 'flat white' });
  await form.getByLabel('mail').fill('nobody');
  await form.getByRole('button', { name: 'Send' }).first().click();
  await form.getByText('is no e-mail address').waitFor();
  await form.getByLabel('mail').fill('ada@example.com');
  await form.getByRole('button', { name: 'Send' }).first().click();
  await told(page, '"flat white"');

  const link = await askFor(page, 'page');
  assert.equal(await link.getByRole('link', { name: 'Open pay.example' }).getAttribute('href'), 'https://pay.example/one');
  await link.getByRole('button', { name: 'Decline' }).click();
  await told(page, '"decline"');

  // The address of a script is no page.
  const script = await askFor(page, 'script');
  await script.getByText('The address is none of a web page').waitFor();
  assert.equal(await script.getByRole('link').count(), 0);
  await script.getByRole('button', { name: 'Cancel' }).click();
  await told(page, '"cancel"');

  const sampling = await askFor(page, 'sampling');
  await sampling.getByText('A name for a cat?').first().waitFor();
  await sampling.getByLabel('Your answer, in place of the model’s').fill('Ada');
  await sampling.getByRole('button', { name: 'Send' }).first().click();
  await told(page, '"Ada"');

  const roots = await askFor(page, 'roots');
  await roots.getByLabel('Roots').fill('/home/me');
  await roots.getByRole('button', { name: 'Send' }).first().click();
  await roots.getByText('A root begins with file://').waitFor();
  await roots.getByLabel('Roots').fill('file:///home/me Mine');
  await roots.getByRole('button', { name: 'Send' }).first().click();
  await told(page, '"file:///home/me"');

  await page.getByRole('tab', { name: 'Requests' }).click();
  await page.locator('#log').getByText('a question is on its way').first().waitFor();
  await page.locator('#notices').getByText('notifications/tools/list_changed').first().waitFor();
  await page.getByLabel('Show from').selectOption('error');
  await page.getByText('Nothing of that level.').waitFor();
  await page.getByLabel('The server sends from').selectOption('error');
  await page.getByRole('button', { name: 'Set', exact: true }).click();
  await page.getByText('The server sends error and above.').waitFor();
  assert.deepEqual(faults, []);
});

test('a page that a call needs is a link to agree to, and the call is sent again', async (t) => {
  const visitor = await visit(browser, t);
  const server = await askingServer(visitor);
  const { page, faults } = await inspect(visitor, server.url);
  await openTool(page, 'ask');
  await page.getByLabel('question').selectOption('first a page');
  await page.getByRole('button', { name: 'Call', exact: true }).click();
  const needed = result(page).getByRole('article', { name: 'The server needs you to visit a page first' });
  await needed.getByText('Connect your bank account').waitFor();
  await needed.getByText('https://bank.example/connect', { exact: true }).waitFor();
  assert.equal(await result(page).locator('.failed').count(), 0, 'it is no failure');
  const link = needed.getByRole('link', { name: 'Open bank.example' });
  assert.equal(await link.getAttribute('rel'), 'noopener noreferrer');
  await visitor.context.route('https://bank.example/**', (route) => route.fulfill({ body: 'the page of the bank' }));
  const [bank] = await Promise.all([visitor.context.waitForEvent('page'), link.click()]);
  await bank.getByText('the page of the bank').waitFor();
  assert.equal(bank.url(), 'https://bank.example/connect');
  await needed.getByRole('status').getByText('You have agreed to open bank.example.').waitFor();
  server.visited();
  await needed.getByRole('status').getByText('The server says that this is done.').waitFor();
  await result(page).getByRole('button', { name: 'Call again' }).click();
  await result(page).getByText('the account is connected').first().waitFor();
  assert.deepEqual(faults, []);
});

test('a question outlives the page that showed it', async (t) => {
  const visitor = await visit(browser, t);
  const server = await askingServer(visitor);
  const { page, faults } = await inspect(visitor, server.url);
  const before = await askFor(page, 'form');
  await before.getByLabel('mail').fill('ada@example.com');
  await page.reload();
  await page.getByRole('button', { name: 'Answer', exact: true }).click();
  const after_ = page.getByRole('article');
  await after_.getByLabel('Coffee').selectOption({ label: 'espresso' });
  await after_.getByRole('button', { name: 'Send' }).first().click();
  await page.getByText('The server asks nothing now.').waitFor();
  assert.deepEqual(await server.answered(), { action: 'accept', content: { coffee: 'espresso' } });
  assert.deepEqual(faults.filter((fault) => !String(fault).startsWith('Failed to load resource: net::ERR_')), []);
});

test('the findings come with their hints, and again', async (t) => {
  const visitor = await visit(browser, t);
  const server = await askingServer(visitor);
  const { page, faults } = await inspect(visitor, server.url);
  await rows(page).getByText('initialize').first().waitFor();
  await page.getByRole('tab', { name: 'Findings' }).click();
  const view = page.getByRole('tabpanel', { name: 'Findings' });
  const isOver = () => view.getByText(/^No (problems|failures)/).waitFor();
  await isOver();
  await view.getByRole('heading', { name: 'Protocol' }).waitFor();
  await view.getByRole('button', { name: 'Run again' }).click();
  await isOver();
  assert.deepEqual(faults, []);
});
