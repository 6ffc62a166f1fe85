// better-auth 1.7 with its OAuth provider plugin: consent, tokens that are JWTs, resources.
import http from 'node:http';
import { oauthProvider, oauthProviderAuthServerMetadata } from '@better-auth/oauth-provider';
import { oauthProviderResourceClient } from '@better-auth/oauth-provider/resource-client';
import { betterAuth } from 'better-auth';
import { memoryAdapter } from 'better-auth/adapters/memory';
import { getAuthTables } from 'better-auth/db';
import { toNodeHandler } from 'better-auth/node';
import { jwt } from 'better-auth/plugins';
import { goOn, html, loginPage, person, signIn } from '../shared/login.mjs';
import { base, streamableWeb, ttl } from '../shared/mcp.mjs';
import { apart, issuerOrigin, issuerPort, startResourceServer } from '../shared/resource-server.mjs';

const resource = `${base}/mcp`;
const issuer = `${issuerOrigin}/api/auth`;
const plugins = [
  jwt(),
  oauthProvider({
    loginPage: '/sign-in',
    consentPage: '/consent',
    allowDynamicClientRegistration: true,
    allowUnauthenticatedClientRegistration: true,
    accessTokenExpiresIn: ttl,
    resources: [resource],
    clientRegistrationDefaultResources: [resource],
    silenceWarnings: { oauthAuthServerConfig: true },
  }),
];
const tables = Object.values(getAuthTables({ plugins })).map((table) => [table.modelName, []]);
const auth = betterAuth({
  baseURL: issuerOrigin,
  secret: 'for tests only, at least 32 characters',
  database: memoryAdapter(Object.fromEntries(tables)),
  emailAndPassword: { enabled: true },
  rateLimit: { enabled: false },
  plugins,
});
await auth.api.signUpEmail({ body: person });

const { verifyAccessTokenRequest, getProtectedResourceMetadata } = oauthProviderResourceClient(auth).getActions();

async function mcp(request) {
  try {
    const token = await verifyAccessTokenRequest(request, { jwksUrl: `${issuer}/jwks`, verifyOptions: { audience: resource, issuer } });
    return await streamableWeb(request, token.sub);
  } catch (error) {
    if (!error.statusCode) throw error;
    return new Response(null, { status: error.statusCode, headers: error.headers });
  }
}

async function onward(answer) {
  const location = answer.headers.get('location') ?? (answer.ok && (await answer.clone().json()).url);
  return location ? goOn(answer, location) : answer;
}

async function consent(request) {
  if (request.method === 'GET') return html('<form method="post"><button>Allow</button></form>');
  return onward(await auth.handler(new Request(`${issuer}/oauth2/consent`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', origin: issuerOrigin, cookie: request.headers.get('cookie') ?? '' },
    body: JSON.stringify({ accept: true, oauth_query: new URL(request.url).search.slice(1) }),
  })));
}

async function login(request) {
  if (request.method === 'GET') return loginPage();
  return onward(await signIn(auth, request, issuerOrigin, { oauth_query: new URL(request.url).search.slice(1) }));
}

const routes = {
  '/.well-known/oauth-authorization-server/api/auth': oauthProviderAuthServerMetadata(auth),
  '/.well-known/oauth-protected-resource/mcp': async () => Response.json(
    await getProtectedResourceMetadata({ resource, authorization_servers: [issuer], scopes_supported: ['offline_access'] }),
  ),
  '/mcp': mcp,
  '/sign-in': login,
  '/consent': consent,
};

http.createServer(toNodeHandler((request) => {
  const route = routes[new URL(request.url).pathname];
  return route ? route(request) : auth.handler(request);
})).listen(issuerPort, () => { if (apart) startResourceServer(issuer); });
