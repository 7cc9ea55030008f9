// What TypeScript must accept, and what it must refuse. test/types.test.js gives it to tsc.
import { Engine, GasworksError, type Instance, type Pool } from 'gasworks';

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
