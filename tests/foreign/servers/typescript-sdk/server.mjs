// The official TypeScript SDK 1.x: `mcpAuthRouter` with the in-memory provider of its examples. That provider
// leaves refresh and revocation out; both are added here.
import { randomUUID } from 'node:crypto';
import express from 'express';
import { DemoInMemoryAuthProvider } from '@modelcontextprotocol/sdk/examples/server/demoInMemoryOAuthProvider.js';
import { InvalidGrantError, InvalidTokenError } from '@modelcontextprotocol/sdk/server/auth/errors.js';
import { requireBearerAuth } from '@modelcontextprotocol/sdk/server/auth/middleware/bearerAuth.js';
import { getOAuthProtectedResourceMetadataUrl, mcpAuthRouter } from '@modelcontextprotocol/sdk/server/auth/router.js';
import { base, openStream, port, streamable, takeMessage, ttl } from '../shared/mcp.mjs';

class Provider extends DemoInMemoryAuthProvider {
  grants = new Map(); // refresh token: the grant, with its access tokens

  async exchangeAuthorizationCode(client, code, verifier) {
    const { access_token, scope } = await super.exchangeAuthorizationCode(client, code, verifier);
    return this.issue({ clientId: client.client_id, scope, revoked: false, access: [] }, access_token);
  }

  async exchangeRefreshToken(client, refreshToken) {
    const entry = this.grants.get(refreshToken);
    if (!entry || entry.grant.revoked || entry.grant.clientId !== client.client_id) {
      throw new InvalidGrantError('Invalid refresh token');
    }
    if (entry.used) {
      this.end(entry.grant);
      throw new InvalidGrantError('The refresh token was used twice');
    }
    entry.used = true;
    return this.issue(entry.grant, randomUUID());
  }

  issue(grant, accessToken) {
    const refreshToken = randomUUID();
    grant.access.push(accessToken);
    this.grants.set(refreshToken, { grant, used: false });
    const scopes = grant.scope ? grant.scope.split(' ') : [];
    this.tokens.set(accessToken, { token: accessToken, clientId: grant.clientId, scopes, expiresAt: Date.now() + ttl * 1000 });
    return { access_token: accessToken, token_type: 'bearer', expires_in: ttl, refresh_token: refreshToken, scope: grant.scope };
  }

  async revokeToken(client, { token }) {
    for (const [refreshToken, { grant }] of this.grants) {
      if (grant.clientId === client.client_id && (refreshToken === token || grant.access.includes(token))) this.end(grant);
    }
  }

  end(grant) {
    grant.revoked = true;
    for (const token of grant.access) this.tokens.delete(token);
  }

  async verifyAccessToken(token) {
    try {
      return await super.verifyAccessToken(token);
    } catch (error) {
      throw new InvalidTokenError(error.message);
    }
  }
}

const streamed = new URL('/sse', base);
const resource = new URL('/mcp', base);
const provider = new Provider();
const app = express();
app.use(mcpAuthRouter({ provider, issuerUrl: new URL(base), resourceServerUrl: resource, scopesSupported: ['mcp:tools'] }));
app.get('/.well-known/oauth-protected-resource/sse', (_, response) => {
  response.json({ resource: streamed.href, authorization_servers: [new URL(base).href], scopes_supported: ['mcp:tools'] });
});

const signedIn = (url) => requireBearerAuth({ verifier: provider, resourceMetadataUrl: getOAuthProtectedResourceMetadataUrl(url) });
app.all('/mcp', signedIn(resource), express.json(), (request, response) => streamable(request, response, request.auth.clientId, request.body));
app.get('/sse', signedIn(streamed), (request, response) => openStream(response, request.auth.clientId, '/messages'));
app.post('/messages', signedIn(streamed), express.json(), (request, response) => takeMessage(request, response, request.body));
app.listen(port);
