// The demo in the browser, for a person who has read nothing.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { demo, launch, visit } from './support/inspector.mjs';
import { openTool, result, rows, signIn } from './support/person.mjs';

let browser;
before(async () => { browser = await launch(); });
after(() => browser?.close());

for (const [how, registration, ...args] of [['that registers itself', true], ['that the server knows', false, '--no-registration']]) {
  test(`the demo leads to the result of a tool, by a client ${how}`, async (t) => {
    const visitor = await visit(browser, t);
    const { page, program, faults } = await demo(visitor, ...args);
    await signIn(visitor, program);
    // Each step of the sign-in is there.
    for (const step of ['/.well-known/oauth-protected-resource', '/.well-known/oauth-authorization-server', '/token']) {
      await rows(page).getByText(step).first().waitFor();
    }
    assert.equal(await rows(page).getByText('/register').count(), registration ? 1 : 0);
    await openTool(page, 'get-user-data');
    await page.getByRole('button', { name: 'Call', exact: true }).click();
    await result(page).getByText('"Grace Hopper"').first().waitFor();
    if (process.env.SCREENSHOTS && registration) await picture(page, `${process.env.SCREENSHOTS}/demo.png`);
    assert.deepEqual(faults, []);
    const [status] = await program.end('SIGINT');
    assert.equal(status, 0);
  });
}

/** The picture of `docs/inspector.md`: the exchange of the code for the token. */
async function picture(page, path) {
  await page.setViewportSize({ width: 1200, height: 640 });
  await page.getByRole('tab', { name: 'Connection' }).click();
  await rows(page).getByText('/token').first().click();
  await rows(page).evaluate((list) => { list.scrollTop = 0; });
  await page.screenshot({ path });
}
