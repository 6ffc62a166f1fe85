// The person at the inspector's page: the ways through it that several tests take.

import { within } from './inspector.mjs';

/** Opens a tool in its view. */
export async function openTool(page, name) {
  await page.getByRole('tab', { name: 'Tools' }).click();
  await page.locator('#tool-names button', { hasText: name }).first().click();
}

export const result = (page) => page.locator('#result');
export const rows = (page) => page.getByRole('listbox', { name: 'What has passed' });

/** The page that the bridge opens for the sign-in: its person is there, and agrees. */
export async function signIn(visitor, program) {
  const page = await agree(visitor, program);
  await page.getByText('signed in').first().waitFor();
  await page.close();
}

/** The same in a browser on another machine, which does not reach the bridge. Returns the address at which it ends. */
export async function signInElsewhere(visitor, program) {
  let wayBack;
  const lost = new Promise((resolve) => { wayBack = resolve; });
  const page = await agree(visitor, program, async (tab) => {
    // Playwright's own routes let redirects pass.
    const session = await visitor.context.newCDPSession(tab);
    session.on('Fetch.requestPaused', async ({ requestId, request }) => {
      await session.send('Fetch.failRequest', { requestId, errorReason: 'ConnectionRefused' });
      wayBack(request.url);
    });
    await session.send('Fetch.enable', { patterns: [{ urlPattern: '*/callback?*code=*' }] });
  });
  const address = await within('the way back', () => page.url(), lost);
  await page.close();
  return address;
}

async function agree(visitor, program, prepare = () => {}) {
  const [address] = await program.line(/^http:\/\/localhost:\d+\/$/);
  const page = await visitor.context.newPage();
  await prepare(page);
  await page.goto(address);
  await page.getByText('Grace Hopper').click();
  await page.getByRole('button', { name: 'Allow' }).click();
  return page;
}
