// node-vault, unmodified, against a server of Vault's API that is unsealed.
//
// SERVER, TOKEN and NODE_PATH in the environment; OpenBao passes all of it as well.

const assert = require('node:assert');
const connect = require('node-vault');

const endpoint = process.env.SERVER;
const vault = connect({ endpoint, token: process.env.TOKEN });

async function refused(status, call) {
  await assert.rejects(call, (error) => {
    assert.strictEqual(error.response && error.response.statusCode, status, error.message);
    return true;
  });
}

async function main() {
  assert.strictEqual((await vault.health()).sealed, false);
  assert.strictEqual((await vault.status()).sealed, false);
  assert.strictEqual((await vault.initialized()).initialized, true);
  assert.ok((await vault.mounts()).data['secret/']);
  assert.ok((await vault.auths()).data['token/']);

  await vault.write('secret/data/node', { data: { user: 'ann', n: 1 } });
  assert.deepStrictEqual((await vault.read('secret/data/node')).data.data, { user: 'ann', n: 1 });
  assert.deepStrictEqual((await vault.list('secret/metadata')).data.keys.includes('node'), true);
  await vault.update('secret/data/node', { data: { more: 'x' } });
  assert.deepStrictEqual((await vault.read('secret/data/node')).data.data,
    { user: 'ann', n: 1, more: 'x' });
  await vault.delete('secret/data/node');
  await refused(404, vault.read('secret/data/node'));
  await refused(404, vault.read('secret/data/node-none'));

  await vault.mount({ mount_point: 'node-kv', type: 'kv' });
  await vault.write('node-kv/a', { x: 'y' });
  assert.deepStrictEqual((await vault.read('node-kv/a')).data, { x: 'y' });
  await vault.unmount({ mount_point: 'node-kv' });

  const rules = 'path "secret/data/node-p" { capabilities = ["read"] }';
  await vault.addPolicy({ name: 'node', rules });
  assert.ok((await vault.policies()).data.policies.includes('node'));
  assert.strictEqual((await vault.getPolicy({ name: 'node' })).data.rules, rules);
  await vault.write('secret/data/node-p', { data: { a: 'b' } });
  // It goes on with the token that it made.
  const made = await vault.tokenCreate({ policies: ['node'], ttl: '1h' });
  vault.token = process.env.TOKEN;
  const reader = connect({ endpoint, token: made.auth.client_token });
  assert.strictEqual((await reader.read('secret/data/node-p')).data.data.a, 'b');
  await refused(403, reader.write('secret/data/node-p', { data: { a: 'c' } }));
  await refused(403, reader.read('secret/data/node-none'));
  await reader.tokenLookupSelf();
  await reader.tokenRenewSelf({ increment: '10m' });
  await vault.tokenRevokeAccessor({ accessor: made.auth.accessor });
  await refused(403, reader.tokenLookupSelf());
  await vault.removePolicy({ name: 'node' });

  await vault.enableAuth({ mount_point: 'node-up', type: 'userpass' });
  await vault.write('auth/node-up/users/ann', { password: 'pw', token_policies: 'default' });
  const person = connect({ endpoint });
  await person.userpassLogin({ username: 'ann', password: 'pw', mount_point: 'node-up' });
  await person.tokenLookupSelf();
  await refused(400, connect({ endpoint }).userpassLogin(
    { username: 'ann', password: 'wrong', mount_point: 'node-up' }));
  await vault.disableAuth({ mount_point: 'node-up' });
  await refused(403, person.tokenLookupSelf());

  await vault.enableAuth({ mount_point: 'approle', type: 'approle' });
  await vault.addApproleRole({ role_name: 'web', token_policies: 'default' });
  const role = (await vault.getApproleRoleId({ role_name: 'web' })).data.role_id;
  const secret = (await vault.getApproleRoleSecret({ role_name: 'web' })).data.secret_id;
  const machine = connect({ endpoint });
  await machine.approleLogin({ role_id: role, secret_id: secret });
  await machine.tokenLookupSelf();
  await vault.disableAuth({ mount_point: 'approle' });
  console.log('ok');
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
