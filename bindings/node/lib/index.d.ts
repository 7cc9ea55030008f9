/** What goes wrong in a module, a call or the engine. */
export class GasworksError extends Error {
  readonly name: 'GasworksError';
  /** Like "ERR_GASWORKS_TRAP", "ERR_GASWORKS_INVALID"; "ERR_GASWORKS_FUNCTION" is a function's own error. */
  readonly code: string;
  /** Of traps: "out of gas", "unreachable", "cancelled", ... */
  readonly trap?: string;
  /** Gas that the call had used. */
  readonly gas?: number;
  /** Of traps: the calls that were under way, as far as they are known, the innermost first. */
  readonly frames?: readonly Frame[];
  /** What a WASI program had written. */
  readonly stdout?: Buffer;
  readonly stderr?: Buffer;
  /** Of requests. */
  readonly log?: string;
  readonly attempts?: number;
}

export interface Frame {
  readonly function: string;
  /** Byte of the module. */
  readonly offset?: number;
  readonly file?: string;
  readonly line?: number;
}

export interface EngineOptions {
  /** Threads that run calls; one for each core unless given. */
  workers?: number;
  /** Of the compiler, 0 to 3; 2 unless given. */
  optLevel?: 0 | 1 | 2 | 3;
  /** Gas after which a call lets others run, 1,000,000 unless given. 1,000 are about 0.1 microseconds. */
  slice?: number;
  /** How much the workers' threads stand back behind others, 0 to 19; 5 unless given. */
  niceness?: number;
  /** What a call of a host function costs, 10,000 unless given. */
  hostCallGas?: number;
  /** Whether a call may run for a moment on the caller's thread before workers have it; true unless given. */
  inline?: boolean;
  /** "precise" interprets, and needs no compiler; "fast" unless given. */
  tier?: 'fast' | 'precise';
  /** Faster code for who throws a trapped instance away: what a trap leaves in memory may not be what the specification says. */
  looseTraps?: boolean;
  /** Threads of one compilation; one for each core unless given. */
  compileThreads?: number;
  /** A directory for compiled modules, which many processes may share. */
  cache?: string;
  /** The gasworks program: modules are compiled by child processes of it, within limits. */
  compiler?: string;
}

/** Results of calls: no value, one, or an array of several. */
export type Value = number | bigint | boolean | string | Buffer | null | undefined | object;
export type Argument = number | bigint | boolean | string | ArrayBufferView | ArrayBuffer | null | object;
// Who knows the types of an export may say so: `instance.exports.fib as (n: number) => Promise<number>`.
export type Export = (...args: any[]) => Promise<any>;
export type HostFunction = (...args: any[]) => unknown;
export type Imports = Record<string, Record<string, HostFunction>>;

/** Compiles modules and runs their functions on its worker threads. */
export class Engine {
  constructor(options?: EngineOptions);
  /** Decodes, validates and compiles. `signatures` are of exports with strings, bytes and JSON that do not say so themselves. */
  compile(bytes: ArrayBufferView | ArrayBuffer, options?: { signatures?: Record<string, string> }): Promise<Module>;
}

/** Of functions, a letter for each parameter and result: i I f F for i32 i64 f32 f64, x for what does not cross to JavaScript. */
export interface ExternType {
  readonly name: string;
  readonly kind: 'function' | 'table' | 'memory' | 'global' | 'tag';
  readonly params?: string;
  readonly results?: string;
}

export interface InstanceOptions {
  /** Of each call, unless that has one of its own. */
  gasLimit?: number | bigint;
  /** Bytes of all memories and tables together. */
  maxMemory?: number;
  /** What a function for the `handle` interface reads and writes: a space of it, apart from others. */
  state?: State;
  space?: string;
  /** Makes it a WASI program: run its "_start", or "_initialize" by itself. */
  wasi?: WasiOptions;
}

export interface WasiOptions {
  /** The program's name and its arguments. */
  args?: readonly string[];
  env?: Readonly<Record<string, string>>;
  /** What the guest sees at a path: a directory here, or one that it may only read. */
  directories?: Readonly<Record<string, string | { path: string; readonly?: boolean }>>;
  /** Clock and random numbers follow from this number. */
  seed?: number;
}

export interface PoolOptions extends InstanceOptions {
  /** Instances at most, so calls at a time; 64 unless given. */
  max?: number;
}

export interface Module {
  readonly imports: readonly (ExternType & { readonly module: string })[];
  readonly exports: readonly ExternType[];
  /** An instance: calls of its exports run one after another, and its state stays. */
  instantiate(imports?: Imports, options?: InstanceOptions): Promise<Instance>;
  /** Functions of which every call has a fresh instance. */
  pool(imports?: Imports, options?: PoolOptions): Pool;
}

export interface CallOptions {
  gasLimit?: number | bigint;
  /** Ends the call: its promise is rejected with the signal's reason. */
  signal?: AbortSignal;
  /** Standard input of a WASI program. */
  stdin?: string | ArrayBufferView;
}

export interface Result<T> {
  value: T;
  gas: number;
  /** Of WASI programs. */
  stdout?: Buffer;
  stderr?: Buffer;
  exitCode?: number;
}

/** For functions that export `handle` (docs/interface.md). Method, path and query are GET, "/" and "" unless given. */
export interface HandlerRequest {
  method?: string;
  path?: string;
  query?: string;
  /** Path and query as they were sent. */
  target?: string;
  headers?: Record<string, string | number | readonly string[] | undefined> | Iterable<readonly [string, string]>;
  body?: string | ArrayBufferView | ArrayBuffer;
  /** It can write no state, and so meets no conflict. */
  readonly?: boolean;
}

export interface HandlerReply {
  status: number;
  /** By names in small letters. */
  headers: Record<string, string | string[]>;
  body: Buffer;
  /** Of the last attempt. */
  gas: number;
  /** 1 without conflicts. */
  attempts: number;
  /** Lines that the function logged. */
  log: string;
}

export interface Callable {
  readonly exports: Readonly<Record<string, Export>>;
  call<T = any>(name: string, args?: readonly Argument[], options?: CallOptions): Promise<T>;
  run<T = any>(name: string, args?: readonly Argument[], options?: CallOptions): Promise<Result<T>>;
  /** A request for the export `handle`: a fresh instance, and a transaction that begins again where it met a conflict. */
  handle(request?: HandlerRequest, options?: CallOptions): Promise<HandlerReply>;
  /** Cancels what is under way; takes no more calls. */
  close(): void;
}

export interface Instance extends Callable {
  /** On the caller's thread, which waits; wants a gas limit, here or of the instance. */
  callSync<T = any>(name: string, args?: readonly Argument[], options?: Omit<CallOptions, 'signal'> & { signal?: never }): T;
  /** Gas of the last call that has ended. */
  readonly gasUsed: number;
  readonly memory: Memory;
}

/** The first memory of an instance; for between its calls, and for host functions that it called. */
export interface Memory {
  /** Bytes. */
  readonly size: number;
  /** A copy. */
  read(offset: number, size: number): Buffer;
  write(offset: number, bytes: ArrayBufferView | ArrayBuffer): void;
  text(offset: number, size: number): string;
}

export interface Pool extends Callable {
  /** Instances that there are. */
  readonly size: number;
}

export interface StateOptions {
  /** The file grows up to so many; 64 GiB unless given. */
  maxBytes?: number;
  /** False: what is committed survives the end of the process, but not a power failure; true unless given. */
  sync?: boolean;
}

/** A directory of keys and values, in spaces. One process has it open once at a time. */
export function openState(directory: string, options?: StateOptions): Promise<State>;

export class State {
  private constructor();
  /**
   * Runs the callback in a transaction and commits it; gives what the callback gave. Where what it has read was changed meanwhile, it
   * runs again, 16 times at most. What it throws ends the transaction without effect.
   */
  transact<T>(space: string, callback: (txn: Transaction) => T | Promise<T>): Promise<T>;
  /** Takes nothing more, and closes when what is under way has ended. */
  close(): Promise<void>;
}

export type Bytes = string | ArrayBufferView;

/** Its operations happen in the order in which they were called. Where one fails, the transaction does. */
export interface Transaction {
  get(key: Bytes): Promise<Buffer | undefined>;
  set(key: Bytes, value: Bytes): Promise<void>;
  delete(key: Bytes): Promise<void>;
  /** To the number that the value's 8 bytes are, least first; no value is 0. It conflicts with no other addition. */
  add(key: Bytes, delta: number | bigint): Promise<void>;
  /** Pairs from `first` to before `end` in the order of their keys. A value that was written by parts is null. */
  scan(range?: { first?: Bytes; end?: Bytes; backward?: boolean; limit?: number }): Promise<[Buffer, Buffer | null][]>;
}
