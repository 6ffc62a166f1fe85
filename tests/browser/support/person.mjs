// The person at the inspector's page: the ways through it that several tests take.

/** Opens a tool in its view. */
export async function openTool(page, name) {
  await page.getByRole('tab', { name: 'Tools' }).click();
  await page.locator('#tool-names button', { hasText: name }).first().click();
}

export const result = (page) => page.locator('#result');
export const rows = (page) => page.getByRole('listbox', { name: 'What has passed' });

/** The page that the bridge opens for the sign-in: its person is there, and agrees. */
export async function signIn(visitor, program) {
  const [address] = await program.line(/^http:\/\/localhost:\d+\/$/);
  const page = await visitor.context.newPage();
  await page.goto(address);
  await page.getByText('Grace Hopper').click();
  await page.getByRole('button', { name: 'Allow' }).click();
  await page.getByText('signed in').first().waitFor();
  await page.close();
}
