// SPDX-License-Identifier: EUPL-1.2
// A certified OpenID provider (npm oidc-provider) as an authority would run one, with one client and one account, on a
// loopback port. Its pages for sign-in and its keys are those that the package brings for development.
//
//   node oidc_provider.mjs PORT REDIRECT_URI [EMAIL]
//
// Client "holdfast" with the secret "e2e-client-secret" (client_secret_basic). Sign in with the e-mail address as name and any
// password. It prints "ready ISSUER" when it listens, and ends with its standard input, so that it never outlives a test.
import { Provider } from 'oidc-provider';

const [port, redirect, email = 'anna.weiss@nordtal.example'] = process.argv.slice(2);
if (!port || !redirect) {
  console.error('usage: node oidc_provider.mjs PORT REDIRECT_URI [EMAIL]');
  process.exit(2);
}
const issuer = `http://127.0.0.1:${port}`;

const provider = new Provider(issuer, {
  clients: [{
    client_id: 'holdfast', client_secret: 'e2e-client-secret', redirect_uris: [redirect],
    grant_types: ['authorization_code'], response_types: ['code'], token_endpoint_auth_method: 'client_secret_basic',
  }],
  claims: { openid: ['sub'], email: ['email', 'email_verified'], profile: ['name'] },
  pkce: { required: () => true },
  cookies: { keys: ['e2e'] },
  features: { devInteractions: { enabled: true } },
  // Whoever signs in as somebody else is somebody whom the authority's register does not know.
  findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id, email: id.includes('@') ? id : email, email_verified: true }) }),
  // The authority's own client asks nobody for consent.
  async loadExistingGrant(ctx) {
    const grant = new ctx.oidc.provider.Grant({ clientId: ctx.oidc.client.clientId, accountId: ctx.oidc.session.accountId });
    grant.addOIDCScope('openid email profile');
    await grant.save();
    return grant;
  },
});

const server = provider.listen(Number(port), '127.0.0.1', () => console.log(`ready ${issuer}`));
process.stdin.resume();
process.stdin.on('end', () => { server.close(); process.exit(0); });
