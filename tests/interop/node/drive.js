// Drives a server with Node's etcd3: `node drive.js http://host:port`.
//
// Prints "ok <check>" for each check that passed and ends with status 1 at the first that didn't.
'use strict';

const assert = require('node:assert/strict');
const { Etcd3, EtcdLeaseInvalidError, EtcdLockFailedError } = require('etcd3');

const PATIENCE_MS = 60_000;

/** Settles with the arguments of the next `count` times that an emitter emits `event`. */
function take(emitter, event, count = 1) {
  return new Promise((resolve, reject) => {
    const seen = [];
    const timer = setTimeout(() => reject(new Error(`no ${event}, only ${seen.length}`)), PATIENCE_MS);
    emitter.on(event, (value) => {
      seen.push(value);
      if (seen.length === count) {
        clearTimeout(timer);
        resolve(seen);
      }
    });
  });
}

async function putAndGet(client) {
  const binary = Buffer.from([0, 1, 0xfe, 0xff]);
  await client.put('k/a').value('1');
  await client.put('k/b').value(binary);
  assert.deepEqual(await client.get('k/b').buffer(), binary);
  assert.equal(await client.get('none').string(), null);
  assert.deepEqual(await client.getAll().prefix('k/').keys(), ['k/a', 'k/b']);
  assert.deepEqual(await client.getAll().prefix('k/').sort('Key', 'Descend').limit(1).keys(), ['k/b']);
  assert.equal(await client.getAll().prefix('k/').count(), 2);
  const before = await client.put('k/a').value('2').getPrevious();
  assert.equal(before.value.toString(), '1');
  assert.equal((await client.delete().key('k/a')).deleted, '1');
}

async function txn(client) {
  await client.put('t').value('1');
  const won = await client
    .if('t', 'Value', '==', '1')
    .and('t/new', 'Create', '==', 0)
    .then(client.put('t').value('2'), client.get('t'))
    .else(client.get('t'))
    .commit();
  assert.equal(won.succeeded, true);
  assert.equal(won.responses[1].response_range.kvs[0].value.toString(), '2');
  const lost = await client.if('t', 'Value', '==', '1').else(client.get('t')).commit();
  assert.equal(lost.succeeded, false);
  await client.stm().transact(async (step) => {
    const value = await step.get('t').string();
    await step.put('t/stm').value(`${value}!`);
  });
  assert.equal(await client.get('t/stm').string(), '2!');
}

async function watch(client) {
  const watcher = await client.watch().prefix('w/').withPreviousKV().create();
  const puts = take(watcher, 'put', 2);
  const deletes = take(watcher, 'delete');
  const first = await client.put('w/1').value('a');
  await client.put('w/1').value('b');
  await client.delete().key('w/1');
  assert.deepEqual((await puts).map((kv) => kv.value.toString()), ['a', 'b']);
  assert.equal((await deletes)[0].key.toString(), 'w/1');
  await watcher.cancel();

  const late = await client.watch().key('w/1').startRevision(first.header.revision).watcher();
  const events = await take(late, 'data', 1);
  assert.equal(events[0].events[0].kv.value.toString(), 'a');
  await late.cancel();
}

async function lease(client) {
  const short = client.lease(2, { autoKeepAlive: false });
  await short.put('l/short').value('x');
  const gone = await client.watch().key('l/short').create();
  await take(gone, 'delete');
  await gone.cancel();

  const kept = client.lease(2);
  await kept.put('l/kept').value('x');
  await take(kept, 'keepaliveSucceeded', 4);
  assert.equal(await client.get('l/kept').string(), 'x');
  await kept.revoke();
  assert.equal(await client.get('l/kept').string(), null);
  await assert.rejects(client.put('l').value('x').lease(404), EtcdLeaseInvalidError);
}

async function lock(client) {
  const holder = await client.lock('door').ttl(30).acquire();
  await assert.rejects(client.lock('door').ttl(30).acquire(), EtcdLockFailedError);
  await holder.release();
  assert.equal(await client.lock('door').ttl(30).do(async () => 'inside'), 'inside');
}

async function election(client) {
  const first = client.election('seat', 30).campaign('one');
  await take(first, 'elected');
  assert.equal(await client.election('seat', 30).leader(), 'one');
  const second = client.election('seat', 30).campaign('two');
  const won = take(second, 'elected');
  await first.resign();
  await won;
  assert.equal(await client.election('seat', 30).leader(), 'two');
  await second.resign();
}

async function bigValues(client) {
  const value = Buffer.alloc(1_000_000, '0123456789abcdef');
  await Promise.all([1, 2, 3].map((number) => client.put(`big/${number}`).value(value)));
  const found = await client.getAll().prefix('big/').buffers();
  assert.equal(Object.values(found).filter((one) => one.equals(value)).length, 3);
}

async function maintenance(client) {
  const status = await client.maintenance.status();
  assert.equal(status.leader, status.header.member_id);
  const members = await client.cluster.memberList({});
  assert.equal(members.members.length, 1);
  assert.deepEqual((await client.maintenance.alarm({ action: 'Get' })).alarms, []);
  await client.maintenance.defragment();
}

async function main(url) {
  const options = { 'grpc.max_receive_message_length': 16 * 1024 * 1024 };
  const client = new Etcd3({ hosts: url, grpcOptions: options });
  const checks = {
    'put and get': putAndGet, txn, watch, lease, lock, election, 'big values': bigValues, maintenance,
  };
  for (const [name, check] of Object.entries(checks)) {
    await check(client);
    console.log(`ok ${name}`);
  }
  client.close();
}

main(process.argv[2]).then(
  () => process.exit(0),
  (error) => {
    console.error(error);
    process.exit(1);
  },
);
