// The official TypeScript SDK's `ProxyOAuthServerProvider` in front of oidc-provider: clients register with the
// proxy, sign in at the provider, and get their tokens through the proxy.
import express from 'express';
import { Provider } from 'oidc-provider';
import { InvalidTokenError } from '@modelcontextprotocol/sdk/server/auth/errors.js';
import { requireBearerAuth } from '@modelcontextprotocol/sdk/server/auth/middleware/bearerAuth.js';
import { ProxyOAuthServerProvider } from '@modelcontextprotocol/sdk/server/auth/providers/proxyProvider.js';
import { getOAuthProtectedResourceMetadataUrl, mcpAuthRouter } from '@modelcontextprotocol/sdk/server/auth/router.js';
import { base, port, streamable, ttl } from '../shared/mcp.mjs';

const resource = new URL('/mcp', base);
const behind = new URL('/behind', base).href; // the provider has a path of its own at the same port

const upstream = new Provider(behind, {
  features: {
    devInteractions: { enabled: false },
    registration: { enabled: true },
    revocation: { enabled: true },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => resource.href,
      useGrantedResource: () => true,
      getResourceServerInfo: () => ({ scope: 'mcp:use', audience: resource.href, accessTokenFormat: 'opaque', accessTokenTTL: ttl }),
    },
  },
  scopes: ['openid', 'offline_access'],
  rotateRefreshToken: true,
  issueRefreshToken: () => true,
  pkce: { required: () => true },
  ttl: { AccessToken: ttl, RefreshToken: 3600, Grant: 3600, Session: 3600, Interaction: 600 },
  interactions: { url: (_, interaction) => `/interaction/${interaction.uid}` },
  findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
  cookies: { keys: ['for tests only'] },
});
// Providers without RFC 9207 send no issuer with the code. One that does names itself, not the proxy.
if (process.env.UPSTREAM_ISSUER !== 'sent') {
  upstream.use(async (context, next) => {
    await next();
    const location = context.response.get('location');
    if (!URL.canParse(location)) return;
    const target = new URL(location);
    target.searchParams.delete('iss');
    context.set('location', target.href);
  });
}

const proxy = new ProxyOAuthServerProvider({
  endpoints: {
    authorizationUrl: `${behind}/auth`,
    tokenUrl: `${behind}/token`,
    revocationUrl: `${behind}/token/revocation`,
    registrationUrl: `${behind}/reg`,
  },
  verifyAccessToken: async (value) => {
    const token = await upstream.AccessToken.find(value);
    if (!token || token.isExpired) throw new InvalidTokenError('Unknown or expired token');
    return { token: value, clientId: token.clientId, scopes: [...token.scopes], expiresAt: token.exp, extra: { user: token.accountId } };
  },
  getClient: async (id) => (await upstream.Client.find(id))?.metadata(),
});

const app = express();
app.get('/interaction/:id', async (request, response) => {
  const { params, prompt } = await upstream.interactionDetails(request, response);
  if (prompt.name === 'login') return upstream.interactionFinished(request, response, { login: { accountId: 'someone' } });
  const grant = new upstream.Grant({ accountId: 'someone', clientId: params.client_id });
  grant.addOIDCScope('openid');
  grant.addResourceScope(resource.href, 'mcp:use');
  return upstream.interactionFinished(request, response, { consent: { grantId: await grant.save() } });
});
app.use('/behind', upstream.callback());
app.use(mcpAuthRouter({ provider: proxy, issuerUrl: new URL(base), resourceServerUrl: resource, scopesSupported: ['mcp:use'] }));
const signedIn = requireBearerAuth({ verifier: proxy, resourceMetadataUrl: getOAuthProtectedResourceMetadataUrl(resource) });
app.all('/mcp', signedIn, express.json(), (request, response) => streamable(request, response, request.auth.extra.user, request.body));
app.listen(port);
