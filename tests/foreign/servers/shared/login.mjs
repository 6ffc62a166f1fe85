// A login page for the servers that leave it to the application, here with better-auth's account of one person.

export const person = { name: 'Ada', email: 'ada@example.com', password: 'correct horse battery staple' };

export const html = (body) => new Response(`<!doctype html>${body}`, { headers: { 'content-type': 'text/html' } });

export const loginPage = () => html(`<form method="post">
  <input name="email" type="email"><input name="password" type="password"><button>Sign in</button>
</form>`);

/** Signs in at better-auth; returns its answer, with its cookies. */
export async function signIn(auth, request, base, extra = {}) {
  const fields = new URLSearchParams(await request.text());
  return auth.handler(new Request(`${base}/api/auth/sign-in/email`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', origin: base, cookie: request.headers.get('cookie') ?? '' },
    body: JSON.stringify({ email: fields.get('email'), password: fields.get('password'), ...extra }),
  }));
}

/** Sends the browser on, with the cookies of `answer`. */
export function goOn(answer, location) {
  const headers = new Headers({ location });
  for (const cookie of answer.headers.getSetCookie()) headers.append('set-cookie', cookie);
  return new Response(null, { status: 302, headers });
}
