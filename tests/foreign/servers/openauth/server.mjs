// OpenAuth: no registration, no PKCE in its metadata, no `token_type` in its token responses, a grace time for
// refresh tokens that are used twice.
import { createClient } from '@openauthjs/openauth/client';
import { issuer } from '@openauthjs/openauth';
import { MemoryStorage } from '@openauthjs/openauth/storage/memory';
import { createSubjects } from '@openauthjs/openauth/subject';
import { serve } from '@hono/node-server';
import { z } from 'zod';
import { base, port, streamableWeb, ttl } from '../shared/mcp.mjs';

const resource = `${base}/mcp`;
const subjects = createSubjects({ user: z.object({ email: z.string() }) });

const form = '<form method="post"><input name="email" type="email"><button>Continue</button></form>';
const people = {
  type: 'people',
  init(routes, context) {
    routes.get('/authorize', (c) => c.html(form));
    routes.post('/authorize', async (c) => context.success(c, { email: (await c.req.formData()).get('email') }));
  },
};

const app = issuer({
  storage: MemoryStorage(),
  providers: { people },
  subjects,
  ttl: { access: ttl },
  success: (context, value) => context.subject('user', { email: value.email }),
});
const client = createClient({ issuer: base, clientID: 'any', fetch: (url, options) => app.request(url, options) });

app.get('/.well-known/oauth-protected-resource/mcp', (c) => c.json({ resource, authorization_servers: [base] }));
app.all('/mcp', async (c) => {
  const token = /^Bearer (.+)$/i.exec(c.req.header('authorization') ?? '')?.[1];
  const verified = token ? await client.verify(subjects, token) : { err: 'no token' };
  if (!verified.err) return streamableWeb(c.req.raw, verified.subject.properties.email);
  return c.body(null, 401, { 'www-authenticate': `Bearer resource_metadata="${base}/.well-known/oauth-protected-resource/mcp"` });
});

serve({ fetch: app.fetch, port });
