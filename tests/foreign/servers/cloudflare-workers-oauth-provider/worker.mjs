// The worker: the provider with its consent page, and a small MCP server without sessions behind it.
import { env } from 'cloudflare:workers';
import { OAuthProvider } from './oauth-provider.mjs';

const base = env.BASE_URL;

function answer({ id, method, params }, user) {
  const result = (value) => Response.json({ jsonrpc: '2.0', id, result: value });
  switch (method) {
    case 'initialize':
      return result({
        protocolVersion: params.protocolVersion,
        capabilities: { tools: {} },
        serverInfo: { name: 'whoami', version: '1.0.0' },
      });
    case 'ping':
      return result({});
    case 'tools/list':
      return result({ tools: [{ name: 'whoami', description: 'Says who is signed in', inputSchema: { type: 'object' } }] });
    case 'tools/call':
      return result({ content: [{ type: 'text', text: `signed in as ${user}` }] });
    default:
      return Response.json({ jsonrpc: '2.0', id, error: { code: -32601, message: 'Method not found' } });
  }
}

const api = {
  async fetch(request, _, context) {
    if (request.method !== 'POST') return new Response(null, { status: 405 });
    const message = await request.json();
    return message.id === undefined ? new Response(null, { status: 202 }) : answer(message, context.props.user);
  },
};

const pages = {
  async fetch(request, { OAUTH_PROVIDER: oauth }) {
    if (new URL(request.url).pathname !== '/authorize') return new Response(null, { status: 404 });
    if (request.method === 'GET') {
      const consent = await oauth.beginConsent(await oauth.parseAuthRequest(request));
      consent.headers.set('content-type', 'text/html');
      const form = `<form method="post"><input type="hidden" name="handle" value="${consent.handle}">
        <button name="decision" value="approve">Allow</button> <button name="decision" value="deny">Deny</button></form>`;
      return new Response(form, { headers: consent.headers });
    }
    const approved = await oauth.approveConsent(request, String((await request.formData()).get('handle')));
    const { redirectTo } = await oauth.completeAuthorization({
      request: approved.request,
      userId: 'ada',
      metadata: {},
      scope: approved.request.scope,
      props: { user: 'ada' },
    });
    approved.headers.set('location', redirectTo);
    return new Response(null, { status: 302, headers: approved.headers });
  },
};

export default new OAuthProvider({
  apiRoute: '/mcp',
  apiHandler: api,
  defaultHandler: pages,
  authorizeEndpoint: '/authorize',
  tokenEndpoint: '/oauth/token',
  clientRegistrationEndpoint: '/register',
  accessTokenTTL: env.TOKEN_TTL,
  scopesSupported: ['mcp:use', 'offline_access'],
  resourceMetadata: { resource: `${base}/mcp`, authorization_servers: [base] },
  requiredScopes: ['mcp:use'],
});
