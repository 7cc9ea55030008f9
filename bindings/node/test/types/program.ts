// What TypeScript must accept, and what it must refuse. test/types.test.js gives it to tsc.
import { Engine, GasworksError, openState, type HandlerReply, type Instance, type Pool, type State } from 'gasworks';

async function main(bytes: Uint8Array): Promise<void> {
  const engine = new Engine({ workers: 2, optLevel: 3, tier: 'fast', cache: '/tmp/cache' });
  const module = await engine.compile(bytes, { signatures: { upper: '(str) -> str' } });
  const instance: Instance = await module.instantiate({ env: { log: (x: number) => x, wait: async () => 1 } }, { gasLimit: 10n });
  const upper: string = await instance.call('upper', ['a', 1, 1n, new Uint8Array(1)], { gasLimit: 1e6, signal: AbortSignal.timeout(5) });
  const { value, gas } = await instance.run<number>('fib', [20]);
  const total: number = value + gas + instance.gasUsed + instance.callSync<number>('fib', [1]) + instance.memory.size;
  const text: string = instance.memory.text(0, 1) + instance.memory.read(0, 1).toString('hex') + upper;
  instance.memory.write(0, Buffer.from(text));
  const pool: Pool = module.pool({}, { max: 8, maxMemory: 1 << 20 });
  const results: number[] = [await pool.exports.fib(1), total, pool.size, module.exports.length];
  const names: string[] = module.imports.map((i) => `${i.module}.${i.name}: ${i.params}`);
  pool.close();
  try { instance.close(); } catch (error) {
    if (error instanceof GasworksError) console.log(error.code, error.trap?.length, error.gas, results, names);
  }
  const state: State = await openState('/tmp/state', { maxBytes: 1 << 30, sync: false });
  const size: number = await state.transact('space', async (txn) => {
    await txn.set('key', new Uint8Array(1));
    await txn.add('n', 1n);
    return ((await txn.get('key'))?.length ?? 0) + (await txn.scan({ first: 'a', limit: 1 })).length;
  });
  const handlers = module.pool({}, { state, space: 'space' });
  const reply: HandlerReply = await handlers.handle({ path: '/', headers: { a: ['b'] }, body: 'text' }, { gasLimit: 1e9 });
  console.log(size, reply.status, reply.body.length, reply.headers.a, reply.attempts);
  await state.close();
  // @ts-expect-error
  new State();
  // @ts-expect-error
  await state.transact('space', async (txn) => txn.set('key', 1));
  // @ts-expect-error
  new Engine({ optLevel: 4 });
  // @ts-expect-error
  await engine.compile('text');
  // @ts-expect-error
  instance.callSync('fib', [1], { signal: AbortSignal.timeout(1) });
  // @ts-expect-error
  module.imports.push({});
}
main(new Uint8Array());
