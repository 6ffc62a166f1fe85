// Sign-in, requests of the server and findings on the inspector's page.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { askingServer } from './support/asking_server.mjs';
import { openTool, result, rows, signIn } from './support/person.mjs';
import { exampleServer, inspect, launch, visit } from './support/inspector.mjs';

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
