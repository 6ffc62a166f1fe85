// The in-memory provider of the TypeScript SDK's examples, with the refresh and revocation that it leaves out.
import { randomUUID } from 'node:crypto';
import { DemoInMemoryAuthProvider } from '@modelcontextprotocol/sdk/examples/server/demoInMemoryOAuthProvider.js';
import { InvalidGrantError, InvalidTokenError } from '@modelcontextprotocol/sdk/server/auth/errors.js';
import { ttl } from './mcp.mjs';

export class Provider extends DemoInMemoryAuthProvider {
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
