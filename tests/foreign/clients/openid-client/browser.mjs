// Stand-in for the person and the browser: answers the consent page of the example server.
export async function signIn(url, redirect) {
  const page = await fetch(url);
  const cookie = page.headers.get('set-cookie')?.split(';')[0];
  const html = await page.text();
  const token = /name="form_token" value="([^"]+)"/.exec(html)?.[1];
  if (!cookie || !token) throw new Error(`no consent page: ${page.status} ${html}`);
  const answer = await fetch(new URL('/consent', url), {
    method: 'POST',
    redirect: 'manual',
    headers: { cookie },
    body: new URLSearchParams({ form_token: token, user: 'ada', decision: 'allow' }),
  });
  const location = new URL(answer.headers.get('location'));
  if (!location.href.startsWith(redirect)) throw new Error(`not sent to the client: ${location}`);
  return location;
}
