// better-auth 1.6 with its MCP plugin. It asks for a login before it looks at the client, and a client that it has
// forgotten ends on its own error page. The bridge learns that from an unknown client that is shown the same login.
import http from 'node:http';
import { betterAuth } from 'better-auth';
import { memoryAdapter } from 'better-auth/adapters/memory';
import { toNodeHandler } from 'better-auth/node';
import { mcp, oAuthDiscoveryMetadata, oAuthProtectedResourceMetadata, withMcpAuth } from 'better-auth/plugins';
import { goOn, loginPage, person, signIn } from '../shared/login.mjs';
import { base, port, streamableWeb, ttl } from '../shared/mcp.mjs';

const tables = ['user', 'session', 'account', 'verification', 'oauthApplication', 'oauthAccessToken', 'oauthConsent'];
const auth = betterAuth({
  baseURL: base,
  secret: 'for tests only, at least 32 characters',
  database: memoryAdapter(Object.fromEntries(tables.map((table) => [table, []]))),
  emailAndPassword: { enabled: true },
  rateLimit: { enabled: false },
  plugins: [mcp({ loginPage: '/sign-in', oidcConfig: { loginPage: '/sign-in', accessTokenExpiresIn: ttl } })],
});
await auth.api.signUpEmail({ body: person });

const routes = {
  '/.well-known/oauth-authorization-server': oAuthDiscoveryMetadata(auth),
  '/.well-known/oauth-protected-resource': oAuthProtectedResourceMetadata(auth),
  '/mcp': withMcpAuth(auth, (request, session) => streamableWeb(request, session.userId)),
  '/sign-in': async (request) => {
    if (request.method === 'GET') return loginPage();
    const answer = await signIn(auth, request, base);
    if (!answer.ok && answer.status !== 302) return answer;
    return goOn(answer, `/api/auth/mcp/authorize${new URL(request.url).search}`);
  },
};

http.createServer(toNodeHandler((request) => {
  const route = routes[new URL(request.url).pathname];
  return route ? route(request) : auth.handler(request);
})).listen(port);
