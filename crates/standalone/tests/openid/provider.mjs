// Two OpenID providers for the tests, each on a port of its own of 127.0.0.1:
//
// - a real one, oidc-provider, with its own forms (any password will do). It is told its people by POST /people of the control port:
//   { "ada": { "groups": ["ops"] } };
// - a false one, which answers at once, and wrongly as it is told by POST /knobs: see `knobs`.
//
// It prints { real, false, control } as one line when they listen, and ends with its standard input.
import { createHash, randomBytes } from 'node:crypto';
import { createServer } from 'node:http';

import { SignJWT, UnsecuredJWT, exportJWK, generateKeyPair } from 'jose';
import Provider from 'oidc-provider';

const redirectUri = process.argv[2];
const listen = (handler) => new Promise((done) => {
  const server = createServer(handler);
  server.listen(0, '127.0.0.1', () => done(`http://127.0.0.1:${server.address().port}`));
});
const body = async (request) => {
  const parts = [];
  for await (const part of request) parts.push(part);
  return Buffer.concat(parts).toString();
};
const keyPair = async (kid, alg = 'RS256') => {
  const { publicKey, privateKey } = await generateKeyPair(alg, { extractable: true });
  const named = { kid, alg, use: 'sig' };
  return { kid, alg, privateKey, public: { ...await exportJWK(publicKey), ...named }, private: { ...await exportJWK(privateKey), ...named } };
};

// The real one.
let people = {};
const signing = await keyPair('real');
let answer = (_, response) => response.writeHead(503).end();
const real = await listen((request, response) => answer(request, response));
const client = (id, more) => ({ client_id: id, redirect_uris: [redirectUri], grant_types: ['authorization_code'], response_types: ['code'], ...more });
const provider = new Provider(real, {
  clients: [
    client('basic', { client_secret: 's3cret /+:%' }),
    client('public', { token_endpoint_auth_method: 'none' }),
  ],
  claims: { openid: ['sub'], profile: ['preferred_username', 'realm_access'], email: ['email', 'email_verified'], groups: ['groups'] },
  // The claims are had from userinfo, as the standard has it for this flow.
  conformIdTokenClaims: true,
  pkce: { required: () => true },
  cookies: { keys: ['of the tests'] },
  jwks: { keys: [signing.private] },
  findAccount: (_, id) => people[id] && { accountId: id, claims: () => ({ sub: id, preferred_username: id, ...people[id] }) },
});
provider.on('server_error', (_, error) => console.error(error));
answer = provider.callback();

// The false one.
const honest = {
  clientId: 'false',
  // Claims beside the standard's, or in place of them; null leaves one out.
  claims: {},
  // What signs: "own", "foreign" (with the id of its own), "unknown" (a key that nobody was told of), "none", "hs256".
  signs: 'own',
  alg: 'RS256',
  // What the answers of each place are: "away" (500), "slow", "huge", "odd" (no JSON), or as they should be.
  discovery: '', jwks: '', token: '', userinfo: '',
  description: {},
  tokens: {},
  people: null,
  iss: undefined,
  error: undefined,
  // Whether the client's secret has to be among the form's fields.
  secretInForm: false,
};
let knobs = { ...honest };
let keys = { RS256: await keyPair('own'), ES256: await keyPair('own-ec', 'ES256'), EdDSA: await keyPair('own-ed', 'EdDSA'), PS256: await keyPair('own-ps', 'PS256') };
const strange = await keyPair('strange');
const codes = new Map();
const counts = { discovery: 0, jwks: 0, token: 0, userinfo: 0 };
const json = (response, status, value) => response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(value));
const behaves = (place, response) => {
  counts[place] += 1;
  switch (knobs[place]) {
    case 'away': response.writeHead(500).end('<b>away</b>'); return true;
    case 'slow': return true;
    case 'huge': response.writeHead(200, { 'content-type': 'application/json' }).end(`{"x":"${'x'.repeat(2_000_000)}"}`); return true;
    case 'odd': response.writeHead(200, { 'content-type': 'application/json' }).end('<html>'); return true;
    case 'elsewhere': response.writeHead(302, { location: `${real}/.well-known/openid-configuration` }).end(); return true;
    default: return false;
  }
};
const idToken = async (nonce, accessToken) => {
  const now = Math.floor(Date.now() / 1000);
  const claims = {
    iss: fake, sub: 'f-1', aud: knobs.clientId, exp: now + 300, iat: now, nonce,
    at_hash: createHash('sha256').update(accessToken).digest().subarray(0, 16).toString('base64url'),
    preferred_username: 'eve', groups: ['ops'],
    ...knobs.claims,
  };
  for (const [name, value] of Object.entries(claims)) if (value === null) delete claims[name];
  const key = knobs.signs === 'foreign' || knobs.signs === 'unknown' ? strange : keys[knobs.alg];
  const kid = knobs.signs === 'foreign' ? keys.RS256.kid : key.kid;
  if (knobs.alg === 'EdDSA') delete claims.at_hash;
  if (knobs.signs === 'none') return new UnsecuredJWT(claims).encode();
  if (knobs.signs === 'hs256') return new SignJWT(claims).setProtectedHeader({ alg: 'HS256' }).sign(Buffer.from('hunter2'));
  return new SignJWT(claims).setProtectedHeader({ alg: knobs.alg, kid }).sign(key.privateKey);
};
const fake = await listen(async (request, response) => {
  const url = new URL(request.url, fake);
  switch (url.pathname) {
    case '/.well-known/openid-configuration':
      if (behaves('discovery', response)) return undefined;
      return json(response, 200, {
        issuer: fake, authorization_endpoint: `${fake}/authorize`, token_endpoint: `${fake}/token`, jwks_uri: `${fake}/jwks`,
        userinfo_endpoint: `${fake}/userinfo`, response_types_supported: ['code'], subject_types_supported: ['public'],
        id_token_signing_alg_values_supported: ['RS256', 'HS256', 'none'], ...knobs.description,
      });
    case '/jwks':
      if (behaves('jwks', response)) return undefined;
      return json(response, 200, { keys: Object.values(keys).map((key) => key.public).concat({ kty: 'odd', kid: 'odd' }) });
    case '/authorize': {
      const back = new URL(url.searchParams.get('redirect_uri'));
      back.searchParams.set('state', url.searchParams.get('state'));
      if (knobs.error) {
        back.searchParams.set('error', knobs.error);
        back.searchParams.set('error_description', `${knobs.error}: <script>alert(1)</script>${'x'.repeat(1000)}`);
      } else {
        const code = randomBytes(16).toString('hex');
        codes.set(code, { nonce: url.searchParams.get('nonce'), challenge: url.searchParams.get('code_challenge') });
        back.searchParams.set('code', code);
      }
      if (knobs.iss) back.searchParams.set('iss', knobs.iss);
      return response.writeHead(303, { location: back.href }).end();
    }
    case '/token': {
      const form = new URLSearchParams(await body(request));
      if (behaves('token', response)) return undefined;
      const begun = codes.get(form.get('code'));
      codes.delete(form.get('code'));
      const challenge = createHash('sha256').update(form.get('code_verifier') ?? '').digest('base64url');
      if (knobs.secretInForm && (form.get('client_secret') !== 'hunter2' || request.headers.authorization)) {
        return json(response, 401, { error: 'invalid_client' });
      }
      if (!begun || begun.challenge !== challenge) return json(response, 400, { error: 'invalid_grant', error_description: 'no such code' });
      const accessToken = randomBytes(16).toString('hex');
      return json(response, 200, { access_token: accessToken, token_type: 'Bearer', expires_in: 60, id_token: await idToken(begun.nonce, accessToken), ...knobs.tokens });
    }
    case '/userinfo':
      if (behaves('userinfo', response)) return undefined;
      return json(response, 200, knobs.people ?? { sub: 'f-1', preferred_username: 'eve', groups: ['ops'] });
    default:
      return response.writeHead(404).end();
  }
});

const control = await listen(async (request, response) => {
  const told = await body(request);
  if (request.url === '/people') people = JSON.parse(told);
  if (request.url === '/knobs') knobs = { ...honest, ...JSON.parse(told) };
  if (request.url === '/rotate') keys = { ...keys, RS256: await keyPair(`own-${randomBytes(4).toString('hex')}`) };
  json(response, 200, counts);
});
console.log(JSON.stringify({ real, false: fake, control }));
process.stdin.resume().on('end', () => process.exit(0));
