// Each view of the inspector, by the rules of axe-core, in both colour schemes and two widths.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, test } from 'node:test';

import { askingServer } from './support/asking_server.mjs';
import { axe, inspect, launch, visit } from './support/inspector.mjs';
import { formServer } from './support/server.mjs';

const WIDTHS = [1280, 390];
const SCHEMES = ['light', 'dark'];

let browser;
before(async () => { browser = await launch(); });
after(() => browser?.close());

/** A view with contents: what a person does to see them. */
const FILLED = {
  Connection: async (page) => {
    await page.getByRole('listbox').focus();
    await page.keyboard.press('Home');
    await page.getByRole('complementary', { name: 'Details' }).waitFor();
  },
  Tools: async (page) => {
    await page.locator('#tool-names button', { hasText: 'order' }).click();
    // Faults are shown, too.
    await page.getByRole('button', { name: 'Call', exact: true }).click();
    await page.locator('[aria-invalid=true]').first().waitFor();
  },
  'Sign-in': async (page) => {
    await page.getByText('the server answers').first().waitFor();
  },
  Findings: async (page) => {
    await page.getByText(/^No (problems|failures)/).waitFor();
  },
  Resources: async (page) => {
    await page.locator('#resources li button', { hasText: 'note://one' }).click();
    await page.getByText('The note note://one').first().waitFor();
  },
  Prompts: async (page) => {
    await page.locator('#prompts li button', { hasText: 'greet' }).click();
    await page.getByLabel('who').fill('Ada');
    await page.getByRole('button', { name: 'Get' }).click();
    await page.getByText('Hello, Ada').first().waitFor();
  },
};

/** Fails if a view breaks a rule, or is wider than its window. */
async function check(page, view) {
  await page.evaluate(axe.source);
  for (const scheme of SCHEMES) {
    await page.emulateMedia({ colorScheme: scheme, reducedMotion: 'reduce' });
    for (const width of WIDTHS) {
      await page.setViewportSize({ width, height: 800 });
      // The list of messages is drawn before the next frame.
      await page.evaluate(() => new Promise((resolve) => { requestAnimationFrame(() => requestAnimationFrame(resolve)); }));
      const { violations } = await page.evaluate(() => globalThis.axe.run({ resultTypes: ['violations'] }));
      const found = violations.flatMap(({ id, help, nodes }) => nodes.map(({ target, failureSummary }) => `${id}: ${help}: ${target} ${failureSummary}`));
      const where = `${view}, ${scheme}, ${width} wide`;
      assert.deepEqual(found, [], where);
      const surplus = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
      assert.equal(surplus, 0, `${where}: pixels beyond the edge`);
      if (process.env.SCREENSHOTS) await page.screenshot({ path: join(process.env.SCREENSHOTS, `${view}-${scheme}-${width}.png`) });
    }
  }
  await page.setViewportSize({ width: 1280, height: 800 });
}

test('no view of a connection breaks a rule of accessibility', async (t) => {
  const visitor = await visit(browser, t);
  const server = await formServer(visitor);
  const { page, faults } = await inspect(visitor, server.url);
  await page.getByRole('listbox').getByText('initialize').first().waitFor();
  const tabs = page.getByRole('tab');
  await page.getByRole('tab', { name: 'Tools' }).waitFor();
  // On a narrow screen the details cover the list.
  await check(page, 'Connection without details');
  const views = await tabs.allInnerTexts();
  for (const view of views) {
    await page.getByRole('tab', { name: view }).click();
    await FILLED[view]?.(page);
    await check(page, view);
  }
  for (const view of Object.keys(FILLED)) assert.ok(views.includes(view), `${view} is among ${views}`);
  assert.deepEqual(faults, []);
});

test('no question of the server breaks a rule of accessibility', async (t) => {
  const visitor = await visit(browser, t);
  const server = await askingServer(visitor);
  const { page, faults } = await inspect(visitor, server.url);
  for (const question of ['form', 'page', 'sampling', 'roots']) {
    await page.getByRole('tab', { name: 'Tools' }).click();
    await page.locator('#tool-names button', { hasText: 'ask' }).click();
    await page.getByLabel('question').selectOption(question);
    await page.getByRole('button', { name: 'Call', exact: true }).click();
    await page.getByRole('button', { name: 'Answer', exact: true }).click();
    await page.getByRole('article').waitFor();
    await check(page, `The question ${question}`);
    await page.getByRole('button', { name: /^(Decline|Refuse)$/ }).click();
    await page.getByText('The server asks nothing now.').waitFor();
  }
  await page.getByRole('tab', { name: 'Tools' }).click();
  await page.getByLabel('question').selectOption('first a page');
  await page.getByRole('button', { name: 'Call', exact: true }).click();
  await page.getByRole('article').waitFor();
  await check(page, 'A page that is needed');
  assert.deepEqual(faults, []);
});
